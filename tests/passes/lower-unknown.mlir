// RUN: graphs-opt --passes=lower --emit=text %s | filecheck %s
// RUN: not graphs-opt --passes=lower --strict %s 2>&1 | filecheck %s --check-prefix=STRICT

// Nobody knows the operator: its work is unknown, not zero.
// CHECK: "com.acme.Odd"{{.*}}primitives = [{tag = "unknown", reason = "no lowering for 'com.acme.Odd'"
// STRICT: error: lower: no lowering for 'com.acme.Odd' (node 'y')
// STRICT: help: add one with @define

"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<2x8xf32>
  %y = "com.acme.Odd"(%x) : (tensor<2x8xf32>) -> tensor<2x8xf32>
  "graphs.output"(%y) : (tensor<2x8xf32>) -> ()
}) {sym_name = "unknown"} : () -> ()
