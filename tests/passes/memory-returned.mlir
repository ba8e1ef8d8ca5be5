// RUN: graphs-opt --passes=memory --emit=text %s | filecheck %s

// Not in place: the graph returns what the operator reads.
// CHECK: %a = {{.*}}offsets = [256]
// CHECK: %b = {{.*}}live_bytes = 512, offsets = [0]

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<64xf32>
  %a = "onnx.Softmax"(%x) : (tensor<64xf32>) -> tensor<64xf32>
  %b = "onnx.Relu"(%a) : (tensor<64xf32>) -> tensor<64xf32>
  "graphs.output"(%a) : (tensor<64xf32>) -> ()
  "graphs.output"(%b) : (tensor<64xf32>) -> ()
}) {sym_name = "kept"} : () -> ()
