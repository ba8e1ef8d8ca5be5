// RUN: graphs-opt --passes=fuse --target=intel-core-i7-12700k --emit=text --split-input-file %s | filecheck %s

// The first convolution reads its three channels plainly: nothing is reordered before it, and what it makes is blocked.
// The activation is in the kernel of its convolution; what leaves the network leaves it plain, and its maker pays.
// CHECK: %stem = "onnx.Conv"(%x, %stem_w) {{.*}}graphs.layout = {name = "blocked", reordered_bytes = 0}}
// CHECK: %relu = "graphs.kernel"(%stem, %body_w)
// CHECK: "onnx.Conv"
// CHECK-NEXT: "onnx.Relu"
// CHECK: graphs.layout = {name = "blocked", reordered_bytes = 32768}}
// CHECK-NOT: graphs.layout
// CHECK: sym_name = "stem"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x3x16x16xf32>
  %stem_w = "graphs.constant"() : () -> tensor<16x3x3x3xf32>
  %stem = "onnx.Conv"(%x, %stem_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 1} : (tensor<1x3x16x16xf32>, tensor<16x3x3x3xf32>) -> tensor<1x16x16x16xf32>
  %body_w = "graphs.constant"() : () -> tensor<32x16x3x3xf32>
  %body = "onnx.Conv"(%stem, %body_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 1} : (tensor<1x16x16x16xf32>, tensor<32x16x3x3xf32>) -> tensor<1x32x16x16xf32>
  %relu = "onnx.Relu"(%body) : (tensor<1x32x16x16xf32>) -> tensor<1x32x16x16xf32>
  "graphs.output"(%relu) : (tensor<1x32x16x16xf32>) -> ()
}) {sym_name = "stem"} : () -> ()

// -----

// A plain input of a block of channels is reordered by the first convolution that reads it, once for both.
// CHECK: %one = "onnx.Conv"{{.*}}graphs.layout = {name = "blocked", reordered_bytes = 16384}}
// CHECK: %other = "onnx.Conv"{{.*}}graphs.layout = {name = "blocked", reordered_bytes = 0}}
// CHECK: %sum = "onnx.Mul"{{.*}}graphs.layout = {name = "blocked", reordered_bytes = 16384}}
// CHECK: sym_name = "read_in_blocks"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x16x16x16xf32>
  %one_w = "graphs.constant"() : () -> tensor<16x16x1x1xf32>
  %one = "onnx.Conv"(%x, %one_w) {kernel_shape = [1, 1], group = 1} : (tensor<1x16x16x16xf32>, tensor<16x16x1x1xf32>) -> tensor<1x16x16x16xf32>
  %other_w = "graphs.constant"() : () -> tensor<16x16x3x3xf32>
  %other = "onnx.Conv"(%x, %other_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 1} : (tensor<1x16x16x16xf32>, tensor<16x16x3x3xf32>) -> tensor<1x16x16x16xf32>
  %sum = "onnx.Mul"(%one, %other) : (tensor<1x16x16x16xf32>, tensor<1x16x16x16xf32>) -> tensor<1x16x16x16xf32>
  "graphs.output"(%sum) : (tensor<1x16x16x16xf32>) -> ()
}) {sym_name = "read_in_blocks"} : () -> ()

// -----

// 58 channels are no multiple of four: the convolutions that read them stay plain, and the one before them pays for that.
// CHECK: %wide = "onnx.Conv"{{.*}}graphs.layout = {name = "blocked", reordered_bytes = 59392}}
// CHECK: %deep = "onnx.Conv"(%wide, %deep_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 58} :
// CHECK: %last = "onnx.Conv"(%deep, %last_w) {kernel_shape = [1, 1], group = 1} :
// CHECK: sym_name = "odd_channels"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x3x16x16xf32>
  %wide_w = "graphs.constant"() : () -> tensor<58x3x3x3xf32>
  %wide = "onnx.Conv"(%x, %wide_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 1} : (tensor<1x3x16x16xf32>, tensor<58x3x3x3xf32>) -> tensor<1x58x16x16xf32>
  %deep_w = "graphs.constant"() : () -> tensor<58x1x3x3xf32>
  %deep = "onnx.Conv"(%wide, %deep_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 58} : (tensor<1x58x16x16xf32>, tensor<58x1x3x3xf32>) -> tensor<1x58x16x16xf32>
  %last_w = "graphs.constant"() : () -> tensor<16x58x1x1xf32>
  %last = "onnx.Conv"(%deep, %last_w) {kernel_shape = [1, 1], group = 1} : (tensor<1x58x16x16xf32>, tensor<16x58x1x1xf32>) -> tensor<1x16x16x16xf32>
  "graphs.output"(%last) : (tensor<1x16x16x16xf32>) -> ()
}) {sym_name = "odd_channels"} : () -> ()

// -----

// Two read it plainly, one in blocks: it is reordered once, by the convolution that makes it.
// CHECK: %made = "onnx.Conv"{{.*}}graphs.layout = {name = "blocked", reordered_bytes = 16384}}
// CHECK: %next = "onnx.Conv"{{.*}}graphs.layout = {name = "blocked", reordered_bytes = 16384}}
// CHECK-NOT: graphs.layout
// CHECK: sym_name = "read_plainly"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x3x16x16xf32>
  %made_w = "graphs.constant"() : () -> tensor<16x3x3x3xf32>
  %made = "onnx.Conv"(%x, %made_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 1} : (tensor<1x3x16x16xf32>, tensor<16x3x3x3xf32>) -> tensor<1x16x16x16xf32>
  %next_w = "graphs.constant"() : () -> tensor<16x16x3x3xf32>
  %next = "onnx.Conv"(%made, %next_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 1} : (tensor<1x16x16x16xf32>, tensor<16x16x3x3xf32>) -> tensor<1x16x16x16xf32>
  %maxima = "onnx.ReduceMax"(%made) {axes = [1], keepdims = 1} : (tensor<1x16x16x16xf32>) -> tensor<1x1x16x16xf32>
  %exp = "onnx.Exp"(%made) : (tensor<1x16x16x16xf32>) -> tensor<1x16x16x16xf32>
  "graphs.output"(%next) : (tensor<1x16x16x16xf32>) -> ()
  "graphs.output"(%maxima) : (tensor<1x1x16x16xf32>) -> ()
  "graphs.output"(%exp) : (tensor<1x16x16x16xf32>) -> ()
}) {sym_name = "read_plainly"} : () -> ()

// -----

// The transpose in a convolution's kernel is the reorder: no other comes between the two.
// CHECK: %last = "graphs.kernel"(%x, %conv_w)
// CHECK: "onnx.Conv"
// CHECK-NEXT: "onnx.Transpose"
// CHECK: graphs.layout = {name = "blocked", reordered_bytes = 0}}
// CHECK: sym_name = "transposed_inside"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x3x16x16xf32>
  %conv_w = "graphs.constant"() : () -> tensor<32x3x3x3xf32>
  %conv = "onnx.Conv"(%x, %conv_w) {kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 1} : (tensor<1x3x16x16xf32>, tensor<32x3x3x3xf32>) -> tensor<1x32x16x16xf32>
  %last = "onnx.Transpose"(%conv) {perm = [0, 2, 3, 1]} : (tensor<1x32x16x16xf32>) -> tensor<1x16x16x32xf32>
  "graphs.output"(%last) : (tensor<1x16x16x32xf32>) -> ()
}) {sym_name = "transposed_inside"} : () -> ()

// -----

// Nothing is blocked where nothing convolves: no kernel says anything of layouts.
// CHECK-NOT: graphs.layout
// CHECK: sym_name = "plain"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x16x16x16xf32>
  %exp = "onnx.Exp"(%x) : (tensor<1x16x16x16xf32>) -> tensor<1x16x16x16xf32>
  "graphs.output"(%exp) : (tensor<1x16x16x16xf32>) -> ()
}) {sym_name = "plain"} : () -> ()
