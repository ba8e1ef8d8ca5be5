// RUN: graphs-opt --passes=fuse --target=intel-core-i7-12700k:pytorch-eager --emit=text --split-input-file %s | filecheck %s --check-prefix=CPU
// RUN: graphs-opt --passes=fuse --target=jetson-orin-agx:pytorch-eager --emit=text --split-input-file %s | filecheck %s --check-prefix=GPU

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

// -----

// Slices and parts of a split are views, and so is what is expanded for an addition, but not what a reshape of it has to
// copy. The matrices of one batch are read as they lie.
// CPU: %part = "graphs.strided"(%y)
// CPU: %head, %tail = "graphs.strided"(%y)
// CPU: %back = "onnx.Slice"(%y
// CPU: %wide = "graphs.strided"(%row)
// CPU: %repeated = "onnx.Expand"(%row
// CPU: %once = "graphs.strided"(%y)
// CPU: %each = "onnx.Transpose"(%many)

"graphs.graph"() ({
  %y = "graphs.input"() : () -> tensor<1x4x8xf32>
  %row = "graphs.input"() : () -> tensor<1x1x8xf32>
  %many = "graphs.input"() : () -> tensor<2x3x4x8xf32>
  %0 = "graphs.constant"() {value = dense<[0]> : tensor<1xi64>} : () -> tensor<1xi64>
  %1 = "graphs.constant"() {value = dense<[1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %2 = "graphs.constant"() {value = dense<[2]> : tensor<1xi64>} : () -> tensor<1xi64>
  %3 = "graphs.constant"() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %4 = "graphs.constant"() {value = dense<[-9]> : tensor<1xi64>} : () -> tensor<1xi64>
  %sizes = "graphs.constant"() {value = dense<[4, 4]> : tensor<2xi64>} : () -> tensor<2xi64>
  %wider = "graphs.constant"() {value = dense<[1, 4, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %flat = "graphs.constant"() {value = dense<[1, 32]> : tensor<2xi64>} : () -> tensor<2xi64>
  %part = "onnx.Slice"(%y, %0, %2, %1, %1) : (tensor<1x4x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x8xf32>
  "graphs.output"(%part) : (tensor<1x2x8xf32>) -> ()
  %head, %tail = "onnx.Split"(%y, %sizes) {axis = 2} : (tensor<1x4x8xf32>, tensor<2xi64>) -> (tensor<1x4x4xf32>, tensor<1x4x4xf32>)
  %sum = "onnx.Add"(%head, %tail) : (tensor<1x4x4xf32>, tensor<1x4x4xf32>) -> tensor<1x4x4xf32>
  "graphs.output"(%sum) : (tensor<1x4x4xf32>) -> ()
  %back = "onnx.Slice"(%y, %3, %4, %1, %3) : (tensor<1x4x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x4x8xf32>
  "graphs.output"(%back) : (tensor<1x4x8xf32>) -> ()
  %wide = "onnx.Expand"(%row, %wider) : (tensor<1x1x8xf32>, tensor<3xi64>) -> tensor<1x4x8xf32>
  %added = "onnx.Add"(%y, %wide) : (tensor<1x4x8xf32>, tensor<1x4x8xf32>) -> tensor<1x4x8xf32>
  "graphs.output"(%added) : (tensor<1x4x8xf32>) -> ()
  %repeated = "onnx.Expand"(%row, %wider) : (tensor<1x1x8xf32>, tensor<3xi64>) -> tensor<1x4x8xf32>
  %laid = "onnx.Reshape"(%repeated, %flat) : (tensor<1x4x8xf32>, tensor<2xi64>) -> tensor<1x32xf32>
  "graphs.output"(%laid) : (tensor<1x32xf32>) -> ()
  %once = "onnx.Transpose"(%y) {perm = [0, 2, 1]} : (tensor<1x4x8xf32>) -> tensor<1x8x4xf32>
  %alike = "onnx.MatMul"(%y, %once) : (tensor<1x4x8xf32>, tensor<1x8x4xf32>) -> tensor<1x4x4xf32>
  "graphs.output"(%alike) : (tensor<1x4x4xf32>) -> ()
  %each = "onnx.Transpose"(%many) {perm = [0, 1, 3, 2]} : (tensor<2x3x4x8xf32>) -> tensor<2x3x8x4xf32>
  %pairs = "onnx.MatMul"(%many, %each) : (tensor<2x3x4x8xf32>, tensor<2x3x8x4xf32>) -> tensor<2x3x4x4xf32>
  "graphs.output"(%pairs) : (tensor<2x3x4x4xf32>) -> ()
}) {sym_name = "strides"} : () -> ()
