"""What may be written over: never a buffer that the same kernel also reads through a view."""

from graphs.ir import parse
from graphs.passes.memory import plan_memory

TEXT = """
"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<4x4xf32>
  %y = "onnx.Relu"(%x) : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %s = "graphs.constant"() {value = dense<[4, 4]> : tensor<2xi64>} : () -> tensor<2xi64>
  %v = "onnx.Reshape"(%y, %s) : (tensor<4x4xf32>, tensor<2xi64>) -> tensor<4x4xf32>
  %z = "onnx.Add"(%y, OTHER) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  "graphs.output"(%z) : (tensor<4x4xf32>) -> ()
}) {sym_name = "views"} : () -> ()
"""


def shares(other: str) -> bool:
    graph = parse(TEXT.replace("OTHER", other))
    storages = plan_memory(graph, views=True, in_place=True, alignment=1).storages
    return any({"y", "z"} <= {value.name for value in storage.values} for storage in storages)


def test_an_operand_read_for_the_last_time_is_written_over() -> None:
    assert shares("%y")


def test_an_operand_that_is_also_read_through_a_view_is_not() -> None:
    assert not shares("%v")
