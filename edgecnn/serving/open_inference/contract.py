"""What the protocol asks of the server behind it. Its values and its transports know no more of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from edgecnn.engines.base import Scores
from edgecnn.spec import ModelSpec

__all__ = [
    "Counted",
    "Inference",
    "Layout",
    "ModelState",
    "ModelStatistics",
    "Served",
    "ServedModel",
    "Service",
]

Transport = Literal["http", "grpc"]

#: How often, and nanoseconds in all.
Counted = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Served:
    """What of a model decides how a request is read and answered, kept meanwhile: the model may be reloaded.

    Attributes:
        name: what clients call it.
        version: a number, as text.
        spec: its input, output, classes and preprocessing.
        max_images: how many images one request may bring.
    """

    name: str
    version: str
    spec: ModelSpec
    max_images: int


class Layout(Protocol):
    """What runs a model, and what it was measured to cost."""

    @property
    def engine(self) -> str:
        """With its options, as ``--engine`` takes it."""
        ...

    @property
    def instances(self) -> int:
        """Engines side by side."""
        ...

    @property
    def threads(self) -> int | None:
        """Of each; None leaves them to the engine."""
        ...

    @property
    def sizes(self) -> Sequence[int]:
        """The batch sizes that are formed."""
        ...

    @property
    def call_ms(self) -> Mapping[int, float]:
        """By batch size, how long a call takes."""
        ...

    @property
    def images_per_s(self) -> Mapping[int, float]:
        """By batch size, of all instances together."""
        ...


class Inference(Protocol):
    """What a model answered."""

    @property
    def scores(self) -> Scores:
        """(N, classes) float32."""
        ...

    @property
    def queue_ns(self) -> int:
        """How long its images waited; the longest of them."""
        ...

    @property
    def compute_ns(self) -> int:
        """How long the engine took; the longest of them."""
        ...


class ServedModel(Protocol):
    """A model that is ready to answer."""

    @property
    def name(self) -> str:
        """What clients call it."""
        ...

    @property
    def version(self) -> str:
        """A number, as text."""
        ...

    @property
    def spec(self) -> ModelSpec:
        """Its input, output, classes and preprocessing."""
        ...

    @property
    def max_images(self) -> int:
        """How many images one request may bring."""
        ...

    @property
    def layout(self) -> Layout:
        """How it is run."""
        ...

    @property
    def timeout_s(self) -> float:
        """The longest that a request may take."""
        ...

    async def infer(
        self, images: Sequence[NDArray[Any]], deadline_s: float | None = None, *, protocol: Transport = "http"
    ) -> Inference:
        """Scores of images: each in the model's own form or (H, W, C) uint8 pixels.

        Args:
            images: one or more.
            deadline_s: in the event loop's time; None for the server's own.
            protocol: by which they came, for the metrics.
        """
        ...

    async def decode(self, files: Sequence[bytes | memoryview]) -> list[NDArray[Any]]:
        """Pixels of image files."""
        ...


class ModelState(Protocol):
    """One version of a model in the repository."""

    @property
    def name(self) -> str:
        """Of the model."""
        ...

    @property
    def version(self) -> str:
        """A number, as text."""
        ...

    @property
    def state(self) -> str:
        """ "READY", "LOADING", "UNLOADING" or "UNAVAILABLE"."""
        ...

    @property
    def reason(self) -> str:
        """Why it is not ready; empty where it is."""
        ...


class ModelStatistics(Protocol):
    """What happened since a version of a model was loaded."""

    @property
    def name(self) -> str:
        """Of the model."""
        ...

    @property
    def version(self) -> str:
        """A number, as text."""
        ...

    @property
    def last_inference_ms(self) -> int:
        """When the last request came, in milliseconds since 1970."""
        ...

    @property
    def inference_count(self) -> int:
        """Images answered."""
        ...

    @property
    def execution_count(self) -> int:
        """Batches run."""
        ...

    @property
    def success(self) -> Counted:
        """Requests answered."""
        ...

    @property
    def fail(self) -> Counted:
        """Requests refused or failed."""
        ...

    @property
    def queue(self) -> Counted:
        """Waiting."""
        ...

    @property
    def compute_input(self) -> Counted:
        """Putting batches together."""
        ...

    @property
    def compute_infer(self) -> Counted:
        """The engine."""
        ...

    @property
    def compute_output(self) -> Counted:
        """Taking batches apart."""
        ...

    @property
    def batches(self) -> Mapping[int, Counted]:
        """By size, the engine's runs."""
        ...


class Service(Protocol):
    """The server's models."""

    def live(self) -> bool:
        """Whether the process works."""
        ...

    def ready(self) -> bool:
        """Whether it takes requests."""
        ...

    def ready_model(self, name: str, version: str | None = None) -> bool:
        """Whether a model takes requests.

        Raises:
            NotFoundError: no such model or version.
        """
        ...

    def index(self, ready_only: bool = False) -> Sequence[ModelState]:
        """All versions of all models."""
        ...

    async def model(self, name: str, version: str | None = None) -> ServedModel:
        """A model that is ready.

        Raises:
            NotFoundError: no such model or version.
            UnavailableError: it is not ready.
        """
        ...

    async def load(self, name: str) -> None:
        """Load a model, or load it again.

        Raises:
            ForbiddenError: the server was started without that permission.
        """
        ...

    async def unload(self, name: str) -> None:
        """Let a model go.

        Raises:
            ForbiddenError: the server was started without that permission.
        """
        ...

    def statistics(self, name: str | None = None, version: str | None = None) -> Sequence[ModelStatistics]:
        """Of one model, or of all."""
        ...
