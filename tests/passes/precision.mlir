// RUN: graphs-opt --passes=precision --precision=fp16 --emit=text %s | filecheck %s
// RUN: graphs-opt --passes=precision --emit=text %s | filecheck %s --check-prefix=KEPT

// Floating-point values change, weights too; integers stay.
// CHECK-DAG: %w = "graphs.constant"() : () -> tensor<8x8xf16>
// CHECK-DAG: %y = "onnx.MatMul"(%x, %w) : (tensor<1x8xf16>, tensor<8x8xf16>) -> tensor<1x8xf16>
// CHECK-DAG: %z = "onnx.Neg"(%ids) : (tensor<1x4xi64>) -> tensor<1x4xi64>
// KEPT-NOT: f16
// KEPT: -> tensor<1x8xf32>

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8xf32>
  %ids = "graphs.input"() : () -> tensor<1x4xi64>
  %w = "graphs.constant"() : () -> tensor<8x8xf32>
  %y = "onnx.MatMul"(%x, %w) : (tensor<1x8xf32>, tensor<8x8xf32>) -> tensor<1x8xf32>
  %z = "onnx.Neg"(%ids) : (tensor<1x4xi64>) -> tensor<1x4xi64>
  "graphs.output"(%y) : (tensor<1x8xf32>) -> ()
  "graphs.output"(%z) : (tensor<1x4xi64>) -> ()
}) {sym_name = "precision"} : () -> ()
