// RUN: graphs-opt --passes=fuse,lower --target=nvidia-h100-sxm:tensorrt --emit=text %s | filecheck %s --check-prefix=TENSORRT
// RUN: graphs-opt --passes=fuse,lower --target=nucleo-l4r5zi:tflite-micro --emit=text %s | filecheck %s --check-prefix=MICRO
// RUN: graphs-opt --passes=fuse,lower --target=intel-core-i7-12700k:onnxruntime-cpu --emit=text %s | filecheck %s --check-prefix=ORT
// RUN: graphs-opt --passes=fuse,lower --target=intel-core-i7-12700k:pytorch-eager --emit=text %s | filecheck %s --check-prefix=EAGER

// A convolution and its Relu between conversions: one kernel on 8-bit integers, whatever it is called. Its weight is read
// as the 1,152 bytes that it has. Where the runtime has no such kernel, conversions and convolution run one by one.

// TENSORRT: %xq = "onnx.QuantizeLinear"(%x, %s, %z)
// TENSORRT: %q = "graphs.kernel"(%xq, %s, %z, %w, %least)
// TENSORRT: "onnx.DequantizeLinear"(%w$1, %s$1, %z$1) {graphs.work = {primitives = [], reads = [1152, 4, 1]
// TENSORRT: "onnx.Conv"{{.*}}dtype = "I8"
// TENSORRT: "onnx.Relu"{{.*}}dtype = "F32"
// TENSORRT: quantized = true{{.*}}reads = [3136, 4, 1, 1152, 1], writes = [1152]
// TENSORRT-NEXT: %y = "onnx.DequantizeLinear"(%q

// MICRO: %q = "graphs.kernel"(%xq, %s, %z, %w, %least)
// MICRO: "onnx.Conv"{{.*}}dtype = "I8"
// MICRO: quantized = true

// ORT-NOT: "onnx.Conv"
// ORT-NOT: "onnx.Relu"
// ORT: "com.microsoft.QLinearConv"(%xq.turned{{.*}}channels_last = 1{{.*}}dtype = "UI8"{{.*}}1152
// ORT-NOT: "onnx.Relu"
// ORT: %y = "onnx.DequantizeLinear"

// EAGER: %xq = "onnx.QuantizeLinear"
// EAGER: %xd = "onnx.DequantizeLinear"
// EAGER: %wd = "onnx.DequantizeLinear"
// EAGER: %c = "onnx.Conv"{{.*}}dtype = "F32"
// EAGER: %r = "onnx.Relu"
// EAGER: %q = "onnx.QuantizeLinear"
// EAGER: %y = "onnx.DequantizeLinear"

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x16x14x14xf32>
  %w = "graphs.constant"() : () -> tensor<8x16x3x3xi8>
  %s = "graphs.constant"() {value = dense<0.05> : tensor<f32>} : () -> tensor<f32>
  %z = "graphs.constant"() {value = dense<0> : tensor<i8>} : () -> tensor<i8>
  %least = "graphs.constant"() {value = dense<-128> : tensor<i8>} : () -> tensor<i8>
  %xq = "onnx.QuantizeLinear"(%x, %s, %z) : (tensor<1x16x14x14xf32>, tensor<f32>, tensor<i8>) -> tensor<1x16x14x14xi8>
  %xd = "onnx.DequantizeLinear"(%xq, %s, %z) : (tensor<1x16x14x14xi8>, tensor<f32>, tensor<i8>) -> tensor<1x16x14x14xf32>
  %wd = "onnx.DequantizeLinear"(%w, %s, %z) : (tensor<8x16x3x3xi8>, tensor<f32>, tensor<i8>) -> tensor<8x16x3x3xf32>
  %c = "onnx.Conv"(%xd, %wd) : (tensor<1x16x14x14xf32>, tensor<8x16x3x3xf32>) -> tensor<1x8x12x12xf32>
  %r = "onnx.Relu"(%c) : (tensor<1x8x12x12xf32>) -> tensor<1x8x12x12xf32>
  %q = "onnx.QuantizeLinear"(%r, %s, %least) : (tensor<1x8x12x12xf32>, tensor<f32>, tensor<i8>) -> tensor<1x8x12x12xi8>
  %y = "onnx.DequantizeLinear"(%q, %s, %least) : (tensor<1x8x12x12xi8>, tensor<f32>, tensor<i8>) -> tensor<1x8x12x12xf32>
  "graphs.output"(%y) : (tensor<1x8x12x12xf32>) -> ()
}) {sym_name = "quantized"} : () -> ()
