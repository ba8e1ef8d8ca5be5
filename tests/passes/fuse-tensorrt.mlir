// RUN: graphs-opt --passes=fuse --target=nvidia-h100-sxm:tensorrt --emit=text --split-input-file %s | filecheck %s

// CHECK: %y = "graphs.kernel"(%k, %q, %root, %v)
// CHECK: pattern = "Attention"
// CHECK: sym_name = "attention"

"graphs.graph"() ({
  %q = "graphs.input"() : () -> tensor<1x4x16x8xf32>
  %k = "graphs.input"() : () -> tensor<1x4x16x8xf32>
  %v = "graphs.input"() : () -> tensor<1x4x16x8xf32>
  %kt = "onnx.Transpose"(%k) {perm = [0, 1, 3, 2]} : (tensor<1x4x16x8xf32>) -> tensor<1x4x8x16xf32>
  %s = "onnx.MatMul"(%q, %kt) : (tensor<1x4x16x8xf32>, tensor<1x4x8x16xf32>) -> tensor<1x4x16x16xf32>
  %root = "graphs.constant"() {value = dense<2.83> : tensor<f32>} : () -> tensor<f32>
  %d = "onnx.Div"(%s, %root) : (tensor<1x4x16x16xf32>, tensor<f32>) -> tensor<1x4x16x16xf32>
  %p = "onnx.Softmax"(%d) {axis = -1} : (tensor<1x4x16x16xf32>) -> tensor<1x4x16x16xf32>
  %y = "onnx.MatMul"(%p, %v) : (tensor<1x4x16x16xf32>, tensor<1x4x16x8xf32>) -> tensor<1x4x16x8xf32>
  "graphs.output"(%y) : (tensor<1x4x16x8xf32>) -> ()
}) {sym_name = "attention"} : () -> ()

// -----

// CHECK: pattern = "RMSNormalization"
// CHECK: sym_name = "rms_norm"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8x64xf32>
  %two = "graphs.constant"() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %p = "onnx.Pow"(%x, %two) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %v = "onnx.ReduceMean"(%p) {axes = [-1], keepdims = 1} : (tensor<1x8x64xf32>) -> tensor<1x8x1xf32>
  %e = "graphs.constant"() {value = dense<1.0e-06> : tensor<f32>} : () -> tensor<f32>
  %a = "onnx.Add"(%v, %e) : (tensor<1x8x1xf32>, tensor<f32>) -> tensor<1x8x1xf32>
  %s = "onnx.Sqrt"(%a) : (tensor<1x8x1xf32>) -> tensor<1x8x1xf32>
  %g = "graphs.constant"() : () -> tensor<64xf32>
  %d = "onnx.Div"(%x, %s) : (tensor<1x8x64xf32>, tensor<1x8x1xf32>) -> tensor<1x8x64xf32>
  %y = "onnx.Mul"(%g, %d) : (tensor<64xf32>, tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "rms_norm"} : () -> ()

// -----

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

// Elementwise operators are one kernel, and ride on the product before them.
// CHECK: %y = "graphs.kernel"(%x, %w) ({
// CHECK: "onnx.MatMul"
// CHECK-NEXT: "onnx.Exp"
// CHECK-NEXT: "onnx.Tanh"
// CHECK-NOT: "graphs.kernel"
// CHECK: sym_name = "chain"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8x64xf32>
  %w = "graphs.constant"() : () -> tensor<64x64xf32>
  %m = "onnx.MatMul"(%x, %w) : (tensor<1x8x64xf32>, tensor<64x64xf32>) -> tensor<1x8x64xf32>
  %e = "onnx.Exp"(%m) : (tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  %y = "onnx.Tanh"(%e) : (tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "chain"} : () -> ()

// -----

// Two products never share a kernel: the sum rides on one of them.
// CHECK-COUNT-1: "graphs.kernel"
// CHECK: "onnx.MatMul"
// CHECK-NOT: "onnx.MatMul"
// CHECK: sym_name = "two_products"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8x64xf32>
  %w = "graphs.constant"() : () -> tensor<64x64xf32>
  %a = "onnx.MatMul"(%x, %w) : (tensor<1x8x64xf32>, tensor<64x64xf32>) -> tensor<1x8x64xf32>
  %u = "graphs.constant"() : () -> tensor<64x64xf32>
  %b = "onnx.MatMul"(%x, %u) : (tensor<1x8x64xf32>, tensor<64x64xf32>) -> tensor<1x8x64xf32>
  %y = "onnx.Add"(%a, %b) : (tensor<1x8x64xf32>, tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "two_products"} : () -> ()

// -----

// Refused: fusing past an operator in between would make the kernel wait for itself.
// CHECK-NOT: "graphs.kernel"
// CHECK: sym_name = "branches"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8x64xf32>
  %e = "onnx.Exp"(%x) : (tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  %axis = "graphs.constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %c = "onnx.CumSum"(%e, %axis) : (tensor<1x8x64xf32>, tensor<i64>) -> tensor<1x8x64xf32>
  %y = "onnx.Add"(%e, %c) : (tensor<1x8x64xf32>, tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "branches"} : () -> ()
