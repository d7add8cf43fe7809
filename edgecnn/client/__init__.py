"""Talk to a server of edgecnn, or to any other that speaks the Open Inference Protocol v2, from Python.

    from edgecnn.client import Client

    with Client("http://127.0.0.1:8000") as client:
        answer = client.predict("cat.jpg")
        print(answer.predictions[0].top[0].label)

:class:`Client` blocks, :class:`AsyncClient` awaits; otherwise they are the same. What is refused for want of
room, or lost with its connection, is sent again: every request here may be answered twice without harm.
"""

from edgecnn.errors import DependencyMissingError

# Before any module of this package, some of which import it plainly.
try:
    import httpx  # noqa: F401
except ModuleNotFoundError as error:
    raise DependencyMissingError("httpx", "The client", "client") from error

from edgecnn.client.answers import (
    BatchStatistics,
    Choice,
    Inference,
    InferenceStatistics,
    ModelMetadata,
    ModelState,
    ModelStatistics,
    Prediction,
    Predictions,
    ServerMetadata,
    TensorMetadata,
    Times,
    TimingsMs,
)
from edgecnn.client.asynchronous import AsyncClient
from edgecnn.client.blocking import Client
from edgecnn.client.errors import (
    AnswerError,
    ClientError,
    GaveUpError,
    RefusedError,
    TimedOutError,
    UnreachableError,
    UntrustedError,
)
from edgecnn.client.retries import RetryPolicy

__all__ = [
    "AnswerError",
    "AsyncClient",
    "BatchStatistics",
    "Choice",
    "Client",
    "ClientError",
    "GaveUpError",
    "Inference",
    "InferenceStatistics",
    "ModelMetadata",
    "ModelState",
    "ModelStatistics",
    "Prediction",
    "Predictions",
    "RefusedError",
    "RetryPolicy",
    "ServerMetadata",
    "TensorMetadata",
    "TimedOutError",
    "Times",
    "TimingsMs",
    "UnreachableError",
    "UntrustedError",
]
