"""What capturing a PyTorch module costs beyond `torch.export`, and what a decoder of 70 billion parameters takes.

    python benchmarks/capture.py [--processes 5]
    python benchmarks/capture.py --decoder

The first exports a ResNet-50 in a new process, and takes the time that `graphs.from_torch` needs from there on: at its
first call, imports of this package included, and at later ones. The second builds a Llama of 80 layers on the meta
device, where it has no weights, and prints the time and memory of its capture, and its multiply-accumulates beside the
closed form of its configuration; it needs transformers.

One thread; seconds are those of the processor, so that what else runs makes little difference. Modules are compiled to
bytecode once before, as an installation does. The process exits with 1 if the first call takes 0.3 s or more, or the
closed form is not met.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import warnings
from statistics import median
from time import process_time
from typing import Any

MOST_SECONDS = 0.3
LATER_CALLS = 3
TOKENS = 128
LLAMA = {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
"""Llama 3 70B, config.json of meta-llama/Meta-Llama-3-70B."""


def resnet50() -> Any:
    """The network of He et al., 2015, Table 1, in evaluation mode."""
    from torch import nn

    class Bottleneck(nn.Module):
        def __init__(self, entering: int, width: int, stride: int) -> None:
            super().__init__()
            self.steps = nn.Sequential(
                nn.Conv2d(entering, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width),
            )  # fmt: skip
            same = entering == 4 * width
            shortcut = nn.Conv2d(entering, 4 * width, 1, stride, bias=False)
            self.around = nn.Identity() if same else nn.Sequential(shortcut, nn.BatchNorm2d(4 * width))
            self.last = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.last(self.steps(x) + self.around(x))

    layers: list[Any] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    entering = 64
    for width, depth in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for index in range(depth):
            layers.append(Bottleneck(entering, width, 2 if index == 0 and width > 64 else 1))
            entering = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000)).eval()


def once() -> None:
    """Print the seconds of the export, of the first capture of it with the package's imports, and of later ones."""
    import torch

    torch.set_num_threads(1)
    module, image = resnet50(), torch.zeros(1, 3, 224, 224)
    started = process_time()
    exported = torch.export.export(module, (image,))
    times = [process_time() - started]
    for _ in range(1 + LATER_CALLS):
        started = process_time()
        import graphs

        graph = graphs.from_torch(exported)
        times.append(process_time() - started)
    assert len(graph.ops) > 160, len(graph.ops)
    print(times[0], times[1], median(times[2:]))


def compare(processes: int) -> bool:
    """Print the medians of several processes; return whether the first call is quick enough."""
    rows = []
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(1 + processes):
        command = [sys.executable, __file__, "--once"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        rows.append([float(word) for word in done.stdout.split()])
    export, first, later = (median(column) for column in zip(*rows[1:], strict=True))
    print(f"ResNet-50: torch.export {export:.2f} s; from there the first call {first:.3f} s, imports included, "
          f"later ones {later:.3f} s (medians of {processes} processes)")  # fmt: skip
    return first < MOST_SECONDS


def decoder() -> bool:
    """Capture the decoder; return whether its work is what its configuration says."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import graphs
    from graphs.passes.lower import Work

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = process_time()
    with torch.device("meta"):
        module = LlamaForCausalLM(LlamaConfig(**LLAMA, attn_implementation="sdpa", use_cache=False)).eval()
    built = process_time()
    ids = torch.zeros(1, TOKENS, dtype=torch.int64, device="meta")
    program = torch.export.export(module, (), {"input_ids": ids, "use_cache": False})
    exported = process_time()
    graph = graphs.from_torch(program)
    captured = process_time()
    lowered = graphs.run("lower", graph, target="intel-core-i7-12700k:pytorch-eager", in_place=True).graph
    macs = sum(op.facts[Work].macs for op in lowered.body)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    width, key = LLAMA["hidden_size"], LLAMA["hidden_size"] // LLAMA["num_attention_heads"]
    keys = key * LLAMA["num_key_value_heads"]
    layer = 2 * width * width + 2 * width * keys + 3 * width * LLAMA["intermediate_size"] + 2 * TOKENS * width
    wanted = TOKENS * (LLAMA["num_hidden_layers"] * layer + width * LLAMA["vocab_size"])
    parameters = sum(weight.numel() for weight in module.parameters())
    print(f"Llama of {parameters / 1e9:.1f} billion parameters on the meta device, {TOKENS} tokens: built in "
          f"{built - started:.1f} s, exported in {exported - built:.1f}, from there {captured - exported:.2f}; "
          f"{len(graph.ops):,} operations; peak {peak / 1024:.0f} MiB, {before / 1024:.0f} of them before")  # fmt: skip
    print(f"{macs:,} multiply-accumulates, {wanted:,} by the closed form")
    return bool(macs == wanted)


def main() -> int:
    """Run what the options name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=5, help="new processes to take the median of")
    parser.add_argument("--decoder", action="store_true", help="capture the large decoder instead")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    warnings.simplefilter("ignore")
    if options.once:
        once()
        return 0
    return 0 if (decoder() if options.decoder else compare(options.processes)) else 1


if __name__ == "__main__":
    sys.exit(main())
