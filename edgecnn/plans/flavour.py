"""The two packages that build and run plans: TensorRT, and TensorRT for RTX."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from edgecnn.errors import EngineUnavailableError, UnknownNameError

__all__ = [
    "FLAVOURS",
    "TRT",
    "TRT_RTX",
    "Flavour",
    "find_flavour",
    "is_installed",
    "load",
    "preferred_flavour",
]


@dataclass(frozen=True, slots=True)
class Flavour:
    """One of the packages; both have the same interface, in different versions.

    Attributes:
        name: of the engine, "trt" or "trt-rtx".
        module: what is imported.
        extra: of edgecnn, that installs it.
        title: NVIDIA's name of it.
    """

    name: str
    module: str
    extra: str
    title: str

    @property
    def ahead_of_time(self) -> bool:
        """Whether it builds without a GPU, for all GPUs that it knows."""
        return self.name == "trt-rtx"


TRT = Flavour("trt", "tensorrt", "trt", "TensorRT")
TRT_RTX = Flavour("trt-rtx", "tensorrt_rtx", "trt-rtx", "TensorRT for RTX")

#: By name.
FLAVOURS = {flavour.name: flavour for flavour in (TRT, TRT_RTX)}


def find_flavour(name: str) -> Flavour:
    """The flavour called ``name``.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in FLAVOURS:
        raise UnknownNameError("kind of plan", name, FLAVOURS)
    return FLAVOURS[name]


def is_installed(flavour: Flavour) -> bool:
    """Whether its package is there; it is not imported, so that it may still fail to load."""
    return find_spec(flavour.module) is not None


def preferred_flavour() -> Flavour:
    """TensorRT where it is installed, else TensorRT for RTX.

    Raises:
        EngineUnavailableError: neither is; the message says how to install either.
    """
    for flavour in FLAVOURS.values():
        if is_installed(flavour):
            return flavour
    raise EngineUnavailableError(
        "Building a plan needs TensorRT or TensorRT for RTX, and neither is installed.", _install(TRT)
    )


def load(flavour: Flavour) -> Any:  # noqa: ANN401 - the packages have no types
    """Import its package: the one place that does.

    Raises:
        EngineUnavailableError: it is not installed, or its libraries do not load.
    """
    try:
        return import_module(flavour.module)
    except ModuleNotFoundError as error:
        if error.name == flavour.module:
            raise EngineUnavailableError(
                f"{flavour.title} (the package {flavour.module!r}) is not installed.", _install(flavour)
            ) from error
        raise _broken(flavour, error) from error
    except (ImportError, OSError, RuntimeError) as error:
        raise _broken(flavour, error) from error


def _broken(flavour: Flavour, error: Exception) -> EngineUnavailableError:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return EngineUnavailableError(
        f"{flavour.title} is installed and does not load: {said}.",
        f"Install it again with its libraries: pip install --force-reinstall 'edgecnn[{flavour.extra}]'",
    )


def _install(flavour: Flavour) -> str:
    command = f"Install it: pip install 'edgecnn[{flavour.extra}]'"
    if flavour is TRT_RTX:
        return f"{command} (GeForce and other RTX GPUs; it builds plans without a GPU)."
    return (
        f"{command} (JetPack brings its own: make the environment with --system-site-packages). For RTX "
        f"GPUs, and to build without a GPU: pip install 'edgecnn[{TRT_RTX.extra}]'"
    )
