"""What kernels are described by before anything is fitted: amounts of work, coordinates of shape, times to fit."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from math import prod
from typing import Any

import numpy as np
import pytest
from made_up_machine import conv, copy, elementwise, gemm, made, sample, softmax, timed

from graphs.calibration.amounts import amounts, family, wider_family
from graphs.calibration.features import coordinates, features, inside_share
from graphs.calibration.kernel import OPERATION_TYPES, Kernel
from graphs.calibration.processor import Processor
from graphs.calibration.rates import Timing, fit_rates
from graphs.calibration.representatives import representatives
from graphs.calibration.sample import Sample
from graphs.calibration.timings import networks_of, timings_of
from graphs.ir import CONSTANT, INPUT, OUTPUT, Dense, DType, Graph, TensorType
from graphs.ir.primitives import (
    Conv,
    Copy,
    Elementwise,
    Gather,
    Gemm,
    Normalization,
    Primitive,
    Reduction,
    Scan,
    Softmax,
    Unknown,
    Window,
)
from graphs.passes.base import Context
from graphs.passes.lower import Work
from graphs.passes.manager import PassManager, parse_passes
from graphs.targets import load_target

F32 = DType.F32
NEAR = 1 << 20
ONE = Processor(NEAR)

PLAIN = Conv(1, 32, 64, (14, 14), (14, 14), (3, 3), F32, (1, 1), (1, 1))
ONE_OF_EACH: tuple[Primitive, ...] = (
    PLAIN,
    replace(PLAIN, kernel=(1, 1)),
    replace(PLAIN, groups=2),
    replace(PLAIN, groups=32, out_channels=32),
    replace(PLAIN, in_size=(14,), out_size=(14,), kernel=(3,), strides=(), dilations=()),
    replace(PLAIN, in_size=(4, 14, 14), out_size=(4, 14, 14), kernel=(1, 3, 3), strides=(), dilations=()),
    replace(PLAIN, transposed=True),
    Gemm(8, 16, 32, F32, weight=True),
    Gemm(8, 16, 32, F32),
    Gemm(1, 16, 32, F32, weight=True, steps=7),
    Softmax(8, 16, F32),
    Normalization(8, 16, F32),
    Elementwise("relu", 128, F32),
    Reduction("sum", 128, 8, F32),
    Window("max", 128, 9, F32),
    Gather(8, 16, F32),
    Copy(128, F32, 4),
    Scan("sum", 128, F32),
    Unknown("nobody knows"),
)
ATTENTION = Kernel("Attention", (Gemm(9, 9, 2, F32), Softmax(90, 9, F32), Gemm(9, 2, 9, F32)), 0, 400, 72)


# -- features ---------------------------------------------------------------------------------------------------------


def test_all_kernels_of_an_operation_type_have_as_many_coordinates() -> None:
    seen = set()
    for kernel in (
        *(made("Op", primitive, 8, 8, 8) for primitive in ONE_OF_EACH),
        ATTENTION,
        Kernel("Op", (), 0, 0, 0),
    ):
        seen.add(kernel.operation_type)
        assert len(features(kernel, ONE).vector) == coordinates(kernel.operation_type), kernel
    assert seen == set(OPERATION_TYPES)


def test_attention_is_described_by_its_products_however_small() -> None:
    assert isinstance(ATTENTION.main, Softmax)
    taller = replace(ATTENTION, primitives=(Gemm(18, 9, 2, F32), Softmax(180, 9, F32), Gemm(18, 2, 9, F32)))
    one, other = features(ATTENTION, ONE).vector, features(taller, ONE).vector
    assert len(one) == len(other) == coordinates("attention")
    assert other[6] - one[6] == 1.0  # twice the rows


@pytest.mark.parametrize(
    ("one", "other", "moved"),
    [
        (gemm(64, 128, 256), gemm(128, 128, 256), [1, 0, 0]),
        (gemm(64, 128, 256), gemm(64, 256, 256), [0, 1, 0]),
        (gemm(64, 128, 256), gemm(64, 128, 512), [0, 0, 1]),
        (softmax(8, 64), softmax(8, 128), [0, 1, 0]),
        (elementwise(1024), elementwise(2048), [1, 0, 0]),
        (copy(1024, 4), copy(1024, 8), [0, 1, 0]),
        (conv(16, 32, 14), conv(16, 64, 14), [0, 1, 0]),
        (conv(16, 32, 14), conv(32, 32, 14), [0, 0, 1]),
        (conv(16, 32, 14), conv(16, 32, 28), [2, 0, 0]),
    ],
)
def test_a_factor_of_two_is_a_distance_of_one(one: Kernel, other: Kernel, moved: list[float]) -> None:
    between = [b - a for a, b in zip(features(one, ONE).vector, features(other, ONE).vector, strict=True)]
    assert between[6:9] == pytest.approx(moved)


def brute_inside_share(size: int, results: int, taps: int, stride: int, dilation: int) -> float:
    """Count the reads that fall inside, of all."""
    padding = max(0, (results - 1) * stride + dilation * (taps - 1) + 1 - size)
    reads = [i * stride + tap * dilation - padding // 2 for i, tap in product(range(results), range(taps))]
    return max(1, sum(0 <= read < size for read in reads)) / len(reads)


def test_multiply_accumulates_on_padding_are_told_apart() -> None:
    sizes = list(product((1, 5, 14), (1, 3, 7), (1, 2, 3, 7), (1, 2, 3), (1, 2, 9)))
    for size, results, taps, stride, dilation in sizes:
        line = Conv(1, 8, 8, (size,), (results,), (taps,), F32, (stride,), (dilation,))
        assert inside_share(line) == pytest.approx(brute_inside_share(size, results, taps, stride, dilation)), line
    flat = Conv(1, 8, 8, (14, 9), (14, 5), (3, 3), F32, (1, 2), (6, 1))
    wanted = brute_inside_share(14, 14, 3, 1, 6) * brute_inside_share(9, 5, 3, 2, 1)
    assert inside_share(flat) == pytest.approx(wanted) and wanted < 0.75
    assert inside_share(replace(flat, transposed=True)) == 1.0


def test_a_dilation_past_the_edge_leaves_one_tap_of_nine() -> None:
    wide = Conv(1, 8, 8, (14, 14), (14, 14), (3, 3), F32, (1, 1), (24, 24))
    assert inside_share(wide) == pytest.approx(1 / 9)


# -- amounts ----------------------------------------------------------------------------------------------------------


def test_channels_are_padded_to_the_vector_and_rows_to_the_tile() -> None:
    found = amounts(made("Conv", PLAIN, 0, 0, 0, "blocked"), ONE)
    share = inside_share(PLAIN)
    assert found["macs"] == pytest.approx(14 * 14 * 64 * 32 * 9 * share / 1000)
    assert found["macs in tiles"] == pytest.approx(14 * 18 * 64 * 32 * 9 * share / 1000)
    odd = amounts(made("Conv", replace(PLAIN, out_channels=49), 0, 0, 0, "blocked"), ONE)
    assert odd["macs"] == pytest.approx(found["macs"])  # 49 channels take as many blocks as 64


def test_a_product_is_counted_as_it_is_and_as_it_is_tiled() -> None:
    found = amounts(gemm(13, 17, 300), ONE)
    assert found["macs"] == pytest.approx(13 * 17 * 0.3)
    assert found["macs in tiles"] == pytest.approx(24 * 32 * 0.3)
    assert found["partial sums"] == pytest.approx(13 * 17 * 2 / 1000)
    steps = amounts(made("LSTM", Gemm(1, 16, 16, F32, weight=True, steps=7), 0, 0, 0), ONE)
    assert steps["macs"] == pytest.approx(7 * 0.256) and steps["products"] == 0.007


def test_tiles_are_those_of_the_processors_vectors() -> None:
    eight = replace(ONE, lanes=8)
    found, share = (
        amounts(made("Conv", replace(PLAIN, out_channels=33), 0, 0, 0, "blocked"), eight),
        inside_share(PLAIN),
    )
    assert found["macs"] == pytest.approx(14 * 14 * 40 * 32 * 9 * share / 1000)  # five blocks of eight
    assert found["macs in tiles"] == pytest.approx(14 * 15 * 64 * 32 * 9 * share / 1000)  # rows of three, sets of 32
    assert amounts(gemm(13, 17, 300), eight)["macs in tiles"] == pytest.approx(18 * 32 * 0.3)
    wide, narrow = (features(conv(24, 24, 14), each).vector for each in (ONE, eight))
    assert wide != narrow and len(wide) == len(narrow)


def test_a_processor_is_its_targets() -> None:
    epyc = Processor.of(load_target("amd-epyc-9654:onnxruntime-cpu@1-thread"))
    assert (epyc.near_bytes, epyc.lanes, epyc.conv_rows, epyc.gemm_rows, epyc.filter_set) == (768 << 10, 16, 6, 12, 64)
    core = Processor.of(load_target("intel-core-i7-12700k:pytorch-eager"))
    assert (core.lanes, core.conv_rows, core.gemm_rows, core.filter_set) == (8, 3, 6, 32)
    assert Processor.of(load_target("jetson-orin-agx:pytorch-eager")).lanes == 16


def test_a_depthwise_convolution_of_a_few_channels_still_fills_its_vectors() -> None:
    deep = replace(PLAIN, in_channels=8, out_channels=8, groups=8)
    share = inside_share(deep)
    assert amounts(made("Conv", deep, 0, 0, 0), ONE)["macs"] == pytest.approx(14 * 14 * 16 * 9 * share / 1000)


def test_a_depthwise_convolution_of_plain_channels_writes_its_windows_out() -> None:
    deep = replace(PLAIN, in_channels=8, out_channels=16, groups=8, strides=(2, 2), in_size=(28, 28))
    found = amounts(made("Conv", deep, 0, 0, 0), ONE)
    assert found["columns"] == found["columns strided"] == pytest.approx(8 * 9 * 14 * 14 / 1000)
    assert found["rows of columns"] == pytest.approx(8 * 9 * 14 / 1000)
    assert found["results of columns"] == pytest.approx(16 * 14 * 14 / 1000)
    assert "columns" not in amounts(made("Conv", deep, 0, 0, 0, "blocked"), ONE)


def test_convolutions_of_single_positions_of_a_signal_are_products() -> None:
    one = replace(PLAIN, in_size=(14,), out_size=(14,), kernel=(1,), strides=(), dilations=())
    assert family(made("Conv", one, 0, 0, 0)) == "conv1d/pointwise"
    assert family(made("Conv", replace(one, kernel=(3,)), 0, 0, 0)) == "conv1d"


def test_a_softmax_across_the_last_axis_is_told_from_one_along_it() -> None:
    along, across, far = (made("Softmax", Softmax(64, 8, F32, behind), 0, 2048, 2048) for behind in (None, 1, 2))
    assert "softmax across" not in amounts(along, ONE)
    assert amounts(across, ONE)["softmax across"] == amounts(across, ONE)["softmax"] == pytest.approx(0.512)
    assert "softmax crosswise" not in amounts(across, ONE) and "softmax crosswise" in amounts(far, ONE)
    assert len({features(kernel, ONE).vector for kernel in (along, across, far)}) == 3


def test_products_by_labels_have_an_implementation_of_their_own() -> None:
    product = gemm(8, 8, 8)
    assert family(replace(product, operator="Einsum")) == f"{family(product)}:Einsum"
    assert wider_family(f"{family(product)}:Einsum") == family(product) == wider_family(family(product))


def test_what_does_not_fit_the_caches_comes_from_far() -> None:
    near, far = (amounts(elementwise(count), ONE) for count in (1000, 1_000_000))
    assert "bytes from far" not in near
    assert far["bytes from far"] == pytest.approx(8000)
    swept = replace(gemm(8, 8, 8), swept_bytes=2 * NEAR)
    assert amounts(swept, ONE)["bytes of weights from far"] == pytest.approx(0.256)


def test_short_runs_cost_by_the_run() -> None:
    assert amounts(copy(6000, 3), ONE)["copied runs"] == 2.0
    assert amounts(made("Transpose", Copy(8192, F32), 0, 0, 0), ONE)["copied runs"] == pytest.approx(0.002)


def test_bytes_reordered_count_and_layouts_are_families() -> None:
    plain = conv(32, 32, 14)
    assert family(plain) == "conv2d/blocked"
    assert family(replace(plain, layout="")) == "conv2d"
    assert family(copy(100, 1)) == "layout:Transpose"
    assert family(gemm(1, 8, 8)) == "matmul/row" and family(gemm(2, 8, 8)) == "matmul"
    assert amounts(replace(plain, reordered_bytes=5000), ONE)["bytes reordered"] == 5.0


# -- rates ------------------------------------------------------------------------------------------------------------


def test_rates_are_found_from_sums() -> None:
    """Softmax was never measured alone: its rates come from what it adds to others."""
    random = np.random.default_rng(0)
    rows = []
    for _ in range(60):
        one, other = elementwise(int(random.integers(1000, 90_000))), softmax(int(random.integers(8, 900)), 128)
        rows.append(Timing((one,), 2e-6 + one.bytes * 1e-10))
        rows.append(Timing((one, other), 4e-6 + one.bytes * 1e-10 + other.bytes * 9e-10))
    rates = fit_rates(rows, ONE)
    asked = softmax(300, 128)
    assert rates.seconds(asked) == pytest.approx(2e-6 + asked.bytes * 9e-10, rel=0.08)
    assert "softmax" not in rates.families and rates.know(asked)
    assert not rates.know(copy(100, 1))
    assert min(min(each.values()) for each in (rates.common, *rates.families.values())) >= 0


def test_a_family_of_its_own_goes_its_own_way() -> None:
    blocked = [conv(16 * i, 64, 14) for i in range(1, 30)]
    plain = [replace(kernel, layout="") for kernel in blocked]
    slow = [Timing((kernel,), 1e-5 * i) for i, kernel in enumerate(plain, 1)]
    rates = fit_rates([*(Timing((kernel,), 1e-6 * i) for i, kernel in enumerate(blocked, 1)), *slow], ONE)
    assert rates.seconds(plain[20]) == pytest.approx(2.1e-4, rel=0.1)
    assert rates.seconds(blocked[20]) == pytest.approx(2.1e-5, rel=0.1)


def test_rates_are_not_moved_by_what_was_disturbed() -> None:
    rows = [elementwise(1000 * i) for i in range(1, 60)]
    times = [2e-6 + kernel.bytes * 1e-10 for kernel in rows]
    disturbed = [time * (8 if i % 8 == 3 else 1) for i, time in enumerate(times)]
    rates = fit_rates([Timing((kernel,), time) for kernel, time in zip(rows, disturbed, strict=True)], ONE)
    assert [rates.seconds(kernel) for kernel in rows] == pytest.approx(times, rel=0.02)


# -- timings ----------------------------------------------------------------------------------------------------------


def nodes(times: list[float], model: str = "net", source: str = "profile") -> list[Sample]:
    return [
        Sample((gemm(8, 8, 8 + i),), timed(time), source, model, (f"node{i}",)) for i, time in enumerate(times)
    ]  # fmt: skip


def test_the_profilers_share_is_what_parts_take_beyond_the_whole() -> None:
    parts = nodes([10e-6, 20e-6, 30e-6])
    rows = timings_of([*parts, sample([row.kernels[0] for row in parts], 54e-6, "network", "net")])
    assert [row.seconds for row in rows] == pytest.approx([8e-6, 18e-6, 28e-6])
    assert all(len(row.kernels) == 1 for row in rows)


def test_of_a_network_profiled_twice_the_parts_are_counted_once() -> None:
    parts = nodes([10e-6, 20e-6, 30e-6])
    rows = timings_of([*parts, *parts, sample([row.kernels[0] for row in parts], 54e-6, "network", "net")])
    assert [row.seconds for row in rows] == pytest.approx([8e-6, 18e-6, 28e-6] * 2)


def test_what_has_no_whole_gets_the_usual_overhead_and_little_is_scaled() -> None:
    parts, others = nodes([10e-6, 20e-6, 30e-6]), nodes([12e-6, 2e-6], "other", "microbenchmark")
    rows = timings_of([*parts, *others, sample([row.kernels[0] for row in parts], 54e-6, "network", "net")])
    assert [row.seconds for row in rows[3:]] == pytest.approx([10e-6, 0.8e-6])  # of the shortest, 0.4 remain
    slower = timings_of([*nodes([10e-6] * 4), sample([gemm(8, 8, 8)], 80e-6, "network", "net")])
    assert [row.seconds for row in slower] == pytest.approx([10.5e-6] * 4)
    faster = timings_of([*nodes([10e-6] * 4), sample([gemm(8, 8, 8)], 8e-6, "network", "net")])
    assert [row.seconds for row in faster] == pytest.approx([7e-6 * 0.95] * 4)


def test_what_was_timed_without_a_profiler_is_left_as_it_is() -> None:
    profiled, group = nodes([10e-6, 20e-6]), sample([gemm(8, 8, 8)] * 2, 5e-6, "subgraph", "net")
    for rows in ([*profiled, group], [group, *profiled]):
        found = timings_of([*rows, sample([gemm(8, 8, 8)], 26e-6, "network", "net")])
        assert sorted(row.seconds for row in found) == pytest.approx([5e-6, 8e-6, 18e-6])


def test_wholes_without_a_name_belong_to_no_parts() -> None:
    parts = nodes([10e-6, 20e-6], "", "microbenchmark")
    found = timings_of([*parts, sample([gemm(8, 8, 8)] * 3, 1e-6, "network")])
    assert [row.seconds for row in found] == pytest.approx([10e-6, 20e-6, 1e-6])
    assert networks_of([sample([gemm(8, 8, 8)] * 3, 1e-6, "network")]) == {}


def test_networks_are_real_ones_where_there_are_enough() -> None:
    wholes = [sample([gemm(8, 8, 8 + i)] * 2, 1e-5, "network", f"net{i}") for i in range(7)]
    assert networks_of(wholes).keys() == {f"net{i}" for i in range(7)}
    real = [sample(gemm(8, 8, 8), 1e-6, "profile", f"net{i}") for i in range(5)]
    assert networks_of([*wholes, *real]).keys() == {f"net{i}" for i in range(5)}
    sizes = [sample([gemm(8, 8, 9)] * 2, 3e-5, "network", "net0")] * 2
    assert networks_of([*wholes, *sizes])["net0"] == ((gemm(8, 8, 9),) * 2, 3e-5)


def test_representatives_are_the_same_whatever_the_order() -> None:
    rows = [sample(elementwise(1000 + i), 1e-6) for i in range(3000)]
    own = sample(elementwise(77), 1e-6, "profile", "net")
    chosen = representatives([*rows, own])
    assert len(chosen) < len(rows) and own in chosen
    assert {row.kernels for row in representatives([own, *rows[::-1]])} == {row.kernels for row in chosen}


# -- copies -----------------------------------------------------------------------------------------------------------


Integers = np.ndarray[Any, np.dtype[np.int64]]


def runs_of(order: Integers) -> float:
    """Elements for each stretch that is contiguous before as after."""
    places = order.reshape(-1)
    return places.size / (1 + int((np.diff(places) != 1).sum()))


def lowered(name: str, shapes: list[tuple[int, ...]], results: int = 1, *given: list[int], **attributes: Any) -> Copy:
    """The copy that an operator of these operands, and of constant integers ``given``, comes to."""
    (primitive,) = primitives(name, shapes, results, *given, **attributes)
    assert isinstance(primitive, Copy)
    return primitive


def primitives(
    name: str, shapes: list[tuple[int, ...]], results: int = 1, *given: list[int], **attributes: Any
) -> tuple[Primitive, ...]:
    """What an operator of these operands, and of constant integers ``given``, lowers to."""
    graph = Graph("net")
    operands = [graph.add(INPUT, [], [(f"x{i}", TensorType(F32, shape))]).result for i, shape in enumerate(shapes)]
    for i, numbers in enumerate(given):
        dense = Dense.of(DType.I64, (len(numbers),), numbers)
        operands.append(graph.add(CONSTANT, [], [(f"c{i}", dense.type)], {"value": dense}).result)
    op = graph.add(f"onnx.{name}", operands, [(f"y{i}", TensorType(F32, None)) for i in range(results)], attributes)
    for result in op.results:
        graph.add(OUTPUT, [result])
    target = load_target("intel-core-i7-12700k")
    PassManager(parse_passes("shape,lower")).run(graph, Context(target))
    return op.facts[Work].primitives


def places(*shape: int, start: int = 0) -> Integers:
    return np.arange(start, start + prod(shape)).reshape(shape)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 6, 1, 7), (3, 1, 8, 2)])
def test_runs_of_every_transpose(shape: tuple[int, ...]) -> None:
    for order in permutations(range(4)):
        moved = places(*shape).transpose(order)
        blocks = [moved.reshape(-1, run) for run in range(1, prod(shape)) if prod(shape) % run == 0]
        wanted = max(block.shape[1] for block in blocks if (np.diff(block) == 1).all())
        if runs_of(moved) < prod(shape):  # all else is a view
            assert lowered("Transpose", [shape], perm=order).run == wanted, order


def test_runs_of_concatenations_are_rows_of_the_operands_on_average() -> None:
    assert lowered("Concat", [(2, 3, 4), (2, 3, 4)], axis=2).run == 4
    assert lowered("Concat", [(2, 3, 4), (2, 5, 4)], axis=1).run == 16
    assert lowered("Concat", [(2, 3, 4), (1, 3, 4)], axis=0).run == 18
    for axis in range(3):
        one, other = places(4, 3, 6), places(4, 3, 6, start=1000)
        wanted = runs_of(np.concatenate([one, other], axis))
        assert lowered("Concat", [(4, 3, 6)] * 2, axis=axis).run == pytest.approx(wanted), axis


def test_runs_of_splits_are_rows_of_the_results_on_average() -> None:
    for axis, parts in product(range(3), (2, 3)):
        cut = np.split(places(6, 12, 18), parts, axis)
        wanted = np.mean([runs_of(part) for part in cut])
        copied = lowered("Split", [(6, 12, 18)], parts, axis=axis)
        assert (copied.elements, copied.run) == (6 * 12 * 18, pytest.approx(wanted)), axis


@pytest.mark.parametrize(
    ("bounds", "kept"),
    [
        (([0], [3], [2], [1]), np.s_[:, :, 0:3]),
        (([1], [3], [1], [1]), np.s_[:, 1:3]),
        (([1], [2], [0], [1]), np.s_[1:2]),
        (([0, 1], [2, 4], [1, 2], [1, 1]), np.s_[:, 0:2, 1:4]),
        (([0], [9], [2], [2]), np.s_[:, :, ::2]),
        (([0], [9], [1], [2]), np.s_[:, ::2]),
        (([0, 0], [9, 9], [1, 2], [2, 2]), np.s_[:, ::2, ::2]),
        (([-1], [-99], [1], [-1]), np.s_[:, ::-1]),
        (([0, 0], [9, 4], [0, 2], [2, 1]), np.s_[::2, :, 0:4]),
    ],
)
def test_runs_of_slices_end_where_something_is_left_out(bounds: tuple[list[int], ...], kept: Any) -> None:
    part = places(4, 6, 6)[kept]
    copied = lowered("Slice", [(4, 6, 6)], 1, *bounds)
    assert (copied.elements, copied.run) == (part.size, pytest.approx(runs_of(part)))


@pytest.mark.parametrize(
    ("shape", "axes", "run"),
    [
        ((4, 6, 8), [2], 8), ((4, 6, 8), [1, 2], 48), ((4, 6, 8), [1], 1), ((4, 6, 8), [0, 2], 8), ((4, 6, 8), [], 192),
        ((4, 6, 1), [1], 6), ((4, 6, 8), [-1], 8),
    ],
)  # fmt: skip
def test_runs_of_reductions_are_what_lies_side_by_side(shape: tuple[int, ...], axes: list[int], run: int) -> None:
    reduction, *_ = primitives("ReduceMean", [shape], 1, *([axes] if axes else []))
    assert isinstance(reduction, Reduction) and reduction.run == run


def test_reductions_across_rows_cost_apart() -> None:
    along, across = (made("ReduceMean", Reduction("mean", 800, 100, F32, run=run), 0, 800, 100) for run in (8, 1))
    assert "reduced across" not in amounts(along, ONE) and amounts(across, ONE)["reduced across"] == 0.8


def test_a_resize_to_the_size_that_there_is_copies() -> None:
    assert lowered("Resize", [(1, 4, 8, 8), (0,), (0,)], 1, [1, 4, 8, 8], mode="linear").elements == 256
    (window,) = primitives("Resize", [(1, 4, 8, 8), (0,), (0,)], 1, [1, 4, 16, 8], mode="linear")
    assert isinstance(window, Window) and window.window == 4
