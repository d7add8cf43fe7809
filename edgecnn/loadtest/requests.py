"""The requests of a load, as they go over the wire."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecnn.client.answers import ModelMetadata, TensorMetadata
from edgecnn.client.calls import media_type
from edgecnn.client.tensors import encode_tensor
from edgecnn.errors import UsageError
from edgecnn.loadtest.target import Target
from edgecnn.preprocess import crop, decode, normalise
from edgecnn.preprocess.decode import read_image_file
from edgecnn.spec import Preprocess

__all__ = ["PAYLOAD_KINDS", "PayloadKind", "http_request", "image_requests"]

PayloadKind = Literal["jpeg", "uint8", "binary", "json"]
PAYLOAD_KINDS: tuple[PayloadKind, ...] = ("jpeg", "uint8", "binary", "json")

#: Images that are made up where none are given, and their size: that of many photographs on the web.
_MADE_UP, _HEIGHT, _WIDTH = 8, 375, 500


def http_request(
    target: Target,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """The bytes of one request.

    Args:
        target: whom it is for.
        method: HTTP's.
        path: below the target's base, escaped, with its query.
        body: sent with its length.
        headers: besides Host and Content-Length.
    """
    lines = [f"{method} {target.base}{path} HTTP/1.1", f"host: {target.authority}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def image_requests(
    kind: PayloadKind,
    model: ModelMetadata,
    images: Sequence[Path],
    target: Target,
    headers: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
) -> tuple[bytes, ...]:
    """One request an image.

    Pixels and tensors are of the model's size, without respect to the image's shape: what is measured does
    not depend on what is seen.

    Args:
        kind: "jpeg": the files, as they are. "uint8": raw pixels. "binary" and "json": a tensor of the
            model's own type, by the Open Inference Protocol.
        model: whose metadata says what it takes.
        images: files; made up from noise where there are none.
        target: whom they are for.
        headers: of each request.
        seed: of the noise.

    Raises:
        ImageError: a file cannot be read or decoded.
        UsageError: the model takes no image.
    """
    files = [read_image_file(path) for path in images] or _made_up(seed)
    names = [str(path) for path in images] or ["made up"] * len(files)
    return tuple(
        http_request(target, "POST", path, body, {**fields, **(headers or {})})
        for path, body, fields in _bodies(kind, model, files, names)
    )


#: Path, body, and fields of the head.
_Request = tuple[str, bytes, dict[str, str]]


def _bodies(
    kind: PayloadKind, model: ModelMetadata, files: Sequence[bytes], names: Sequence[str]
) -> Iterator[_Request]:
    predict, infer = (f"{route}/{quote(model.name, safe='')}" for route in ("/v1/predict", "/v2/models"))
    for file, name in zip(files, names, strict=True):
        if kind == "jpeg":
            yield predict, file, {"content-type": media_type(file)}
            continue
        tensor, size = _image_input(model)
        pixels = crop(decode(file, name=name), Preprocess(resize=size, crop=size), name=name)
        if kind == "uint8":
            yield predict, pixels.tobytes(), {"content-type": "application/octet-stream"}
        else:
            encode = _binary if kind == "binary" else _json
            yield f"{infer}/infer", *encode(_model_input(pixels, tensor), tensor)


def _made_up(seed: int) -> list[bytes]:
    """JPEGs of smooth noise, of some 80 KB: as much as photographs of that size at that quality."""
    random = np.random.default_rng(seed)
    files = []
    for _ in range(_MADE_UP):
        coarse = random.integers(0, 256, (_HEIGHT // 5, _WIDTH // 5, 3), np.uint8)
        image = Image.fromarray(coarse).resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        image.save(file, "jpeg", quality=90)
        files.append(file.getvalue())
    return files


def _image_input(model: ModelMetadata) -> tuple[TensorMetadata, tuple[int, int]]:
    """The model's input and its (height, width)."""
    if len(model.inputs) == 1 and len(model.inputs[0].shape) == 4:
        tensor = model.inputs[0]
        height, width = tensor.shape[1:3] if tensor.datatype == "UINT8" else tensor.shape[2:]
        if min(height, width) > 0:
            return tensor, (height, width)
    raise UsageError(
        f"{model.name} takes no images of one size: {model.inputs}.", "Use --payload jpeg, or another model."
    )


def _model_input(pixels: NDArray[np.uint8], tensor: TensorMetadata) -> NDArray[np.float32 | np.uint8]:
    """(1, ...) as the model takes it; normalised as torchvision's weights have it where it is float."""
    if tensor.datatype == "UINT8":
        return pixels[None, ..., : tensor.shape[3]]
    size = (pixels.shape[0], pixels.shape[1])
    planes = normalise(pixels, Preprocess(resize=None, crop=size))
    return planes[None, : tensor.shape[1]]


def _binary(array: NDArray[np.float32 | np.uint8], tensor: TensorMetadata) -> tuple[bytes, dict[str, str]]:
    body, header_length = encode_tensor(array, tensor)
    fields = {"content-type": "application/octet-stream"}
    return body, {**fields, "inference-header-content-length": str(header_length)}


def _json(array: NDArray[np.float32 | np.uint8], tensor: TensorMetadata) -> tuple[bytes, dict[str, str]]:
    given = {
        "name": tensor.name,
        "shape": array.shape,
        "datatype": tensor.datatype,
        "data": array.ravel().tolist(),
    }
    return msgspec.json.encode({"inputs": [given]}), {"content-type": "application/json"}
