"""A supervisor of toy workers in a process of its own, for tests of signals: prints its port when ready."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from edgecnn.serving.workers.settings import SupervisorSettings
from edgecnn.serving.workers.supervisor import supervise

HEAVY = ("numpy", "onnx", "onnxruntime", "grpc", "prometheus_client", "click", "rich")


def _say(**words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def _forget(pid: int, folder: Path) -> None:
    _say(forgotten=pid, exists=folder.is_dir())


if __name__ == "__main__":
    settings = SupervisorSettings(
        entry="toy_worker:run", workers=2, port=0, drain_s=float(sys.argv[1]), settle_s=0.0
    )
    heavy = [name for name in HEAVY if name in sys.modules]
    drained = supervise(settings, lambda _host, port: _say(port=port, pid=os.getpid(), heavy=heavy), _forget)
    _say(drained=drained)
