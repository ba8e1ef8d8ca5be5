"""Measuring: runners of models on this machine, sound timing, and profiles joined to our kernels."""
