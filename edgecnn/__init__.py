"""edgecnn: from a trained PyTorch classifier to a small, fast, proven and served edge model."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("edgecnn")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
