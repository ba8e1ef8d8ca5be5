// RUN: graphs-opt --passes=fuse --target=intel-core-i7-12700k --emit=text --split-input-file %s | filecheck %s

// The batch normalisation folds into the convolution, the activation rides on it: one kernel.
// CHECK: %relu = "graphs.kernel"(%x, %conv_w, %bn_gain, %bn_bias, %bn_mean, %bn_var) ({
// CHECK: "onnx.Conv"
// CHECK-NEXT: "onnx.BatchNormalization"
// CHECK-NEXT: "onnx.Relu"
// CHECK-NOT: "graphs.kernel"
// CHECK: sym_name = "conv_bn_relu"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x16x8x8xf32>
  %conv_w = "graphs.constant"() : () -> tensor<16x16x3x3xf32>
  %conv = "onnx.Conv"(%x, %conv_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 1} : (tensor<1x16x8x8xf32>, tensor<16x16x3x3xf32>) -> tensor<1x16x8x8xf32>
  %bn_gain = "graphs.constant"() : () -> tensor<16xf32>
  %bn_bias = "graphs.constant"() : () -> tensor<16xf32>
  %bn_mean = "graphs.constant"() : () -> tensor<16xf32>
  %bn_var = "graphs.constant"() : () -> tensor<16xf32>
  %bn = "onnx.BatchNormalization"(%conv, %bn_gain, %bn_bias, %bn_mean, %bn_var) : (tensor<1x16x8x8xf32>, tensor<16xf32>, tensor<16xf32>, tensor<16xf32>, tensor<16xf32>) -> tensor<1x16x8x8xf32>
  %relu = "onnx.Relu"(%bn) : (tensor<1x16x8x8xf32>) -> tensor<1x16x8x8xf32>
  "graphs.output"(%relu) : (tensor<1x16x8x8xf32>) -> ()
}) {sym_name = "conv_bn_relu"} : () -> ()

// -----

// A residual in the same blocked layout is added inside the second convolution's kernel.
// CHECK: %first = "onnx.Conv"
// CHECK: %relu = "graphs.kernel"(%first, %second_w) ({
// CHECK: "onnx.Conv"
// CHECK-NEXT: "onnx.Add"
// CHECK-NEXT: "onnx.Relu"
// CHECK: sym_name = "residual"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x16x8x8xf32>
  %first_w = "graphs.constant"() : () -> tensor<16x16x3x3xf32>
  %first = "onnx.Conv"(%x, %first_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 1} : (tensor<1x16x8x8xf32>, tensor<16x16x3x3xf32>) -> tensor<1x16x8x8xf32>
  %second_w = "graphs.constant"() : () -> tensor<16x16x3x3xf32>
  %second = "onnx.Conv"(%first, %second_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 1} : (tensor<1x16x8x8xf32>, tensor<16x16x3x3xf32>) -> tensor<1x16x8x8xf32>
  %sum = "onnx.Add"(%second, %first) : (tensor<1x16x8x8xf32>, tensor<1x16x8x8xf32>) -> tensor<1x16x8x8xf32>
  %relu = "onnx.Relu"(%sum) : (tensor<1x16x8x8xf32>) -> tensor<1x16x8x8xf32>
  "graphs.output"(%relu) : (tensor<1x16x8x8xf32>) -> ()
}) {sym_name = "residual"} : () -> ()

// -----

// Refused: the convolution's result is read twice.
// CHECK-NOT: "graphs.kernel"
// CHECK: sym_name = "read_twice"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x16x8x8xf32>
  %conv_w = "graphs.constant"() : () -> tensor<16x16x3x3xf32>
  %conv = "onnx.Conv"(%x, %conv_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 1} : (tensor<1x16x8x8xf32>, tensor<16x16x3x3xf32>) -> tensor<1x16x8x8xf32>
  %relu = "onnx.Relu"(%conv) : (tensor<1x16x8x8xf32>) -> tensor<1x16x8x8xf32>
  %tanh = "onnx.Tanh"(%conv) : (tensor<1x16x8x8xf32>) -> tensor<1x16x8x8xf32>
  "graphs.output"(%relu) : (tensor<1x16x8x8xf32>) -> ()
  "graphs.output"(%tanh) : (tensor<1x16x8x8xf32>) -> ()
}) {sym_name = "read_twice"} : () -> ()

// -----

// Refused: the graph returns the convolution's result.
// CHECK-NOT: "graphs.kernel"
// CHECK: sym_name = "returned"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x16x8x8xf32>
  %conv_w = "graphs.constant"() : () -> tensor<16x16x3x3xf32>
  %conv = "onnx.Conv"(%x, %conv_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 1} : (tensor<1x16x8x8xf32>, tensor<16x16x3x3xf32>) -> tensor<1x16x8x8xf32>
  %relu = "onnx.Relu"(%conv) : (tensor<1x16x8x8xf32>) -> tensor<1x16x8x8xf32>
  "graphs.output"(%conv) : (tensor<1x16x8x8xf32>) -> ()
  "graphs.output"(%relu) : (tensor<1x16x8x8xf32>) -> ()
}) {sym_name = "returned"} : () -> ()

// -----

// Refused: a batch normalisation does not fold into a weight that is no constant.
// CHECK-NOT: "graphs.kernel"
// CHECK: sym_name = "weight_computed"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x16x8x8xf32>
  %w = "graphs.input"() : () -> tensor<16x16x3x3xf32>
  %conv = "onnx.Conv"(%x, %w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 1} : (tensor<1x16x8x8xf32>, tensor<16x16x3x3xf32>) -> tensor<1x16x8x8xf32>
  %bn_gain = "graphs.constant"() : () -> tensor<16xf32>
  %bn_bias = "graphs.constant"() : () -> tensor<16xf32>
  %bn_mean = "graphs.constant"() : () -> tensor<16xf32>
  %bn_var = "graphs.constant"() : () -> tensor<16xf32>
  %bn = "onnx.BatchNormalization"(%conv, %bn_gain, %bn_bias, %bn_mean, %bn_var) : (tensor<1x16x8x8xf32>, tensor<16xf32>, tensor<16xf32>, tensor<16xf32>, tensor<16xf32>) -> tensor<1x16x8x8xf32>
  "graphs.output"(%bn) : (tensor<1x16x8x8xf32>) -> ()
}) {sym_name = "weight_computed"} : () -> ()

// -----

// Refused: groups whose channels do not fill a block keep the sum apart; the plain convolution takes no addend.
// CHECK-NOT: "graphs.kernel"
// CHECK: "onnx.Add"
// CHECK: sym_name = "unblocked"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x20x8x8xf32>
  %first_w = "graphs.constant"() : () -> tensor<20x10x3x3xf32>
  %first = "onnx.Conv"(%x, %first_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 2} : (tensor<1x20x8x8xf32>, tensor<20x10x3x3xf32>) -> tensor<1x20x8x8xf32>
  %second_w = "graphs.constant"() : () -> tensor<20x10x3x3xf32>
  %second = "onnx.Conv"(%first, %second_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 2} : (tensor<1x20x8x8xf32>, tensor<20x10x3x3xf32>) -> tensor<1x20x8x8xf32>
  %sum = "onnx.Add"(%second, %first) : (tensor<1x20x8x8xf32>, tensor<1x20x8x8xf32>) -> tensor<1x20x8x8xf32>
  "graphs.output"(%sum) : (tensor<1x20x8x8xf32>) -> ()
}) {sym_name = "unblocked"} : () -> ()
