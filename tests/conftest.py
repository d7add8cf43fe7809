"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real weights and labelled images that EDGECNN_DATA names."""
    folder = os.environ.get("EDGECNN_DATA")
    if not folder:
        pytest.skip("EDGECNN_DATA names no folder of real weights and images")
    path = Path(folder).resolve()
    assert path.is_dir(), f"EDGECNN_DATA={folder} is no folder"
    return path
