// RUN: graphs-opt --passes=shape --emit=text --split-input-file %s | filecheck %s

// Shape arithmetic is evaluated and gone; the reshape's type follows from it.
// CHECK-NOT: "onnx.Shape"
// CHECK-NOT: "onnx.Gather"
// CHECK-NOT: "onnx.Concat"
// CHECK: %target = "graphs.constant"() {value = dense<[-1, 12]> : tensor<2xi64>}
// CHECK-NEXT: %y = "onnx.Reshape"(%x, %target) : (tensor<2x12x64xf32>, tensor<2xi64>) -> tensor<128x12xf32>
// CHECK: sym_name = "folded"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<2x12x64xf32>
  %shape = "onnx.Shape"(%x) : (tensor<2x12x64xf32>) -> tensor<*xi64>
  %one = "graphs.constant"() {value = dense<1> : tensor<i64>} : () -> tensor<i64>
  %dim = "onnx.Gather"(%shape, %one) {axis = 0} : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %axes = "graphs.constant"() {value = dense<[0]> : tensor<1xi64>} : () -> tensor<1xi64>
  %dim_1 = "onnx.Unsqueeze"(%dim, %axes) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %minus = "graphs.constant"() {value = dense<[-1]> : tensor<1xi64>} : () -> tensor<1xi64>
  %target = "onnx.Concat"(%minus, %dim_1) {axis = 0} : (tensor<1xi64>, tensor<*xi64>) -> tensor<*xi64>
  %y = "onnx.Reshape"(%x, %target) : (tensor<2x12x64xf32>, tensor<*xi64>) -> tensor<*xf32>
  "graphs.output"(%y) : (tensor<*xf32>) -> ()
}) {sym_name = "folded"} : () -> ()

// -----

// What depends on the data stays open, and only that: the rank and the other dimension are known.
// CHECK: %where = "onnx.NonZero"(%x) : (tensor<4x6xf32>) -> tensor<2x?xi64, [#graphs.dim<"where.1{0..24}">]>
// CHECK: %places = "onnx.Transpose"({{.*}} -> tensor<?x2xi64, [#graphs.dim<"where.1{0..24}">]>
// CHECK: sym_name = "dependent"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<4x6xf32>
  %where = "onnx.NonZero"(%x) : (tensor<4x6xf32>) -> tensor<*xi64>
  %places = "onnx.Transpose"(%where) {perm = [1, 0]} : (tensor<*xi64>) -> tensor<*xi64>
  "graphs.output"(%places) : (tensor<*xi64>) -> ()
}) {sym_name = "dependent"} : () -> ()

// -----

// A target shape that is no constant says nothing but the rank.
// CHECK: "onnx.Reshape"(%x, %target) {{.*}} -> tensor<{{[?]x[?]xf32|[*]xf32}}
// CHECK: sym_name = "unfolded_kept"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<2x3xf32>
  %target = "graphs.input"() : () -> tensor<2xi64>
  %y = "onnx.Reshape"(%x, %target) : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<*xf32>
  %z = "onnx.Relu"(%y) : (tensor<*xf32>) -> tensor<*xf32>
  "graphs.output"(%z) : (tensor<*xf32>) -> ()
}) {sym_name = "unfolded_kept"} : () -> ()

// -----

// What the file states was true of another batch; what follows from the operands holds.
// CHECK: %y = "onnx.Relu"(%x) : (tensor<5x3xf32>) -> tensor<5x3xf32>
// CHECK: %z = "onnx.Relu"(%y) : (tensor<5x3xf32>) -> tensor<5x3xf32>
// CHECK: sym_name = "stale"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<5x3xf32>
  %y = "onnx.Relu"(%x) : (tensor<5x3xf32>) -> tensor<2x3xf32>
  %z = "onnx.Relu"(%y) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  "graphs.output"(%z) : (tensor<2x3xf32>) -> ()
}) {sym_name = "stale"} : () -> ()

// -----

// Shape arithmetic on open dimensions is evaluated too: its constants hold expressions.
// CHECK-NOT: "onnx.Shape"
// CHECK: %target = "graphs.constant"() {value = #graphs.dense<["2*n", "(seq + 1)//2"]> : tensor<2xi64>}
// CHECK: %z = "onnx.Expand"({{.*}} -> tensor<?x?xf32, [#graphs.dim<"2*n">, #graphs.dim<"(seq + 1)//2">]>
// CHECK: sym_name = "open"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<?x?xf32, ["n", #graphs.dim<"seq + 1">]>
  %y = "graphs.input"() : () -> tensor<1x1xf32>
  %shape = "onnx.Shape"(%x) : (tensor<?x?xf32, ["n", #graphs.dim<"seq + 1">]>) -> tensor<*xi64>
  %by = "graphs.constant"() {value = dense<[2, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %in = "graphs.constant"() {value = dense<[1, 2]> : tensor<2xi64>} : () -> tensor<2xi64>
  %more = "onnx.Mul"(%shape, %by) : (tensor<*xi64>, tensor<2xi64>) -> tensor<*xi64>
  %target = "onnx.Div"(%more, %in) : (tensor<*xi64>, tensor<2xi64>) -> tensor<*xi64>
  %z = "onnx.Expand"(%y, %target) : (tensor<1x1xf32>, tensor<*xi64>) -> tensor<*xf32>
  "graphs.output"(%z) : (tensor<*xf32>) -> ()
}) {sym_name = "open"} : () -> ()
