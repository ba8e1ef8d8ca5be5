"""How work is divided among threads, by the rules of onnxruntime's kernels, and what the busiest thread has of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_up_machine import conv, copy, elementwise, gemm, made, softmax

from graphs.calibration.amounts import amounts
from graphs.calibration.division import Division, division
from graphs.calibration.kernel import Kernel
from graphs.calibration.processor import Processor
from graphs.ir import DType
from graphs.ir.primitives import Conv, Gemm, Unknown
from graphs.targets import load_target

F32 = DType.F32
FOUR = Processor(1 << 20, lanes=16, threads=4)


def divided(kernel: Kernel, processor: Processor = FOUR) -> Division:
    return division(kernel.main, kernel, processor)


@pytest.mark.parametrize(
    ("kernel", "threads", "busiest"),
    [
        (gemm(64, 64, 15), 1, 4.0),  # 61,440 multiply-accumulates are one thread's
        (gemm(64, 64, 17), 2, 2.0),
        (gemm(128, 128, 128), 4, 1.0),
        (gemm(1, 40, 32768), 3, 4 / 3),  # three blocks of sixteen columns
        (gemm(6, 5, 65536), 4, 4 / 3),  # six rows: two of four threads have two
        (made("MatMul", Gemm(64, 64, 64, F32, batch=6), 0, 8, 8), 4, 4 / 3),
        (conv(64, 64, 14), 4, 4 * 4 / 14),  # fourteen rows of one set of 64 filters
        (conv(64, 128, 14), 4, 1.0),
        (conv(64, 32, 1, taps=1), 1, 4.0),
        (softmax(4, 4096), 2, 2.0),
        (softmax(1024, 64), 4, 1.0),
        (elementwise(10_000), 1, 4.0),
        (elementwise(100_000), 2, 2.0),
        (elementwise(1_000_000), 4, 1.0),
        (copy(1_000_000, 1), 1, 4.0),
    ],
)
def test_work_is_divided_as_the_runtime_does(kernel: Kernel, threads: int, busiest: float) -> None:
    found = divided(kernel)
    assert found.threads == threads and found.busiest == pytest.approx(busiest)


def test_a_depthwise_convolution_is_divided_by_rows_and_blocks_of_channels() -> None:
    deep = Conv(1, 32, 32, (5, 5), (5, 5), (3, 3), F32, (1, 1), (1, 1), groups=32)
    assert divided(made("Conv", deep, 0, 0, 0, "blocked")) == Division(4, pytest.approx(4 * 3 / 10))


def test_one_thread_has_it_all_and_nothing_is_divided() -> None:
    one = replace(FOUR, threads=1)
    for kernel in (gemm(128, 128, 128), conv(64, 64, 14), Kernel("Op", (), 0, 0, 0), made("Op", Unknown("?"), 0, 0, 0)):
        assert divided(kernel, one) == Division(1, 1.0)
    assert "launch of threads" not in amounts(gemm(128, 128, 128), one)


def test_amounts_are_those_of_the_busiest_thread() -> None:
    small, one = gemm(64, 64, 15), replace(FOUR, threads=1)
    alone = amounts(small, one)
    assert amounts(small, FOUR) == {name: amount * (1 if name == "launch" else 4) for name, amount in alone.items()}
    shared = amounts(gemm(128, 128, 128), FOUR)
    assert shared == {**amounts(gemm(128, 128, 128), one), "launch of threads": 1.0}


def test_a_processor_is_its_targets() -> None:
    epyc = Processor.of(load_target("amd-epyc-9654:onnxruntime-cpu"))
    assert (epyc.lanes, epyc.threads, epyc.conv_rows, epyc.gemm_rows, epyc.filter_set) == (16, 96, 6, 12, 64)
    assert Processor.of(load_target("amd-epyc-9654:onnxruntime-cpu@1-thread")) == replace(
        epyc, threads=1, near_bytes=epyc.near_bytes // 96
    )
    core = Processor.of(load_target("intel-core-i7-12700k:pytorch-eager"))
    assert (core.lanes, core.threads, core.conv_rows, core.gemm_rows, core.filter_set) == (8, 8, 3, 6, 32)
    assert Processor.of(load_target("jetson-orin-agx:pytorch-eager")).threads == 1
