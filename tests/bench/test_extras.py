"""What is told of a variant besides its speed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from edgecnn.artifact import Artifact
from edgecnn.bench import BenchPlan, extras
from edgecnn.bench.extras import energy_per_image, gpu_condition, model_size
from edgecnn.bench.opened import OpenVariant, open_variant
from edgecnn.cards import find_card
from edgecnn.engines.choice import parse_choice
from edgecnn.errors import EngineUnavailableError
from edgecnn.nvml import GpuCondition
from edgecnn.reports.result import EngineFacts, ModelSize
from edgecnn.spec import WeightsId
from edgecnn.timing.energy import EnergyMeter


@dataclass(slots=True)
class _Counter:
    """Ticks by half a joule after every ``runs_a_tick`` runs, as RAPL ticks every millisecond."""

    runs_a_tick: int
    runs: int = 0
    note: str = "a fake counter"

    def run(self) -> None:
        self.runs += 1

    def start(self) -> Callable[[], float]:
        before = self._joules()
        return lambda: self._joules() - before

    def close(self) -> None: ...

    def _joules(self) -> float:
        return 0.5 * (self.runs // self.runs_a_tick)


@pytest.fixture
def opened(artifact: Callable[..., Artifact]) -> Iterator[OpenVariant]:
    plan = BenchPlan(models=(artifact(),), engines=(parse_choice("ort:threads=1"),), batches=(2,))
    with ExitStack() as stack:
        yield open_variant(plan, plan.variants[0], stack)


@pytest.fixture
def metered(monkeypatch: pytest.MonkeyPatch) -> Callable[[EnergyMeter], None]:
    return lambda meter: monkeypatch.setattr(extras, "energy_meter", lambda device: meter)


def test_energy_is_of_runs_that_go_on_until_the_counters_have_ticked(
    opened: OpenVariant, metered: Callable[[EnergyMeter], None]
) -> None:
    counter = _Counter(runs_a_tick=8)
    metered(EnergyMeter((counter,)))
    joules, note = energy_per_image(replace(opened, calls=(counter.run,)), call_ns=1e6)
    assert counter.runs == 2000  # two seconds
    assert joules == pytest.approx(0.5 / 8 / 2)
    assert note == "a fake counter; idle power included"


def test_counters_that_never_move_give_no_energy_and_say_so(
    opened: OpenVariant, metered: Callable[[EnergyMeter], None]
) -> None:
    counter = _Counter(runs_a_tick=10**9)
    metered(EnergyMeter((counter,)))
    joules, note = energy_per_image(replace(opened, calls=(counter.run,)), call_ns=1e6)
    assert joules is None
    assert note.startswith("The counters did not move")
    assert counter.runs == 2000


def test_without_counters_nothing_runs_for_them(
    opened: OpenVariant, metered: Callable[[EnergyMeter], None]
) -> None:
    counter = _Counter(runs_a_tick=8)
    metered(EnergyMeter((), "there is no counter"))
    found = energy_per_image(replace(opened, calls=(counter.run,)), call_ns=1e6)
    assert found == (None, "there is no counter")
    assert counter.runs == 0


@dataclass(slots=True)
class _Nvml:
    limits: tuple[str, ...]

    def condition(self, name: str) -> GpuCondition:
        return GpuCondition(name=name, sm_mhz=1980, limited_by=self.limits)


def on_gpu(opened: OpenVariant, run: Callable[[], None]) -> OpenVariant:
    facts = EngineFacts(version="1", device="NVIDIA H200")
    return replace(opened, variant=replace(opened.variant, engine_info=facts), calls=(run,))


@pytest.mark.parametrize(("limits", "warned"), [((), False), (("temperature",), True)])
def test_the_gpus_clocks_are_read_under_load(
    opened: OpenVariant, monkeypatch: pytest.MonkeyPatch, limits: tuple[str, ...], warned: bool
) -> None:
    runs: list[None] = []
    monkeypatch.setattr(extras, "open_nvml", lambda: _Nvml(limits))
    found, warning = gpu_condition(on_gpu(opened, lambda: runs.append(None)), call_ns=1e6)
    assert found == GpuCondition(name="NVIDIA H200", sm_mhz=1980, limited_by=limits)
    assert len(runs) == 300
    assert ("temperature" in (warning or "")) == warned


def test_a_driver_that_does_not_answer_costs_a_warning_and_no_figure(
    opened: OpenVariant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise EngineUnavailableError("NVML does not open.", "Install the driver.")

    monkeypatch.setattr(extras, "open_nvml", missing)
    found, warning = gpu_condition(on_gpu(opened, lambda: None), call_ns=1e6)
    assert found is None
    assert "NVML does not open" in (warning or "")
    assert gpu_condition(opened, call_ns=1e6) == (None, None), "the CPU has none"


def test_a_file_made_elsewhere_does_not_have_the_size_of_the_network_that_it_is_called_by(
    artifact: Callable[..., Artifact],
) -> None:
    card = find_card("mobilenet_v2")
    toy = artifact("mobilenet_v2")
    like = replace(toy.spec, classes=card.classes, preprocess=card.preprocess)
    assert model_size(replace(toy, spec=like)) != ModelSize(parameters=card.parameters, macs=card.macs)
    ours = replace(like, weights=WeightsId(kind="random", name="seed=0"))
    assert model_size(replace(toy, spec=ours)) == ModelSize(parameters=card.parameters, macs=card.macs)
