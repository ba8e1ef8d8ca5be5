// RUN: graphs-opt --passes=fuse,lower --target=%S/toy.yaml --emit=text %s | filecheck %s

// A kernel's work is its operations', its traffic what crosses its boundary: the convolution's result does not.
// CHECK: "graphs.kernel"(%x, %conv_w) ({
// CHECK: })
// CHECK-SAME: graphs.work = {primitives = [{tag = "conv"
// CHECK-SAME: {tag = "elementwise", function = "relu"
// CHECK-SAME: reads = [4096, 9216], writes = [4096]}

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x16x8x8xf32>
  %conv_w = "graphs.constant"() : () -> tensor<16x16x3x3xf32>
  %conv = "onnx.Conv"(%x, %conv_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 1} : (tensor<1x16x8x8xf32>, tensor<16x16x3x3xf32>) -> tensor<1x16x8x8xf32>
  %y = "onnx.Relu"(%conv) : (tensor<1x16x8x8xf32>) -> tensor<1x16x8x8xf32>
  "graphs.output"(%y) : (tensor<1x16x8x8xf32>) -> ()
}) {sym_name = "kernel"} : () -> ()
