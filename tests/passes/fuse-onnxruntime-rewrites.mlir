// RUN: graphs-opt --passes=fuse --target=intel-core-i7-12700k --emit=text --split-input-file %s | filecheck %s

// Two transposes that undo each other are gone; the output reads what they stood on.
// CHECK-NOT: "onnx.Transpose"
// CHECK: "onnx.Relu"(%x)
// CHECK: sym_name = "cancelled"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x4x8xf32>
  %t = "onnx.Transpose"(%x) {perm = [2, 1, 0]} : (tensor<1x4x8xf32>) -> tensor<8x4x1xf32>
  %u = "onnx.Transpose"(%t) {perm = [2, 1, 0]} : (tensor<8x4x1xf32>) -> tensor<1x4x8xf32>
  %y = "onnx.Relu"(%u) : (tensor<1x4x8xf32>) -> tensor<1x4x8xf32>
  "graphs.output"(%y) : (tensor<1x4x8xf32>) -> ()
}) {sym_name = "cancelled"} : () -> ()

// -----

// Two transposes in a row are one: what axis i of the second reads of the first.
// CHECK: %u = "onnx.Transpose"(%x) {perm = [2, 1, 0]} : (tensor<2x3x4xf32>) -> tensor<4x3x2xf32>
// CHECK-NOT: "onnx.Transpose"
// CHECK: sym_name = "composed"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<2x3x4xf32>
  %t = "onnx.Transpose"(%x) {perm = [1, 2, 0]} : (tensor<2x3x4xf32>) -> tensor<3x4x2xf32>
  %u = "onnx.Transpose"(%t) {perm = [1, 0, 2]} : (tensor<3x4x2xf32>) -> tensor<4x3x2xf32>
  "graphs.output"(%u) : (tensor<4x3x2xf32>) -> ()
}) {sym_name = "composed"} : () -> ()

// -----

// Both operands are transposed alike: the sum is of the untransposed ones, and one transpose is left.
// CHECK: "onnx.Add"(%a, %b) {{.*}} -> tensor<1x4x8xf32>
// CHECK: %s = "onnx.Transpose"
// CHECK-NOT: "onnx.Transpose"
// CHECK: sym_name = "pushed"

"graphs.graph"() ({
  %a = "graphs.input"() : () -> tensor<1x4x8xf32>
  %b = "graphs.input"() : () -> tensor<1x4x8xf32>
  %t = "onnx.Transpose"(%a) {perm = [0, 2, 1]} : (tensor<1x4x8xf32>) -> tensor<1x8x4xf32>
  %u = "onnx.Transpose"(%b) {perm = [0, 2, 1]} : (tensor<1x4x8xf32>) -> tensor<1x8x4xf32>
  %s = "onnx.Add"(%t, %u) : (tensor<1x8x4xf32>, tensor<1x8x4xf32>) -> tensor<1x8x4xf32>
  "graphs.output"(%s) : (tensor<1x8x4xf32>) -> ()
}) {sym_name = "pushed"} : () -> ()

// -----

// Refused: they are not transposed alike.
// CHECK: "onnx.Add"(%t, %u)
// CHECK: sym_name = "unlike"

"graphs.graph"() ({
  %a = "graphs.input"() : () -> tensor<4x4x4xf32>
  %b = "graphs.input"() : () -> tensor<4x4x4xf32>
  %t = "onnx.Transpose"(%a) {perm = [0, 2, 1]} : (tensor<4x4x4xf32>) -> tensor<4x4x4xf32>
  %u = "onnx.Transpose"(%b) {perm = [1, 0, 2]} : (tensor<4x4x4xf32>) -> tensor<4x4x4xf32>
  %s = "onnx.Add"(%t, %u) : (tensor<4x4x4xf32>, tensor<4x4x4xf32>) -> tensor<4x4x4xf32>
  "graphs.output"(%s) : (tensor<4x4x4xf32>) -> ()
}) {sym_name = "unlike"} : () -> ()

// -----

// Gathers that together take a value apart are one split, and views that drop the axis.
// CHECK-NOT: "onnx.Gather"
// CHECK: %[[A:.*]], %[[B:.*]], %[[C:.*]] = "onnx.Split"(%x)
// CHECK: %p0 = "onnx.Squeeze"(%[[A]],
// CHECK: %p2 = "onnx.Squeeze"(%[[C]],
// CHECK: sym_name = "siblings"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<3x1x8xf32>
  %i0 = "graphs.constant"() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %p0 = "onnx.Gather"(%x, %i0) {axis = 0} : (tensor<3x1x8xf32>, tensor<i64>) -> tensor<1x8xf32>
  %i1 = "graphs.constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %p1 = "onnx.Gather"(%x, %i1) {axis = 0} : (tensor<3x1x8xf32>, tensor<i64>) -> tensor<1x8xf32>
  %i2 = "graphs.constant"() {value = dense<2> : tensor<i64>} : () -> tensor<i64>
  %p2 = "onnx.Gather"(%x, %i2) {axis = 0} : (tensor<3x1x8xf32>, tensor<i64>) -> tensor<1x8xf32>
  %r0 = "onnx.Relu"(%p0) : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %r1 = "onnx.Relu"(%p1) : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %r2 = "onnx.Relu"(%p2) : (tensor<1x8xf32>) -> tensor<1x8xf32>
  "graphs.output"(%r0) : (tensor<1x8xf32>) -> ()
  "graphs.output"(%r1) : (tensor<1x8xf32>) -> ()
  "graphs.output"(%r2) : (tensor<1x8xf32>) -> ()
}) {sym_name = "siblings"} : () -> ()

// -----

// Refused: a part is missing.
// CHECK-NOT: "onnx.Split"
// CHECK: sym_name = "incomplete"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<3x1x8xf32>
  %i0 = "graphs.constant"() {value = dense<0> : tensor<i64>} : () -> tensor<i64>
  %p0 = "onnx.Gather"(%x, %i0) {axis = 0} : (tensor<3x1x8xf32>, tensor<i64>) -> tensor<1x8xf32>
  %i1 = "graphs.constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %p1 = "onnx.Gather"(%x, %i1) {axis = 0} : (tensor<3x1x8xf32>, tensor<i64>) -> tensor<1x8xf32>
  %r0 = "onnx.Relu"(%p0) : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %r1 = "onnx.Relu"(%p1) : (tensor<1x8xf32>) -> tensor<1x8xf32>
  "graphs.output"(%r0) : (tensor<1x8xf32>) -> ()
  "graphs.output"(%r1) : (tensor<1x8xf32>) -> ()
}) {sym_name = "incomplete"} : () -> ()

// -----

// No-ops vanish, equal operations merge, and what reads only constants is computed at load time.
// CHECK: %x = "graphs.input"() : () -> tensor<1x8xf32>
// CHECK-NEXT: %a = "onnx.Relu"(%x)
// CHECK-NEXT: %negated = "graphs.constant"()
// CHECK-NEXT: "onnx.Add"(%a, %a)
// CHECK: sym_name = "simplified"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8xf32>
  %i = "onnx.Identity"(%x) : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %a = "onnx.Relu"(%i) : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %b = "onnx.Relu"(%x) : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %w = "graphs.constant"() : () -> tensor<1x8xf32>
  %negated = "onnx.Neg"(%w) : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %s = "onnx.Add"(%a, %b) : (tensor<1x8xf32>, tensor<1x8xf32>) -> tensor<1x8xf32>
  %y = "onnx.Mul"(%s, %negated) : (tensor<1x8xf32>, tensor<1x8xf32>) -> tensor<1x8xf32>
  "graphs.output"(%y) : (tensor<1x8xf32>) -> ()
}) {sym_name = "simplified"} : () -> ()

// -----

// A result that the graph returns keeps its name and its value whatever is rewritten above it.
// CHECK: "graphs.output"(%r) : (tensor<1x4x8xf32>)
// CHECK: "graphs.output"(%t) : (tensor<8x4x1xf32>)
// CHECK: sym_name = "returned_name"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x4x8xf32>
  %r = "onnx.Relu"(%x) : (tensor<1x4x8xf32>) -> tensor<1x4x8xf32>
  %t = "onnx.Transpose"(%r) {perm = [2, 1, 0]} : (tensor<1x4x8xf32>) -> tensor<8x4x1xf32>
  %u = "onnx.Transpose"(%t) {perm = [2, 1, 0]} : (tensor<8x4x1xf32>) -> tensor<1x4x8xf32>
  "graphs.output"(%u) : (tensor<1x4x8xf32>) -> ()
  "graphs.output"(%t) : (tensor<8x4x1xf32>) -> ()
}) {sym_name = "returned_name"} : () -> ()
