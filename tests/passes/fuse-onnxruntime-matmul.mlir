// RUN: graphs-opt --passes=fuse --target=intel-core-i7-12700k --emit=text --split-input-file %s | filecheck %s

// CHECK: %y = "graphs.kernel"(%x,
// CHECK: pattern = "LayerNormalization"
// CHECK: sym_name = "layer_norm"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8x64xf32>
  %mean = "onnx.ReduceMean"(%x) {axes = [-1], keepdims = 1} : (tensor<1x8x64xf32>) -> tensor<1x8x1xf32>
  %d = "onnx.Sub"(%x, %mean) : (tensor<1x8x64xf32>, tensor<1x8x1xf32>) -> tensor<1x8x64xf32>
  %two = "graphs.constant"() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %p = "onnx.Pow"(%d, %two) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %var = "onnx.ReduceMean"(%p) {axes = [-1], keepdims = 1} : (tensor<1x8x64xf32>) -> tensor<1x8x1xf32>
  %e = "graphs.constant"() {value = dense<1.0e-05> : tensor<f32>} : () -> tensor<f32>
  %eps = "onnx.Add"(%var, %e) : (tensor<1x8x1xf32>, tensor<f32>) -> tensor<1x8x1xf32>
  %std = "onnx.Sqrt"(%eps) : (tensor<1x8x1xf32>) -> tensor<1x8x1xf32>
  %norm = "onnx.Div"(%d, %std) : (tensor<1x8x64xf32>, tensor<1x8x1xf32>) -> tensor<1x8x64xf32>
  %gain = "graphs.constant"() : () -> tensor<64xf32>
  %scaled = "onnx.Mul"(%norm, %gain) : (tensor<1x8x64xf32>, tensor<64xf32>) -> tensor<1x8x64xf32>
  %bias = "graphs.constant"() : () -> tensor<64xf32>
  %y = "onnx.Add"(%scaled, %bias) : (tensor<1x8x64xf32>, tensor<64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "layer_norm"} : () -> ()

// -----

// Refused: a variance is of squares.
// CHECK-NOT: "graphs.kernel"
// CHECK: sym_name = "cubed"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8x64xf32>
  %mean = "onnx.ReduceMean"(%x) {axes = [-1], keepdims = 1} : (tensor<1x8x64xf32>) -> tensor<1x8x1xf32>
  %d = "onnx.Sub"(%x, %mean) : (tensor<1x8x64xf32>, tensor<1x8x1xf32>) -> tensor<1x8x64xf32>
  %two = "graphs.constant"() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %p = "onnx.Pow"(%d, %two) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %var = "onnx.ReduceMean"(%p) {axes = [-1], keepdims = 1} : (tensor<1x8x64xf32>) -> tensor<1x8x1xf32>
  %e = "graphs.constant"() {value = dense<1.0e-05> : tensor<f32>} : () -> tensor<f32>
  %eps = "onnx.Add"(%var, %e) : (tensor<1x8x1xf32>, tensor<f32>) -> tensor<1x8x1xf32>
  %std = "onnx.Sqrt"(%eps) : (tensor<1x8x1xf32>) -> tensor<1x8x1xf32>
  %norm = "onnx.Div"(%d, %std) : (tensor<1x8x64xf32>, tensor<1x8x1xf32>) -> tensor<1x8x64xf32>
  %gain = "graphs.constant"() : () -> tensor<64xf32>
  %scaled = "onnx.Mul"(%norm, %gain) : (tensor<1x8x64xf32>, tensor<64xf32>) -> tensor<1x8x64xf32>
  %bias = "graphs.constant"() : () -> tensor<64xf32>
  %y = "onnx.Add"(%scaled, %bias) : (tensor<1x8x64xf32>, tensor<64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "cubed"} : () -> ()

// -----

// CHECK: %y = "graphs.kernel"(%a, %b, %gain, %bias) ({
// CHECK: pattern = "SkipLayerNormalization"
// CHECK: sym_name = "skip_layer_norm"

"graphs.graph"() ({
  %a = "graphs.input"() : () -> tensor<1x8x64xf32>
  %b = "graphs.input"() : () -> tensor<1x8x64xf32>
  %s = "onnx.Add"(%a, %b) : (tensor<1x8x64xf32>, tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  %gain = "graphs.constant"() : () -> tensor<64xf32>
  %bias = "graphs.constant"() : () -> tensor<64xf32>
  %y = "onnx.LayerNormalization"(%s, %gain, %bias) {axis = -1} : (tensor<1x8x64xf32>, tensor<64xf32>, tensor<64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "skip_layer_norm"} : () -> ()

// -----

// A matrix product, its bias and its activation are one Gemm.
// CHECK: %y = "graphs.kernel"(%x, %w, %b) ({
// CHECK: "onnx.MatMul"
// CHECK-NEXT: "onnx.Add"
// CHECK-NEXT: "onnx.Relu"
// CHECK: sym_name = "gemm"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<4x64xf32>
  %w = "graphs.constant"() : () -> tensor<64x32xf32>
  %m = "onnx.MatMul"(%x, %w) : (tensor<4x64xf32>, tensor<64x32xf32>) -> tensor<4x32xf32>
  %b = "graphs.constant"() : () -> tensor<32xf32>
  %a = "onnx.Add"(%m, %b) : (tensor<4x32xf32>, tensor<32xf32>) -> tensor<4x32xf32>
  %y = "onnx.Relu"(%a) : (tensor<4x32xf32>) -> tensor<4x32xf32>
  "graphs.output"(%y) : (tensor<4x32xf32>) -> ()
}) {sym_name = "gemm"} : () -> ()

// -----

// Refused: what is added is no bias vector.
// CHECK-NOT: "graphs.kernel"
// CHECK: sym_name = "no_bias"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<4x64xf32>
  %r = "graphs.input"() : () -> tensor<4x32xf32>
  %w = "graphs.constant"() : () -> tensor<64x32xf32>
  %m = "onnx.MatMul"(%x, %w) : (tensor<4x64xf32>, tensor<64x32xf32>) -> tensor<4x32xf32>
  %y = "onnx.Add"(%m, %r) : (tensor<4x32xf32>, tensor<4x32xf32>) -> tensor<4x32xf32>
  "graphs.output"(%y) : (tensor<4x32xf32>) -> ()
}) {sym_name = "no_bias"} : () -> ()
