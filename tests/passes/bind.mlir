// RUN: graphs-opt --passes=bind --dim batch=3 --dim seq=5 --emit=text %s | filecheck %s
// RUN: graphs-opt --passes=bind{default=1} --dim batch=3 --emit=text %s 2>&1 | filecheck %s --check-prefix=DEFAULT
// RUN: graphs-opt --passes=bind,cost --dim batch=3 --emit=text %s 2>&1 | filecheck %s --check-prefix=DEFAULT
// RUN: graphs-opt --passes=bind --dim batch=3 --emit=text %s 2>&1 | filecheck %s --check-prefix=OPEN
// RUN: graphs-opt --passes=bind{default=7} --dim '*=2' --emit=text %s | filecheck %s --check-prefix=ALL
// RUN: not graphs-opt --passes=bind --dim seqq=5 %s 2>&1 | filecheck %s --check-prefix=UNKNOWN
// RUN: not graphs-opt --passes=bind,cost --strict --dim batch=3 %s 2>&1 | filecheck %s --check-prefix=STRICT

// A dimension is bound wherever it is named; what is left open becomes 1 with a warning where a pass needs numbers.
// CHECK: %y = "onnx.Relu"(%x) : (tensor<3x5xf32>) -> tensor<3x5xf32>
// DEFAULT: seq bound to 1
// DEFAULT: tensor<3x1xf32>
// OPEN-NOT: warning
// OPEN: tensor<3x?xf32, ["seq"]>
// ALL: tensor<2x2xf32>
// UNKNOWN: error: {{.*}}no symbolic dimension 'seqq'; did you mean "seq"?
// UNKNOWN: help: symbolic dimensions of this model: batch, seq
// UNKNOWN-NOT: Traceback
// STRICT: error: {{.*}}seq bound to 1

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<?x?xf32, ["batch", "seq"]>
  %y = "onnx.Relu"(%x) : (tensor<?x?xf32, ["batch", "seq"]>) -> tensor<?x?xf32, ["batch", "seq"]>
  "graphs.output"(%y) : (tensor<?x?xf32, ["batch", "seq"]>) -> ()
}) {sym_name = "bind"} : () -> ()
