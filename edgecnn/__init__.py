"""edgecnn: from a trained PyTorch classifier to a small, fast, proven and served edge model."""

__version__ = "0.1.0"

__all__ = ["__version__"]
