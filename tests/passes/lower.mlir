// RUN: graphs-opt --passes=lower --emit=text %s | filecheck %s

// Work is counted once per operation; a view moves nothing.
// CHECK: "onnx.MatMul"{{.*}}graphs.work = {primitives = [{tag = "gemm", m = 2, n = 4, k = 8, dtype = "F32", batch = 1, weight = true, steps = 1}], reads = [64, 128], writes = [32]}
// CHECK: "onnx.Reshape"{{.*}}reads = [0, 0], writes = [0]
// CHECK: "onnx.Tanh"{{.*}}elements = 8{{.*}}reads = [32], writes = [32]

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<2x8xf32>
  %w = "graphs.constant"() : () -> tensor<8x4xf32>
  %m = "onnx.MatMul"(%x, %w) : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x4xf32>
  %t = "graphs.constant"() {value = dense<[8]> : tensor<1xi64>} : () -> tensor<1xi64>
  %r = "onnx.Reshape"(%m, %t) : (tensor<2x4xf32>, tensor<1xi64>) -> tensor<8xf32>
  %y = "onnx.Tanh"(%r) : (tensor<8xf32>) -> tensor<8xf32>
  "graphs.output"(%y) : (tensor<8xf32>) -> ()
}) {sym_name = "lower"} : () -> ()
