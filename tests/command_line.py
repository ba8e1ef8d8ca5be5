"""What the tests of the command line run on: bundled models, tiny graphs, and a pass that fails."""

from pathlib import Path

MODELS = Path(__file__).parent.parent / "examples" / "models"
RESNET = str(MODELS / "resnet50.onnx")
LSTM = str(MODELS / "lstm_lm.onnx")
TINY = """\
"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<?x8xf32, ["n"]> loc("x")
  %y = "onnx.Relu"(%x) : (tensor<?x8xf32, ["n"]>) -> tensor<?x8xf32, ["n"]> loc("relu_1")
  "graphs.output"(%y) : (tensor<?x8xf32, ["n"]>) -> () loc("y")
}) {sym_name = "tiny"} : () -> ()
"""
STRANGE = TINY.replace("onnx.Relu", "com.acme.Rotary").replace("tiny", "strange").replace('?x8xf32, ["n"]', "1x8xf32")
CRASHING = '''
from dataclasses import dataclass
from graphs import Pass

@dataclass(frozen=True)
class Crash(Pass):
    """Fail in a way nobody foresaw."""
    name = "crash"
    requires = ("types",)

    def run(self, graph, context):
        graph.name = "changed"
        raise ZeroDivisionError("nobody foresaw this")
'''
