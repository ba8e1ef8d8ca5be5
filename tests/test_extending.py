"""The three extension tasks, each from outside the package: an operator, a pass, a target (docs/extending.md)."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples" / "extending"
RESNET = ROOT / "examples" / "models" / "resnet50.onnx"


def report(run, *arguments):
    outcome = run("--emit=json", *map(str, arguments))
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_an_operator_that_nobody_knows_makes_totals_lower_bounds(run):
    found = report(run, "--dim=seq=128", EXAMPLES / "rotary.onnx")
    assert not found["total"]["exact"]
    assert found["total"]["unknown"][0]["operator"] == "com.acme.Rotary"


def test_one_entry_makes_the_operator_known(apart):
    outcome = apart(
        f"--load-plugin={EXAMPLES / 'rotary.py'}", "--emit=json", "--dim=seq=128", str(EXAMPLES / "rotary.onnx")
    )
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["total"]["exact"]
    rotary = next(kernel for kernel in found["kernels"] if kernel["pattern"] == "Rotary")
    elements, element_bytes = 128 * 512, 4
    assert rotary["flops"] == 3 * elements
    # The activation in and out, and one sine and one cosine for each pair of elements: not the tables of 4,096 rows.
    assert rotary["bytes"] == 3 * elements * element_bytes


def test_one_file_adds_a_pass(apart):
    outcome = apart(f"--load-plugin={EXAMPLES / 'widest.py'}", "--passes=widest{count=2}", "--emit=text", str(RESNET))
    assert outcome.code == 0, outcome.err
    widths = re.findall(r"graphs\.width = \{bytes = (\d+), rank = (\d+)\}", outcome.out)
    assert sorted(widths, key=lambda width: width[1]) == [("3211264", "1"), ("3211264", "2")]


def test_the_pass_and_its_options_are_listed_and_checked(apart):
    plugin = f"--load-plugin={EXAMPLES / 'widest.py'}"
    listed = apart(plugin, "--list-passes")
    assert "widest" in listed.out and "count" in listed.out
    refused = apart(plugin, "--passes=widest{cuont=2}", str(RESNET))
    assert refused.code == 1 and 'did you mean "count"' in refused.err


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_one_yaml_adds_a_target(run, precision):
    found = report(run, f"--target={EXAMPLES / 'my-npu.yaml'}", f"--precision={precision}", RESNET)
    assert found["total"]["exact"]
    convolution = next(kernel for kernel in found["kernels"] if kernel["module"] == "layer4.0.conv2")
    assert convolution["unit"] == "matrix"
    peak = {"fp16": 2 * 2 * 2048e9, "int8": 2 * 2 * 4096e9}[precision]
    slower = 0.3  # the share of peak of convolutions, from my-compiler.yaml
    assert convolution["compute_seconds"] == pytest.approx(2 * 115605504 / (peak * slower), rel=0.05)


def test_the_targets_mode_slows_it_down(run):
    target = EXAMPLES / "my-npu.yaml"
    full, eco = (report(run, f"--target={target}{mode}", "--precision=fp16", RESNET) for mode in ("", "@eco"))
    assert eco["total"]["seconds"] > 1.3 * full["total"]["seconds"]


def test_the_page_shows_the_examples_as_they_are():
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    code = (EXAMPLES / "rotary.py").read_text(encoding="utf-8")
    for line in ('@define("com.acme.Rotary", kind=Kind.ELEMENTWISE, infer=lambda op: [op.operands[0].type])',
                 "return Lowering((work,), reads={1: rows, 2: rows})"):  # fmt: skip
        assert line in page and line in code
