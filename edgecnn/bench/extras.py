"""What is told of a variant besides its speed: memory, energy, size."""

from __future__ import annotations

from edgecnn.artifact import Artifact, is_plan, read_onnx
from edgecnn.bench.opened import OpenVariant, opened_choice
from edgecnn.bench.plan import PlannedVariant
from edgecnn.cards import card_names, find_card
from edgecnn.errors import EdgecnnError
from edgecnn.graph.layers import graph_layers
from edgecnn.nvml import GpuCondition, open_nvml
from edgecnn.reports.result import MemoryBytes, ModelSize
from edgecnn.timing.energy import energy_meter
from edgecnn.timing.rounds import calls_for

__all__ = ["energy_per_image", "gpu_condition", "memory_of", "model_size"]

#: Seconds of runs whose energy is read: counters tick every millisecond (RAPL) to every second (tegrastats).
_ENERGY_SECONDS = 2.0

#: Seconds of runs before the clocks are read: a GPU that has idled for a moment has lowered them.
_CLOCK_SECONDS = 0.3


def memory_of(planned: PlannedVariant) -> MemoryBytes:
    """The memory of ``planned``, of one instance, in processes of its own.

    Raises:
        EngineError: as :func:`edgecnn.bench.memory.measure_memory`.
    """
    from edgecnn.bench.memory import measure_memory

    return measure_memory(opened_choice(planned), planned.artifact, planned.batch)


def energy_per_image(opened: OpenVariant, call_ns: float) -> tuple[float | None, str]:
    """Joules of one image, and what they were read from; None and why where they could not be.

    The variant runs alone for it, in one instance: in turns, nobody could tell whose joules they are.

    Raises:
        EngineError: a run failed.
    """
    with energy_meter(opened.variant.engine_info.device if opened.variant.engine_info else "cpu") as meter:
        if not meter.available:
            return None, meter.note
        calls = calls_for(call_ns, _ENERGY_SECONDS)
        with meter.measure() as reading:
            for _ in range(calls):
                opened.calls[0]()
    joules = None if reading.joules is None else reading.joules / (calls * opened.batch)
    return joules, reading.note


def gpu_condition(opened: OpenVariant, call_ns: float) -> tuple[GpuCondition | None, str | None]:
    """Clocks, temperature and memory of the GPU while the variant runs, and a warning where it is held back.

    None on the CPU, and where the driver's library cannot be asked.

    Raises:
        EngineError: a run failed.
    """
    facts = opened.variant.engine_info
    if facts is None or facts.device == "cpu":
        return None, None
    try:
        nvml = open_nvml()
    except EdgecnnError as error:
        return None, f"The GPU's clocks and temperature are not known: {error.problem}"
    for _ in range(calls_for(call_ns, _CLOCK_SECONDS)):
        opened.calls[0]()
    found = nvml.condition(facts.device)
    if found is None or not found.limited_by:
        return found, None
    return found, f"The GPU's clocks were held down ({', '.join(found.limited_by)}): it can be faster."


def model_size(artifact: Artifact) -> ModelSize | None:
    """Parameters and multiply-accumulates: the card's where it speaks of this very network, else the graph's.

    In a graph, batch normalisation is folded and biases are left out. None where the graph does not tell, and
    of a TensorRT plan, which has none.

    Raises:
        ArtifactError: the file cannot be read.
    """
    spec = artifact.spec
    # A file made elsewhere may have a network's name by chance: it is called by the stem of its path.
    if spec.weights.kind != "unknown" and spec.network in card_names():
        card = find_card(spec.network)
        if len(card.classes) == len(spec.classes) and card.preprocess.crop == spec.preprocess.crop:
            return ModelSize(parameters=card.parameters, macs=card.macs)
    if is_plan(artifact.path):
        return None
    layers = graph_layers(read_onnx(artifact.path))
    macs = [layer.macs for layer in layers if layer.macs is not None]
    if len(macs) < len(layers) or not macs:
        return None
    return ModelSize(parameters=sum(layer.weights for layer in layers), macs=sum(macs))
