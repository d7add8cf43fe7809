"""Where the time of one image goes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest

from edgecnn.artifact import Artifact
from edgecnn.bench import BenchPlan, stages
from edgecnn.bench.opened import open_variant
from edgecnn.bench.stages import measure_stages
from edgecnn.engines.base import Batch
from edgecnn.engines.choice import parse_choice
from edgecnn.engines.fake import FakeEngine


class _Copying(FakeEngine):
    def copy_only(self, batch: Batch) -> None:
        assert batch.shape == (2, 8, 8, 3)


def test_the_run_is_the_call_without_its_copies(
    artifact: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_SECONDS", 0.005)
    model = artifact()
    plan = BenchPlan(models=(model,), engines=(parse_choice("ort:threads=1"),), batches=(2,))
    with ExitStack() as stack:
        opened = open_variant(plan, plan.variants[0], stack)
        without = measure_stages(opened, call_ns=8e9)
        found = measure_stages(replace(opened, engines=(_Copying(model.spec),)), call_ns=8e9)
    assert (without.copy, without.run) == (None, 4000)
    assert found.copy is not None
    assert found.copy > 0
    assert found.run == 4000 - found.copy
