"""From a PyTorch network to an ONNX artifact that is proven to answer as PyTorch does.

Nothing is imported here: ``settings`` is light, and ``network`` needs torch.
"""
