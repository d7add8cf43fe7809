"""How numbers are stored in a model file."""

from __future__ import annotations

from onnx import TensorProto, helper

__all__ = ["bits_of", "stored_bytes"]

_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}


def bits_of(dtype: int) -> int:
    """How many bits a number of ONNX's element type ``dtype`` takes in a file."""
    name = TensorProto.DataType.Name(dtype)
    return _BITS.get(name) or 8 * helper.tensor_dtype_to_np_dtype(dtype).itemsize


def stored_bytes(dtype: int, elements: int) -> int:
    """How many bytes ``elements`` numbers take; those of less than 8 bits are packed."""
    return (elements * bits_of(dtype) + 7) // 8
