"""The modules of plain PyTorch that `plain` names. Their sizes are small and uneven, so that no two are mixed up."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class Mlp(nn.Sequential):
    """Three linear layers."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 24, bias=False), nn.GELU(), nn.Linear(24, 5))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class RecurrentTagger(nn.Module):
    """A tag for every token, by two recurrent layers."""

    def __init__(self, cell: str, bidirectional: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 12)
        self.layers = getattr(nn, cell)(12, 20, 2, batch_first=True, bidirectional=bidirectional)
        self.tag = nn.Linear(40 if bidirectional else 20, 7)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.tag(self.layers(self.embedding(tokens))[0])


def _double(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
        nn.Conv2d(outside, outside, 3, padding=1),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """Two levels down and up again, with what was skipped beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = _double(3, 8), _double(8, 16), _double(16, 32)
        self.up_second, self.up_first = nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)
        self.back_second, self.back_first = _double(32, 16), _double(16, 8)
        self.classify = nn.Conv2d(8, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        first = self.first(image)
        second = self.second(functional.max_pool2d(first, 2))
        third = self.third(functional.max_pool2d(second, 2))
        second = self.back_second(torch.cat([second, self.up_second(third)], 1))
        return self.classify(self.back_first(torch.cat([first, self.up_first(second)], 1)))


class Autoencoder(nn.Sequential):
    """Strided convolutions and transposed ones, one of them grouped, dilated or padded at the output."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 12, 5, 2, 2),
            nn.LeakyReLU(0.1),
            nn.Conv2d(12, 24, 3, 2, 1, groups=3),
            nn.InstanceNorm2d(24, affine=True),
            nn.ConvTranspose2d(24, 12, 3, 2, 1, output_padding=1, groups=4),
            nn.PReLU(12),
            nn.ConvTranspose2d(12, 3, 4, 2, 1),
            nn.Sigmoid(),
        )

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image)


class SuperResolution(nn.Module):
    """Twice the size by shuffling channels into pixels, added to what interpolation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body, self.tail = (nn.Conv2d(i, o, 3, padding=1) for i, o in ((3, 16), (16, 16), (16, 12)))

    def forward(self, image: Tensor) -> Tensor:
        features = self.head(image)
        features = features + self.body(functional.relu(features))
        enlarged = functional.interpolate(image, scale_factor=2, mode="bicubic", align_corners=False)
        return functional.pixel_shuffle(self.tail(features), 2) + enlarged


class FeaturePyramid(nn.Module):
    """Three levels, each enlarged to the size of the one above."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 8, 16, 32)
        self.down = nn.ModuleList(nn.Conv2d(i, o, 3, 2, 1) for i, o in pairwise(widths))
        self.across = nn.ModuleList(nn.Conv2d(o, 16, 1) for o in widths[1:])

    def forward(self, image: Tensor) -> list[Tensor]:
        levels, value = [], image
        for down, across in zip(self.down, self.across, strict=True):
            value = functional.silu(down(value))
            levels.append(across(value))
        for low, high in ((1, 2), (0, 1)):
            size = levels[low].shape[-2:]
            levels[low] = levels[low] + functional.interpolate(levels[high], size=size, mode="nearest")
        pooled = [functional.adaptive_avg_pool2d(level, 2) for level in levels]
        return [*levels, torch.cat(pooled, 1)]


class TemporalConvolutions(nn.Module):
    """Dilated convolutions that see only the past."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(16, 16, 3, dilation=2**level) for level in range(4))
        self.gates = nn.ModuleList(nn.Conv1d(16, 16, 3, dilation=2**level) for level in range(4))

    def forward(self, signal: Tensor) -> Tensor:
        for level, (layer, gate) in enumerate(zip(self.layers, self.gates, strict=True)):
            padded = functional.pad(signal, (2 * 2**level, 0))
            signal = signal + torch.tanh(layer(padded)) * torch.sigmoid(gate(padded))
        return signal.mean(-1)


class ConformerBlock(nn.Module):
    """Subsampling, attention, and a gated depthwise convolution along time."""

    def __init__(self) -> None:
        super().__init__()
        self.subsample = nn.Conv1d(32, 32, 3, 2, 1)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.expand, self.depthwise = nn.Conv1d(32, 64, 1), nn.Conv1d(32, 32, 15, padding=7, groups=32)
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in range(2))

    def forward(self, frames: Tensor) -> Tensor:
        x = self.subsample(frames.transpose(1, 2)).transpose(1, 2)
        normed = self.norms[0](x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        gated = functional.glu(self.expand(self.norms[1](x).transpose(1, 2)), 1)
        return x + functional.silu(self.depthwise(gated)).transpose(1, 2)


class PointNet(nn.Module):
    """Every point by itself, then the largest of each feature, then both for every point."""

    def __init__(self) -> None:
        super().__init__()
        self.alone = nn.Sequential(nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 32, 1))
        self.together = nn.Conv1d(64, 6, 1)

    def forward(self, points: Tensor) -> Tensor:
        features = self.alone(points)
        most = features.amax(2, keepdim=True).expand(-1, -1, points.shape[2])
        return functional.log_softmax(self.together(torch.cat([features, most], 1)), 1)


class PointNeighbours(nn.Module):
    """Features from the five nearest points."""

    def __init__(self) -> None:
        super().__init__()
        self.edge = nn.Linear(6, 16)

    def forward(self, points: Tensor) -> Tensor:
        square = (points**2).sum(-1)
        distance = square[:, :, None] + square[:, None, :] - 2 * points @ points.transpose(1, 2)
        nearest = distance.topk(5, largest=False).indices
        batch, count, _ = points.shape
        index = nearest.reshape(batch, count * 5, 1).expand(-1, -1, 3)
        neighbours = points.gather(1, index).reshape(batch, count, 5, 3)
        here = points[:, :, None].expand(-1, -1, 5, -1)
        return self.edge(torch.cat([here, neighbours - here], -1)).amax(2)


class Recommendation(nn.Module):
    """Dense and sparse features, every pair of them multiplied, as in DLRM."""

    def __init__(self) -> None:
        super().__init__()
        self.bottom = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 8))
        self.tables = nn.ModuleList(nn.Embedding(30, 8) for _ in range(6))
        self.top = nn.Sequential(nn.Linear(8 + 21, 16), nn.ReLU(), nn.Linear(16, 1))
        rows, columns = torch.tril_indices(7, 7, -1)
        self.register_buffer("pairs", rows * 7 + columns)

    def forward(self, dense: Tensor, sparse: Tensor) -> Tensor:
        bottom = self.bottom(dense)
        vectors = torch.stack([bottom, *(table(sparse[:, i]) for i, table in enumerate(self.tables))], 1)
        products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1).index_select(1, self.pairs)
        return torch.sigmoid(self.top(torch.cat([bottom, products], 1)))


class GraphConvolution(nn.Module):
    """The mean of each node's neighbours, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(16, 24), nn.Linear(24, 4)])

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        source, target = edges[0], edges[1]
        for layer in self.layers:
            messages = layer(nodes)[source]
            summed = torch.zeros(nodes.shape[0], messages.shape[1]).index_add(0, target, messages)
            degree = torch.zeros(nodes.shape[0]).index_add(0, target, torch.ones_like(target, dtype=torch.float32))
            nodes = torch.relu(summed / degree.clamp(min=1)[:, None])
        return nodes


class TransformerEncoder(nn.Module):
    """Two layers of torch's own encoder."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class CachedDecoder(nn.Module):
    """One layer of a decoder that continues from the keys and values of what came before; two queries share a key."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 64)
        self.query, self.key, self.value = nn.Linear(64, 64), nn.Linear(64, 32), nn.Linear(64, 32)
        self.out, self.words = nn.Linear(64, 64), nn.Linear(64, 40, bias=False)

    def forward(self, tokens: Tensor, past_key: Tensor, past_value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, seq = tokens.shape
        x = self.embedding(tokens)
        query = self.query(x).reshape(batch, seq, 4, 16).transpose(1, 2)
        key = torch.cat([past_key, self.key(x).reshape(batch, seq, 2, 16).transpose(1, 2)], 2)
        value = torch.cat([past_value, self.value(x).reshape(batch, seq, 2, 16).transpose(1, 2)], 2)
        past = past_key.shape[2]
        mask = torch.arange(past + seq)[None, :] <= torch.arange(seq)[:, None] + past
        attended = functional.scaled_dot_product_attention(
            query, key.repeat_interleave(2, 1), value.repeat_interleave(2, 1), attn_mask=mask
        )
        x = x + self.out(attended.transpose(1, 2).reshape(batch, seq, 64))
        return self.words(x[:, -1:]), key, value


class CrossAttention(nn.Module):
    """Queries that look at a memory of another length."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        return queries + self.attention(queries, memory, memory)[0]


class DetectorHead(nn.Module):
    """Boxes whose score is high enough, as many as there are: their number follows from the data."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU())
        self.score, self.box = nn.Conv2d(8, 3, 1), nn.Conv2d(8, 12, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(image)
        scores = self.score(features).permute(0, 2, 3, 1).reshape(-1)
        boxes = self.box(features).permute(0, 2, 3, 1).reshape(-1, 4)
        kept = torch.nonzero(scores > 0).squeeze(1)
        corners = torch.cat([boxes[:, :2] - boxes[:, 2:].exp() / 2, boxes[:, :2] + boxes[:, 2:].exp() / 2], 1)
        return corners[kept], scores[kept]


class TopProposals(nn.Module):
    """The best twenty boxes of each image."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 8, 3, 4, 1)
        self.score, self.box = nn.Conv2d(8, 3, 1), nn.Conv2d(8, 12, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(image).relu()
        scores = self.score(features).flatten(1)
        boxes = self.box(features).reshape(image.shape[0], -1, 4)
        best, index = scores.topk(20, 1)
        return boxes.gather(1, index[:, :, None].expand(-1, -1, 4)), best.sigmoid()


class SelectedTokens(nn.Module):
    """Only the tokens that a mask keeps go through a layer, and back to where they were."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        flat, index = x.reshape(-1, 8), torch.nonzero(keep.reshape(-1)).squeeze(1)
        return flat.index_copy(0, index, self.layer(flat[index])).reshape(x.shape)


class EinsumAttention(nn.Module):
    """Attention as sums over named axes, with a bias for every distance."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(32, 96)
        self.bias = nn.Embedding(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.project(x).unflatten(-1, (3, 4, 8)).unbind(2)
        position = torch.arange(x.shape[1])
        bias = self.bias((position[:, None] - position[None, :]).clamp(-4, 3) + 4).permute(2, 0, 1)
        scores = (torch.einsum("bihd,bjhd->bhij", query, key) + bias).softmax(-1)
        return torch.einsum("bhij,bjhd->bihd", scores, value).flatten(2)


class GatedExperts(nn.Module):
    """Three experts, all of which are asked, weighted by a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(16, 3)
        self.inside, self.outside = nn.Parameter(torch.randn(3, 16, 24)), nn.Parameter(torch.randn(3, 24, 16))

    def forward(self, x: Tensor) -> Tensor:
        weights = self.gate(x).softmax(-1)
        hidden = functional.gelu(torch.einsum("bsd,edh->ebsh", x, self.inside))
        return torch.einsum("ebsh,ehd,bse->bsd", hidden, self.outside, weights)
