"""What identifies a measured variant, read off the artifact and the open engine."""

from __future__ import annotations

from edgecnn.artifact import Artifact
from edgecnn.engines import EngineInfo
from edgecnn.reports.result import EngineFacts, Variant

__all__ = ["variant_of"]


def variant_of(artifact: Artifact, info: EngineInfo, batch: int) -> Variant:
    """The variant that ``artifact`` is in an engine of ``info``, run ``batch`` images at a time.

    An artifact of a static batch runs in its own.
    """
    own = artifact.spec.input.shape[0]
    return Variant(
        network=artifact.spec.network,
        artifact=str(artifact.path),
        sha256=artifact.sha256(),
        precision=info.precision,
        engine=info.name,
        engine_info=EngineFacts(version=info.version, device=info.device, providers=info.providers),
        batch=own if isinstance(own, int) else batch,
        threads=info.threads,
        artifact_precision=artifact.spec.precision,
    )
