// RUN: graphs-opt --passes=memory --emit=text %s | filecheck %s
// RUN: graphs-opt --passes='memory{in_place=false views=false}' --emit=text %s | filecheck %s --check-prefix=APART

// Two buffers of 256 bytes do: x and b share one, and c (in place) and d (a view) are b's; a and e share the other.
// CHECK: %x = "graphs.input"() {graphs.memory = {live_bytes = 256, offsets = [256]}}
// CHECK: %a = {{.*}}live_bytes = 512, offsets = [0]
// CHECK: %b = {{.*}}live_bytes = 512, offsets = [256]
// CHECK: %c = {{.*}}live_bytes = 256, offsets = [256]
// CHECK: %d = {{.*}}live_bytes = 256, offsets = [256]
// CHECK: %e = {{.*}}live_bytes = 512, offsets = [0]
// APART: %c = {{.*}}live_bytes = 512, offsets = [0]
// APART: %d = {{.*}}live_bytes = 512, offsets = [256]

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<64xf32>
  %a = "onnx.Softmax"(%x) : (tensor<64xf32>) -> tensor<64xf32>
  %b = "onnx.Softmax"(%a) : (tensor<64xf32>) -> tensor<64xf32>
  %c = "onnx.Relu"(%b) : (tensor<64xf32>) -> tensor<64xf32>
  %t = "graphs.constant"() {value = dense<[8, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %d = "onnx.Reshape"(%c, %t) : (tensor<64xf32>, tensor<2xi64>) -> tensor<8x8xf32>
  %e = "onnx.Softmax"(%d) : (tensor<8x8xf32>) -> tensor<8x8xf32>
  "graphs.output"(%e) : (tensor<8x8xf32>) -> ()
}) {sym_name = "memory"} : () -> ()
