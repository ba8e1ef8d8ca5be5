// RUN: graphs-opt --passes=fuse --target=nucleo-l4r5zi:tflite-micro --emit=text %s | filecheck %s --check-prefix=TFLM
// RUN: graphs-opt --passes=fuse --target=intel-core-i7-12700k:pytorch-eager --emit=text %s | filecheck %s --check-prefix=EAGER
// RUN: graphs-opt --passes=fuse{rules=none} --target=intel-core-i7-12700k --emit=text %s | filecheck %s --check-prefix=NONE
// RUN: not graphs-opt --passes=fuse{rules=all} %s 2>&1 | filecheck %s --check-prefix=ERROR

// What a kernel is, the runtime decides: one of three here, or each by itself.
// TFLM: %relu = "graphs.kernel"(
// TFLM: "onnx.Conv"
// TFLM-NEXT: "onnx.BatchNormalization"
// TFLM-NEXT: "onnx.Relu"
// EAGER-NOT: "graphs.kernel"
// EAGER: "onnx.Relu"
// NONE-NOT: "graphs.kernel"
// NONE: "onnx.Relu"
// ERROR: error: fuse: rules must be 'target' or 'none', not 'all'

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
