"""Follows one image's shape through a network, function call by function call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edgecnn.profile.layer import Kind
from edgecnn.profile.operation import is_global_pool, kind_of, macs_of, window_of
from edgecnn.profile.receptive import ReceptiveField, join
from edgecnn.profile.window import Pair, Window

__all__ = ["Call", "Operation", "trace"]


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        number: counts the calls.
        name: of the module, as in the state dict; empty for the network itself.
        type: the name of its class.
        leaf: whether it has no modules inside.
    """

    number: int
    name: str
    type: str
    leaf: bool


@dataclass(frozen=True)
class Operation:
    """One call of a torch function on something that depends on the image.

    Attributes:
        call: the innermost module call that it happened in.
        name: torch's name of the function, without underscores around it.
        kind: what it is as a layer; None if nothing with a name.
        input_shape: of the first argument that depends on the image, without the batch.
        output_shape: of the (first) result, without the batch.
        window: of a convolution or pooling over the image's two dimensions.
        macs: multiply-accumulates.
        parameters: the names of the trained tensors among its arguments.
        field: of an element of its result; None is the whole image.
    """

    call: Call
    name: str
    kind: Kind | None
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    window: Window | None
    macs: int
    parameters: tuple[str, ...]
    field: ReceptiveField | None


def trace(module: nn.Module, input_shape: tuple[int, ...]) -> list[Operation]:
    """What ``module`` does to an image of ``input_shape`` (C, H, W), in order.

    Nothing is computed: it runs on the meta device, with stand-ins for its parameters and buffers.

    Raises:
        RuntimeError: the module does not take such an image.
    """
    parameters = {name: torch.empty_like(value, device="meta") for name, value in module.named_parameters()}
    buffers = {name: torch.empty_like(value, device="meta") for name, value in module.named_buffers()}
    image = torch.empty((1, *input_shape), device="meta")
    recorder = _Recorder(image, parameters)
    with torch.no_grad(), torch.device("meta"), recorder.watching(module), recorder:
        torch.func.functional_call(module, {**parameters, **buffers}, (image,))
    return recorder.operations


@dataclass(frozen=True)
class _Seen:
    """What is known of a tensor that depends on the image.

    Attributes:
        tensor: kept alive, since it is found by its identity.
        field: of one element.
        grid: (height, width) of the map that the elements lie on, however the tensor is reshaped.
    """

    tensor: Tensor
    field: ReceptiveField | None
    grid: Pair


class _Recorder(TorchFunctionMode):
    """While active, notes every torch function that is applied to what depends on the image."""

    def __init__(self, image: Tensor, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self._parameters = {id(tensor): name for name, tensor in parameters.items()}
        self._seen = {id(image): _Seen(image, ReceptiveField(), _grid(image))}
        self._calls: list[Call] = []
        self._count = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever func returns
        """Run ``func`` and note it."""
        result = func(*args, **(kwargs or {}))
        outputs = list(_tensors(result))
        sources = [self._seen[id(tensor)] for tensor in _tensors((args, kwargs)) if id(tensor) in self._seen]
        if outputs and sources:
            self._note(func.__name__.strip("_"), args, kwargs or {}, sources, outputs)
        return result

    @contextmanager
    def watching(self, module: nn.Module) -> Iterator[None]:
        """Know which module's code is running."""
        with ExitStack() as hooks:
            for name, child in module.named_modules():
                hooks.enter_context(child.register_forward_pre_hook(partial(self._enter, name)))
                hooks.enter_context(child.register_forward_hook(self._leave))
            yield

    def _enter(self, name: str, module: nn.Module, _: object) -> None:
        self._count += 1
        leaf = next(module.children(), None) is None
        self._calls.append(Call(self._count, name, type(module).__name__, leaf))

    def _leave(self, *_: object) -> None:
        self._calls.pop()

    def _note(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        sources: Sequence[_Seen],
        outputs: Sequence[Tensor],
    ) -> None:
        output, first = outputs[0], sources[0]
        names = tuple(
            self._parameters[id(tensor)]
            for tensor in _tensors((args, kwargs))
            if id(tensor) in self._parameters
        )
        kind = kind_of(name, [source.tensor for source in sources], names, output)
        # A function may pool over something else than the image, such as neighbouring channels.
        spatial = kind in {"conv", "pool"} and _grid(first.tensor) == first.grid
        window = window_of(name, args, kwargs, output) if spatial else None
        seen = _see(name, sources, output, window)
        for tensor in outputs:
            self._seen[id(tensor)] = _Seen(tensor, seen.field, seen.grid)
        self.operations.append(
            Operation(
                call=self._calls[-1],
                name=name,
                kind=None if kind == "pool" and not spatial else kind,
                input_shape=tuple(first.tensor.shape[1:]),
                output_shape=tuple(output.shape[1:]),
                window=window,
                macs=macs_of(name, args, kwargs, output),
                parameters=names,
                field=seen.field,
            )
        )


def _see(name: str, sources: Sequence[_Seen], output: Tensor, window: Window | None) -> _Seen:
    """The field and the grid after a function."""
    field = join(source.field for source in sources)
    grid = max(source.grid for source in sources)
    if window is not None:
        whole = is_global_pool(name, sources[0].tensor, output)
        return _Seen(output, None if whole or field is None else field.through(window), _grid(output))
    if name in {"getitem", "pad"} and output.ndim == 4:
        return _Seen(output, field, _grid(output))
    if output.ndim == 2 and grid != (1, 1):
        return _Seen(output, None, (1, 1))
    return _Seen(output, field, grid)


def _grid(tensor: Tensor) -> Pair:
    return (tensor.shape[-2], tensor.shape[-1]) if tensor.ndim == 4 else (1, 1)


def _tensors(value: object) -> Iterator[Tensor]:
    """The tensors in nested sequences and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
