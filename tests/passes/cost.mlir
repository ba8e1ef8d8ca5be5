// RUN: graphs-opt --passes=cost --target=%S/toy.yaml --emit=text %s | filecheck %s
// RUN: graphs-opt --passes=cost,coverage --target=%S/toy.yaml --stats --emit=text %s 2>&1 | filecheck %s --check-prefix=STATS

// 2 GFLOP at half of 2 TFLOP/s are 2 ms; 8 MB at half of 100 GB/s are 160 us; four elements are a launch.
// CHECK: "onnx.MatMul"{{.*}}compute_seconds = 0.002, memory_seconds = 0.00024{{0*3?}}, dispatch_seconds = 1.0e-06, bound = "compute"
// CHECK: "onnx.Exp"(%m){{.*}}memory_seconds = 0.00016, {{.*}}bound = "dram"
// CHECK: "onnx.Exp"(%t){{.*}}bound = "dispatch"
// CHECK: "onnx.Einsum"{{.*}}bound = "unknown"{{.*}}unknown = ["toy-runtime has no onnx.Einsum"
// STATS-DAG: coverage: THEORETICAL operators{{ +}}3
// STATS-DAG: coverage: UNKNOWN operators{{ +}}1

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1000x1000xf32>
  %w = "graphs.constant"() : () -> tensor<1000x1000xf32>
  %m = "onnx.MatMul"(%x, %w) : (tensor<1000x1000xf32>, tensor<1000x1000xf32>) -> tensor<1000x1000xf32>
  %e = "onnx.Exp"(%m) : (tensor<1000x1000xf32>) -> tensor<1000x1000xf32>
  %t = "graphs.input"() : () -> tensor<4xf32>
  %z = "onnx.Exp"(%t) : (tensor<4xf32>) -> tensor<4xf32>
  %ein = "onnx.Einsum"(%t, %t) {equation = "i,i->"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<f32>
  "graphs.output"(%e) : (tensor<1000x1000xf32>) -> ()
  "graphs.output"(%z) : (tensor<4xf32>) -> ()
  "graphs.output"(%ein) : (tensor<f32>) -> ()
}) {sym_name = "cost"} : () -> ()
