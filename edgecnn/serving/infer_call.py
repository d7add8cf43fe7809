"""From a checked infer request to the model's answer, whatever transport it came by."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edgecnn.serving.faults import BadRequestError, UnavailableError
from edgecnn.serving.open_inference.calls import InferCall
from edgecnn.serving.open_inference.contract import Inference, Served, ServedModel, Service, Transport

__all__ = ["loading_with", "pinned", "run_call", "unready_model"]


def pinned(model: ServedModel) -> Served:
    """What a request is read and answered by, whatever becomes of ``model`` meanwhile.

    Raises:
        UnavailableError: the model is not loaded.
    """
    return Served(model.name, model.version, model.spec, model.max_images)


async def run_call(
    model: ServedModel,
    call: InferCall,
    received_s: float,
    deadline_s: float | None = None,
    *,
    protocol: Transport = "http",
) -> Inference:
    """Run ``call``, in no more time than the client, its transport and the server give it.

    Args:
        model: what runs it.
        call: checked against ``model``.
        received_s: when the request came, in the event loop's time.
        deadline_s: when the transport gives up, likewise; None if it does not.
        protocol: by which it came.

    Raises:
        RequestError: an image cannot be read, the server is overloaded, or the time ran out.
    """
    limit_s = model.timeout_s
    if call.timeout_us is not None:
        limit_s = min(limit_s, call.timeout_us / 1e6)
    until_s = received_s + limit_s
    if deadline_s is not None:
        until_s = min(until_s, deadline_s)
    images = call.images if isinstance(call.images, np.ndarray) else await model.decode(call.images)
    return await model.infer(list(images), until_s, protocol=protocol)


def unready_model(service: Service, name: str, version: str | None) -> UnavailableError:
    """Why a model that exists is not ready."""
    states = [state for state in service.index() if state.name == name and version in (None, state.version)]
    what = " and ".join(f"version {state.version} is {state.state} ({state.reason})" for state in states)
    return UnavailableError(f"The model {name!r} is not ready: {what}.", "Try again later, or load it.")


def loading_with(parameters: Iterable[str]) -> BadRequestError:
    """What is said of loading a model with another configuration, or with files of the client's."""
    return BadRequestError(
        f"A model cannot be loaded with {', '.join(sorted(parameters))[:64]!r}: it is its file.",
        "Put the file into the repository, and load it without parameters.",
    )
