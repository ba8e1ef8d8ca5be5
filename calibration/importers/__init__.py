"""What others measured, read into evidence: microbenchmarks, subgraph campaigns, latencies, runtime profiles."""
