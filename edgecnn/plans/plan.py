"""A plan and its spec, as one thing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edgecnn.artifact import Artifact, open_artifact, plan_sidecar
from edgecnn.errors import ArtifactError
from edgecnn.plans.spec import PlanSpec, decode_plan_spec

__all__ = ["Plan", "read_plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan on the disk.

    Attributes:
        path: of the plan; its spec lies beside it.
        spec: what it is and where it runs.
    """

    path: Path
    spec: PlanSpec

    @property
    def artifact(self) -> Artifact:
        """The plan as what engines, validation and serving take."""
        return Artifact(self.path, self.spec.model)

    def content(self) -> bytes:
        """The plan itself, read and compared with the hash in its spec.

        TensorRT meets damage late or not at all, and a plan is code: nothing else may be given to it.

        Raises:
            ArtifactError: the file is gone, unreadable or not what was built.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise ArtifactError(f"{self.path} cannot be read: {error.strerror}.", _AGAIN) from error
        if (found := hashlib.sha256(content).hexdigest()) != self.spec.plan_sha256:
            raise ArtifactError(
                f"{self.path} is damaged, or its spec is another plan's: its SHA-256 is {found[:16]}..., and "
                f"its spec says {self.spec.plan_sha256[:16]}...",
                f"Copy both files again. {_AGAIN}",
            )
        return content


_AGAIN = "Build the plan again: edgecnn build MODEL"


def read_plan(path: Path) -> Plan:
    """The plan at ``path`` with its spec; :meth:`Plan.content` reads the plan itself.

    Raises:
        ArtifactError: no such file, its spec is missing, damaged or of another version, or its size is wrong.
    """
    open_artifact(path)
    return Plan(path, decode_plan_spec(plan_sidecar(path).read_bytes(), origin=path))
