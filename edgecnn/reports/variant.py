"""What identifies a measured variant, read off the artifact and the open engine."""

from __future__ import annotations

from edgecnn.artifact import Artifact
from edgecnn.engines import EngineInfo
from edgecnn.engines.choice import EngineChoice
from edgecnn.reports.result import EngineFacts, Variant

__all__ = ["variant_of"]


def variant_of(
    artifact: Artifact, info: EngineInfo, batch: int, choice: EngineChoice | None = None
) -> Variant:
    """The variant that ``artifact`` is in an engine of ``info``, run ``batch`` images at a time.

    An artifact of a static batch runs in its own.

    Args:
        artifact: what ran.
        info: what the engine says of itself.
        batch: images of one call.
        choice: the engine as it was asked for, which is what the variant is called: a plug-in that derives
            from another engine has that one's info. None for an engine of the table without options.
    """
    own = artifact.spec.input.shape[0]
    return Variant(
        network=artifact.spec.network,
        artifact=str(artifact.path),
        sha256=artifact.sha256(),
        precision=info.precision,
        engine=info.name if choice is None else choice.name,
        engine_info=EngineFacts(version=info.version, device=info.device, providers=info.providers),
        batch=own if isinstance(own, int) else batch,
        threads=info.threads,
        options="" if choice is None else choice.other_options,
        artifact_precision=artifact.spec.precision,
    )
