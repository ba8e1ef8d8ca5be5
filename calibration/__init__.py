"""What was measured, and what follows from it: samples, curves, an estimator, and the evidence that a target has."""
