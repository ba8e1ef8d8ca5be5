// RUN: graphs-opt --passes=fuse --target=intel-core-i7-12700k:pytorch-eager --emit=text %s | filecheck %s --check-prefix=CPU
// RUN: graphs-opt --passes=fuse --target=jetson-orin-agx:pytorch-eager --emit=text %s | filecheck %s --check-prefix=GPU

// A transpose is a view, unless a matrix product copies what it reads through it; one element of an axis is a view.
// A GPU adds a convolution's bias in a kernel of its own.
// CPU: %conv = "onnx.Conv"(%x, %w, %b)
// CPU: %turned = "graphs.strided"(
// CPU-SAME: perm = [0, 2, 3, 1]
// CPU: %relu = "onnx.Relu"(%turned)
// CPU: %one = "graphs.strided"(%relu)
// CPU: %copied = "onnx.Transpose"(%one)
// CPU: %product = "onnx.MatMul"(%flat, %m)
// GPU: "onnx.Conv"(%x, %w) 
// GPU: "graphs.bias"(
// GPU: %turned = "graphs.strided"(
// GPU-SAME: perm = [0, 2, 3, 1]
// GPU: %relu = "onnx.Relu"(%turned)
// GPU: %one = "graphs.strided"(%relu)
// GPU: %copied = "onnx.Transpose"(%one)
// GPU: %product = "onnx.MatMul"(%flat, %m)

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<2x16x8x8xf32>
  %w = "graphs.constant"() : () -> tensor<16x16x1x1xf32>
  %b = "graphs.constant"() : () -> tensor<16xf32>
  %conv = "onnx.Conv"(%x, %w, %b) {kernel_shape = [1, 1]} : (tensor<2x16x8x8xf32>, tensor<16x16x1x1xf32>, tensor<16xf32>) -> tensor<2x16x8x8xf32>
  %turned = "onnx.Transpose"(%conv) {perm = [0, 2, 3, 1]} : (tensor<2x16x8x8xf32>) -> tensor<2x8x8x16xf32>
  %relu = "onnx.Relu"(%turned) : (tensor<2x8x8x16xf32>) -> tensor<2x8x8x16xf32>
  %zero = "graphs.constant"() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %one = "onnx.Gather"(%relu, %zero) {axis = 0} : (tensor<2x8x8x16xf32>, tensor<i64>) -> tensor<8x8x16xf32>
  %copied = "onnx.Transpose"(%one) {perm = [2, 0, 1]} : (tensor<8x8x16xf32>) -> tensor<16x8x8xf32>
  %shape = "graphs.constant"() {value = dense<[16, 64]> : tensor<2xi64>} : () -> tensor<2xi64>
  %flat = "onnx.Reshape"(%copied, %shape) : (tensor<16x8x8xf32>, tensor<2xi64>) -> tensor<16x64xf32>
  %m = "graphs.constant"() : () -> tensor<64x32xf32>
  %product = "onnx.MatMul"(%flat, %m) : (tensor<16x64xf32>, tensor<64x32xf32>) -> tensor<16x32xf32>
  "graphs.output"(%product) : (tensor<16x32xf32>) -> ()
}) {sym_name = "views"} : () -> ()
