// RUN: graphs-opt --passes=fuse --target=intel-core-i7-12700k:torch-compile --emit=text --split-input-file %s | filecheck %s

// What stands between two calls of libraries is one generated kernel; views are inside and cost nothing.
// CHECK: "aten.conv2d"
// CHECK: "graphs.kernel"
// CHECK: "aten.batch_norm"
// CHECK-NEXT: "aten.relu"
// CHECK-NEXT: "aten.max_pool2d"
// CHECK-NEXT: "aten.flatten"
// CHECK-NEXT: "graphs.output"
// CHECK: "aten.linear"
// CHECK: sym_name = "between"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x3x8x8xf32>
  %w = "graphs.constant"() : () -> tensor<4x3x3x3xf32>
  %s = "graphs.constant"() : () -> tensor<4xf32>
  %f = "graphs.constant"() : () -> tensor<5x36xf32>
  %c = "aten.conv2d"(%x, %w) : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x6x6xf32>
  %b = "aten.batch_norm"(%c, %s, %s, %s, %s) : (tensor<1x4x6x6xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<1x4x6x6xf32>
  %r = "aten.relu"(%b) : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  %p = "aten.max_pool2d"(%r) {kernel_size = [2, 2]} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32>
  %v = "aten.flatten"(%p) : (tensor<1x4x3x3xf32>) -> tensor<1x36xf32>
  %y = "aten.linear"(%v, %f) : (tensor<1x36xf32>, tensor<5x36xf32>) -> tensor<1x5xf32>
  "graphs.output"(%y) : (tensor<1x5xf32>) -> ()
}) {sym_name = "between"} : () -> ()

// -----

// A residual is read again after the product: the kernel that makes it also normalises it, and writes both.
// CHECK: %a, %n = "graphs.kernel"(%x, %z, %g)
// CHECK: "aten.add"
// CHECK-NEXT: "aten.layer_norm"
// CHECK: "aten.linear"
// CHECK: sym_name = "residual"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<2x8xf32>
  %z = "graphs.input"() : () -> tensor<2x8xf32>
  %g = "graphs.constant"() : () -> tensor<8xf32>
  %w = "graphs.constant"() : () -> tensor<8x8xf32>
  %a = "aten.add"(%x, %z) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %n = "aten.layer_norm"(%a, %g, %g) : (tensor<2x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  %m = "aten.linear"(%n, %w) : (tensor<2x8xf32>, tensor<8x8xf32>) -> tensor<2x8xf32>
  %y = "aten.add"(%m, %a) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  "graphs.output"(%y) : (tensor<2x8xf32>) -> ()
}) {sym_name = "residual"} : () -> ()

// -----

// Refused: the sum waits for the product that reads the activation, so the two cannot be one kernel.
// CHECK-NOT: "graphs.kernel"
// CHECK: sym_name = "waits"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<2x8xf32>
  %w = "graphs.constant"() : () -> tensor<8x8xf32>
  %r = "aten.relu"(%x) : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %m = "aten.linear"(%r, %w) : (tensor<2x8xf32>, tensor<8x8xf32>) -> tensor<2x8xf32>
  %y = "aten.add"(%m, %r) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  "graphs.output"(%y) : (tensor<2x8xf32>) -> ()
}) {sym_name = "waits"} : () -> ()

// -----

// What nobody reads is not run, but for what is written in place: a buffer of the module's.
// CHECK: %written = "aten.add"(%state, %x)
// CHECK-NOT: %unread
// CHECK: %y = "aten.linear"
// CHECK: sym_name = "read"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8xf32>
  %state = "graphs.constant"() : () -> tensor<1x8xf32>
  %w = "graphs.constant"() : () -> tensor<8x8xf32>
  %written = "aten.add"(%state, %x) {inplace = true} : (tensor<1x8xf32>, tensor<1x8xf32>) -> tensor<1x8xf32>
  %unread = "aten.relu"(%x) : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %y = "aten.linear"(%x, %w) : (tensor<1x8xf32>, tensor<8x8xf32>) -> tensor<1x8xf32>
  "graphs.output"(%y) : (tensor<1x8xf32>) -> ()
}) {sym_name = "read"} : () -> ()
