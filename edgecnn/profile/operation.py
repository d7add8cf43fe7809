"""What a call of a torch function is as a layer: its kind, its window, its multiply-accumulates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from edgecnn.profile.layer import Kind
from edgecnn.profile.window import Pair, Window, adaptive_window

__all__ = ["is_global_pool", "kind_of", "macs_of", "window_of"]

#: What a function does -> torch's names of it and of its methods, without underscores around them.
_NAMES: dict[Kind, tuple[str, ...]] = {
    "conv": ("conv2d",),
    "linear": ("linear",),
    "pool": ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"),
    "norm": ("batch_norm", "layer_norm", "group_norm", "instance_norm", "local_response_norm"),
    "activation": (
        *("relu", "relu6", "hardtanh", "leaky_relu", "prelu", "elu", "gelu", "silu", "mish"),
        *("sigmoid", "hardsigmoid", "hardswish", "tanh", "softmax"),
    ),
    "dropout": ("dropout", "dropout2d"),
    "add": ("add", "iadd", "radd"),
    "multiply": ("mul", "imul", "rmul"),
    "concat": ("cat", "concat"),
}
_KINDS = {name: kind for kind, names in _NAMES.items() for name in names}

#: Functions that may turn maps into one vector.
_RESHAPES = frozenset({"flatten", "view", "reshape", "squeeze"})

#: Functions that may average a whole map.
_REDUCTIONS = frozenset({"mean", "amax"})

_ARGUMENTS = {
    "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation"),
    "avg_pool2d": ("input", "kernel_size", "stride", "padding"),
}


def kind_of(name: str, maps: Sequence[Tensor], parameters: Sequence[str], output: Tensor) -> Kind | None:
    """What the function ``name`` does; None for what nobody calls a layer, such as a transposition.

    Args:
        name: of the function, without underscores around it.
        maps: the tensors that depend on the image, among its arguments.
        parameters: the names of trained tensors among its arguments.
        output: its result.
    """
    if name in _RESHAPES:
        return "flatten" if maps[0].ndim == 4 and output.ndim == 2 else None
    if name in _REDUCTIONS:
        return "pool" if is_global_pool(name, maps[0], output) else None
    if name.startswith("adaptive") and maps[0].shape == output.shape:
        return None  # pooling to the size that the map already has
    kind = _KINDS.get(name)
    if kind in {"add", "multiply"} and len(maps) < 2:
        return "scale" if parameters else None
    return kind


def is_global_pool(name: str, source: Tensor, output: Tensor) -> bool:
    """Whether one number per channel is left of each map, which had more than one."""
    if source.ndim != 4 or source.shape[1:].numel() == output.numel():
        return False
    return (name in _REDUCTIONS or name.startswith("adaptive")) and output.numel() == source.shape[1]


def window_of(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], output: Tensor) -> Window:
    """The window of a convolution or pooling."""
    if name.startswith("adaptive"):
        return adaptive_window(_pair(args[0].shape[-2:]), _pair(output.shape[-2:]))
    if name in _REDUCTIONS:
        return adaptive_window(_pair(args[0].shape[-2:]), (1, 1))
    given = {**dict(zip(_ARGUMENTS[name], args, strict=False)), **kwargs}
    kernel = _pair(given["weight"].shape[-2:] if name == "conv2d" else given["kernel_size"])
    dilation = _pair(given.get("dilation", 1))
    return Window(
        kernel=kernel,
        stride=_stride(given.get("stride"), kernel, pooling=name != "conv2d"),
        padding=_padding(given.get("padding", 0), kernel, dilation),
        dilation=dilation,
        groups=given.get("groups", 1),
    )


def macs_of(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], output: Tensor) -> int:
    """Multiply-accumulates: for each output, as many as weights that it uses."""
    if name not in {"conv2d", "linear"}:
        return 0
    weight = kwargs["weight"] if "weight" in kwargs else args[1]
    return output.numel() * int(weight.shape[1:].numel())


def _pair(value: Any) -> Pair:  # noqa: ANN401 - an int or two, as torch takes them
    if isinstance(value, int):
        return value, value
    height, width = (*value, *value)[:2]
    return int(height), int(width)


def _stride(value: Any, kernel: Pair, *, pooling: bool) -> Pair:  # noqa: ANN401
    """A pooling's stride is its kernel unless it is given."""
    if value is None or value == []:
        return kernel if pooling else (1, 1)
    return _pair(value)


def _padding(value: Any, kernel: Pair, dilation: Pair) -> Pair:  # noqa: ANN401
    """In numbers, also where torch was told "same" or "valid"."""
    if value == "valid":
        return 0, 0
    if value == "same":
        return dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2
    return _pair(value)
