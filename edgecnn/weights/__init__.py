"""From a model card to a PyTorch module with weights: published ones, a file's, or random ones."""

from __future__ import annotations

from edgecnn.weights.build import build_module, build_outline
from edgecnn.weights.fit import head_keys
from edgecnn.weights.load import Network, load_network

__all__ = ["Network", "build_module", "build_outline", "head_keys", "load_network"]
