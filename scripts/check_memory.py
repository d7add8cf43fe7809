#!/usr/bin/env python3
"""Whether our memory figures are those of a script without edgecnn, by `/usr/bin/time -v`, in alternation.

    python scripts/check_memory.py [MODEL.onnx ...] [--engine ort] [--engine openvino] [--rounds 5]

The bare script opens the same file with the same settings in the engine's own library, and runs as often;
both sides prepare for one batch size where the engine can (OpenVINO), as `edgecnn bench` does. What edgecnn
reports is the peak above an empty process, and is compared with the bare peak above that of a script that
imports numpy alone ("above empty"), and, with that script's peak added, with the whole bare peak. All are
medians over the rounds; exit code 1 where either is more than 5 % apart.

Both sides find their modules compiled: compiling leaves free memory behind, which the engine then fills.

Without a model, MobileNetV2 with random weights is exported first.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from edgecnn.artifact import Artifact, open_artifact
from edgecnn.bench.memory import measure_footprint
from edgecnn.bench.opened import opened_choice
from edgecnn.bench.plan import PlannedVariant
from edgecnn.cards import find_card
from edgecnn.engines.choice import parse_choice
from edgecnn.environment import describe_environment
from edgecnn.export.network import export_network
from edgecnn.export.settings import ExportSettings
from edgecnn.weights import load_network

TOLERANCE = 0.05
TIME = Path("/usr/bin/time")

EMPTY = "import numpy"

_RUN = """
images = numpy.ones(({batch}, *{sizes}), "{dtype}")
for _ in range(100):
    run(images)
"""

BARE = {
    "ort": """
import numpy, onnxruntime
settings = onnxruntime.SessionOptions()
settings.intra_op_num_threads, settings.inter_op_num_threads = {threads}, 1
session = onnxruntime.InferenceSession({path!r}, settings, providers=["CPUExecutionProvider"])
def run(images):
    return session.run([{output!r}], {{{input!r}: images}})
"""
    + _RUN,
    "openvino": """
import sys
sys.modules["openvino_telemetry"] = None  # or it reports to Intel
import numpy, openvino
settings = {{
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_PRECISION_HINT": "f32",
    "INFERENCE_NUM_THREADS": {threads},
    "ENABLE_HYPER_THREADING": True,
    "ENABLE_CPU_PINNING": False,
}}
core = openvino.Core()
model = core.read_model({path!r})
model.reshape([{batch}, *{sizes}])
request = core.compile_model(model, "CPU", settings).create_infer_request()
del model
def run(images):
    return request.infer({{{input!r}: images}}, share_inputs=True)
"""
    + _RUN,
}

#: Where there is no /usr/bin/time: what it does, in a small process, since Linux lets a child inherit the
#: peak of whoever started it.
_WAIT = """
import os, sys
child = os.fork()
if not child:
    os.execv(sys.argv[1], sys.argv[1:])
_, status, used = os.wait4(child, 0)
print("Maximum resident set size (kbytes):", used.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--engine", action="append", choices=sorted(BARE), dest="engines")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    arguments = parser.parse_args()
    environment = describe_environment()
    print(f"{environment.cpu}, {environment.os}, {environment.versions}")
    how = f"{TIME} -v" if TIME.exists() else f"the kernel's ru_maxrss by wait4, for want of {TIME}"
    print(f"Peaks by {how}; --threads {arguments.threads} --batch {arguments.batch}, MB = 10^6 bytes\n")
    titles = ("model", "engine", "bare", "edgecnn's", "apart", "bare above empty", "edgecnn's", "apart")
    print(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        _keep_bytecode(Path(folder) / "bytecode")
        models = arguments.models or [_exported(Path(folder))]
        held = [
            _row(engine, open_artifact(model), arguments)
            for model in models
            for engine in arguments.engines or sorted(BARE)
        ]
    return 0 if all(held) else 1


def _row(engine: str, artifact: Artifact, arguments: argparse.Namespace) -> bool:
    spec = artifact.spec
    choice = parse_choice(engine).with_threads(arguments.threads)
    planned = PlannedVariant(artifact, choice, arguments.batch)
    if planned.own_batch not in (None, arguments.batch):
        raise SystemExit(f"{artifact.path} is fixed to a batch of {planned.own_batch}: give --batch.")
    script = BARE[engine].format(
        path=str(artifact.path),
        input=spec.input.name,
        output=spec.output.name,
        sizes=spec.input.shape[1:],
        dtype=spec.input.dtype,
        threads=arguments.threads,
        batch=arguments.batch,
    )
    empties, peaks, ours = [], [], []
    for turn in range(-1, arguments.rounds):
        bare = _peak_bytes(EMPTY), _peak_bytes(script)
        found = measure_footprint(opened_choice(planned), artifact, arguments.batch, processes=1)
        if turn < 0:
            continue  # it compiled
        if found.empty is None or found.peak is None:
            raise SystemExit("This system does not say how much memory a process takes.")
        empties.append(bare[0])
        peaks.append(bare[1])
        ours.append(found.peak - found.empty)
    empty, peak, own = median(empties), median(peaks), median(ours)
    pairs = [(peak, empty + own), (peak - empty, own)]
    cells = [cell for pair in pairs for cell in _pair(*pair)]
    print(f"| {artifact.path.name} | {engine} | {' | '.join(cells)} |", flush=True)
    return all(abs(told / bare - 1) <= TOLERANCE for bare, told in pairs)


def _pair(bare: float, own: float) -> tuple[str, str, str]:
    return f"{bare / 1e6:.1f}", f"{own / 1e6:.1f}", f"{own / bare - 1:+.1%}"


def _keep_bytecode(folder: Path) -> None:
    """For this process's children, whatever the environment says."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
    sys.dont_write_bytecode = False


def _peak_bytes(script: str) -> int:
    """The peak resident memory of a Python process that runs ``script``."""
    measured = [sys.executable, "-c", script]
    command = [str(TIME), "-v"] if TIME.exists() else [sys.executable, "-S", "-c", _WAIT]
    done = subprocess.run([*command, *measured], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The bare script failed:\n{done.stderr}")
    kibibytes = re.search(r"Maximum resident set size \(kbytes\): (\d+)", done.stderr)
    assert kibibytes is not None, done.stderr
    return int(kibibytes[1]) * 1024


def _exported(folder: Path) -> Path:
    network = load_network(find_card("mobilenet_v2"), "random", seed=0)
    return export_network(network, ExportSettings(), folder / "mobilenet_v2.onnx").path


if __name__ == "__main__":
    sys.exit(main())
