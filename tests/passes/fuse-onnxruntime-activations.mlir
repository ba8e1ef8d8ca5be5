// RUN: graphs-opt --passes=fuse --target=intel-core-i7-12700k --emit=text --split-input-file %s | filecheck %s

// CHECK: %y = "graphs.kernel"(%x, %s) ({
// CHECK: pattern = "QuickGelu"
// CHECK: sym_name = "quick_gelu"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8x64xf32>
  %s = "graphs.constant"() {value = dense<1.702> : tensor<f32>} : () -> tensor<f32>
  %m = "onnx.Mul"(%x, %s) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %g = "onnx.Sigmoid"(%m) : (tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  %y = "onnx.Mul"(%x, %g) : (tensor<1x8x64xf32>, tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "quick_gelu"} : () -> ()

// -----

// CHECK: pattern = "QuickGelu"
// CHECK: sym_name = "silu"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8x64xf32>
  %g = "onnx.Sigmoid"(%x) : (tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  %y = "onnx.Mul"(%g, %x) : (tensor<1x8x64xf32>, tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "silu"} : () -> ()

// -----

// Refused: the gate is of another value.
// CHECK-NOT: "graphs.kernel"
// CHECK: sym_name = "gate_of_another"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8x64xf32>
  %z = "graphs.input"() : () -> tensor<1x8x64xf32>
  %g = "onnx.Sigmoid"(%z) : (tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  %y = "onnx.Mul"(%x, %g) : (tensor<1x8x64xf32>, tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "gate_of_another"} : () -> ()

// -----

// CHECK: %y = "graphs.kernel"(%x,
// CHECK: pattern = "FastGelu"
// CHECK: sym_name = "fast_gelu"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8x64xf32>
  %three = "graphs.constant"() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %p = "onnx.Pow"(%x, %three) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %k = "graphs.constant"() {value = dense<0.044715> : tensor<f32>} : () -> tensor<f32>
  %q = "onnx.Mul"(%p, %k) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %r = "onnx.Add"(%x, %q) : (tensor<1x8x64xf32>, tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  %c = "graphs.constant"() {value = dense<0.79788> : tensor<f32>} : () -> tensor<f32>
  %u = "onnx.Mul"(%r, %c) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %t = "onnx.Tanh"(%u) : (tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  %one = "graphs.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %a = "onnx.Add"(%t, %one) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %half = "graphs.constant"() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %h = "onnx.Mul"(%x, %half) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %y = "onnx.Mul"(%h, %a) : (tensor<1x8x64xf32>, tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "fast_gelu"} : () -> ()

// -----

// Refused: not half of x.
// CHECK-NOT: "graphs.kernel"
// CHECK: sym_name = "other_factor"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8x64xf32>
  %three = "graphs.constant"() {value = dense<3.0> : tensor<f32>} : () -> tensor<f32>
  %p = "onnx.Pow"(%x, %three) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %k = "graphs.constant"() {value = dense<0.044715> : tensor<f32>} : () -> tensor<f32>
  %q = "onnx.Mul"(%p, %k) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %r = "onnx.Add"(%x, %q) : (tensor<1x8x64xf32>, tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  %c = "graphs.constant"() {value = dense<0.79788> : tensor<f32>} : () -> tensor<f32>
  %u = "onnx.Mul"(%r, %c) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %t = "onnx.Tanh"(%u) : (tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  %one = "graphs.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %a = "onnx.Add"(%t, %one) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %half = "graphs.constant"() {value = dense<0.7> : tensor<f32>} : () -> tensor<f32>
  %h = "onnx.Mul"(%x, %half) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %y = "onnx.Mul"(%h, %a) : (tensor<1x8x64xf32>, tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "other_factor"} : () -> ()

// -----

// CHECK: %y = "graphs.kernel"(%x,
// CHECK: pattern = "Gelu"
// CHECK: sym_name = "gelu_0"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8x64xf32>
  %root = "graphs.constant"() {value = dense<1.41421> : tensor<f32>} : () -> tensor<f32>
  %d = "onnx.Div"(%x, %root) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %e = "onnx.Erf"(%d) : (tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  %one = "graphs.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %a = "onnx.Add"(%e, %one) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %half = "graphs.constant"() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %m = "onnx.Mul"(%x, %a) : (tensor<1x8x64xf32>, tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  %y = "onnx.Mul"(%half, %m) : (tensor<f32>, tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "gelu_0"} : () -> ()

// -----

// CHECK: %y = "graphs.kernel"(%x,
// CHECK: pattern = "Gelu"
// CHECK: sym_name = "gelu_1"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8x64xf32>
  %root = "graphs.constant"() {value = dense<1.41421> : tensor<f32>} : () -> tensor<f32>
  %d = "onnx.Div"(%x, %root) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %e = "onnx.Erf"(%d) : (tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  %one = "graphs.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %a = "onnx.Add"(%e, %one) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %half = "graphs.constant"() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %m = "onnx.Mul"(%a, %half) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %y = "onnx.Mul"(%x, %m) : (tensor<1x8x64xf32>, tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "gelu_1"} : () -> ()

// -----

// CHECK: %y = "graphs.kernel"(%x,
// CHECK: pattern = "Gelu"
// CHECK: sym_name = "gelu_2"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8x64xf32>
  %root = "graphs.constant"() {value = dense<1.41421> : tensor<f32>} : () -> tensor<f32>
  %d = "onnx.Div"(%x, %root) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %e = "onnx.Erf"(%d) : (tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  %one = "graphs.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %a = "onnx.Add"(%e, %one) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %half = "graphs.constant"() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %m = "onnx.Mul"(%x, %half) : (tensor<1x8x64xf32>, tensor<f32>) -> tensor<1x8x64xf32>
  %y = "onnx.Mul"(%m, %a) : (tensor<1x8x64xf32>, tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "gelu_2"} : () -> ()

// -----

// Refused: this runtime has no kernels for chains of elementwise operators.
// CHECK-NOT: "graphs.kernel"
// CHECK: sym_name = "elementwise_chain"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8x64xf32>
  %e = "onnx.Exp"(%x) : (tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  %y = "onnx.Tanh"(%e) : (tensor<1x8x64xf32>) -> tensor<1x8x64xf32>
  "graphs.output"(%y) : (tensor<1x8x64xf32>) -> ()
}) {sym_name = "elementwise_chain"} : () -> ()
