"""The protocol's names of element types."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

__all__ = ["BYTES", "DATATYPES", "datatype_of"]

#: An element of this type is a string of bytes of any length.
BYTES: Final = "BYTES"

#: The types of a fixed size that numpy has too. The protocol's BF16 is not among them.
DATATYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}

_NAMES = {dtype.name: name for name, dtype in DATATYPES.items()}


def datatype_of(dtype: str) -> str:
    """The protocol's name of numpy's ``dtype``: "FP32" for "float32".

    Raises:
        KeyError: the protocol has no such type.
    """
    return _NAMES[dtype]
