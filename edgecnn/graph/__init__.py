"""Passes over ONNX graphs. Each takes a model and changes it in place, keeping what it computes."""
