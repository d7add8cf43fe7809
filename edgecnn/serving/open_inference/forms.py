"""In which forms a model takes images, and which of them a request has."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np

from edgecnn.serving.faults import BadRequestError, TooLargeError
from edgecnn.serving.open_inference.contract import Served
from edgecnn.serving.open_inference.datatypes import BYTES, datatype_of
from edgecnn.spec import ModelSpec

__all__ = ["Form", "accepted_forms", "form_of", "image_shape"]


#: No form has as many; a shape is shown in a sentence only when it is short.
_MAX_RANK = 8


class Form(Enum):
    """How a request brings its images."""

    TENSOR = "tensor"  #: as the model's own input takes them
    PIXELS = "pixels"  #: resized and cropped, (N, H, W, C) uint8: the server normalises them
    FILES = "files"  #: encoded image files: the server decodes and prepares them


def image_shape(spec: ModelSpec) -> tuple[int | str, ...]:
    """One image as the model's own input takes it."""
    return spec.input.shape[1:]


def pixel_shape(spec: ModelSpec) -> tuple[int, int, int]:
    """One image as pixels: (height, width, channels)."""
    return (*spec.preprocess.crop, spec.preprocess.channels)


def takes_pixels(spec: ModelSpec) -> bool:
    """Whether pixels are a form besides the model's own, which is floating point then."""
    return np.dtype(spec.input.dtype).kind == "f"


def accepted_forms(spec: ModelSpec) -> dict[Form, tuple[str, list[Any]]]:
    """Datatype and shape of each form that a model takes, with "N" for the number of images."""
    forms: dict[Form, tuple[str, list[Any]]] = {
        Form.TENSOR: (datatype_of(spec.input.dtype), ["N", *image_shape(spec)])
    }
    if takes_pixels(spec):
        forms[Form.PIXELS] = ("UINT8", ["N", *pixel_shape(spec)])
    forms[Form.FILES] = (BYTES, ["N"])
    return forms


def form_of(model: Served, datatype: str, shape: Sequence[int]) -> Form:
    """Which form an input of this datatype and shape is.

    Raises:
        BadRequestError: none that the model takes.
        TooLargeError: more images than one request may bring.
    """
    if len(shape) > _MAX_RANK:
        raise BadRequestError(
            f"Input {model.spec.input.name!r} has a shape of {len(shape)} dimensions.",
            f"Give it {len(model.spec.input.shape)}, the number of images first.",
        )
    form = _form(model.spec, datatype, tuple(shape[1:])) if shape else None
    if form is None:
        raise _no_form(model, datatype, shape)
    images = shape[0]
    if images < 1:
        raise BadRequestError(
            f"Input {model.spec.input.name!r} has the shape {list(shape)}, which is {images} images.",
            "The first dimension counts the images: send one at least.",
        )
    if images > model.max_images:
        raise TooLargeError(
            f"Input {model.spec.input.name!r} brings {images} images; {model.max_images} are allowed.",
            "Send them in several requests; the server batches across requests.",
        )
    return form


def _form(spec: ModelSpec, datatype: str, rest: tuple[int, ...]) -> Form | None:
    if datatype == BYTES:
        return Form.FILES if rest in ((), (1,)) else None
    if rest == image_shape(spec) and datatype == datatype_of(spec.input.dtype):
        return Form.TENSOR
    if datatype == "UINT8" and rest == pixel_shape(spec) and takes_pixels(spec):
        return Form.PIXELS
    return None


def _no_form(model: Served, datatype: str, shape: Sequence[int]) -> BadRequestError:
    forms = accepted_forms(model.spec)
    fault = f"the shape {list(shape)}"
    if datatype not in {known for known, _ in forms.values()}:
        fault = f"the datatype {datatype[:32]!r}"
    elif any(size < 0 for size in shape):
        fault = f"the negative dimension {min(shape)} in its shape {list(shape)}"
    elif not shape:
        fault = "an empty shape"
    choices = ", ".join(f"{known} {_shown(dims)}" for known, dims in forms.values())
    return BadRequestError(
        f"Input {model.spec.input.name!r} has {fault}, which {model.name!r} does not take.",
        f"It takes {choices} (encoded image files), N up to {model.max_images}.",
    )


def _shown(dims: Sequence[Any]) -> str:
    return f"[{', '.join(map(str, dims))}]"
