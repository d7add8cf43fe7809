from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgecnn.data import fingerprint
from edgecnn.reports.result import BadImage, Pace, Result, Variant
from edgecnn.validate import Evaluation, PassSettings, Predictions, Wanted, evaluate, measured_results

Make = Callable[..., Any]

SETTINGS = PassSettings(batch=2, workers=2)


def _variant(name: str) -> Variant:
    return Variant(network="reader", artifact=name, sha256=name, precision="fp32", engine="fake")


def _measured(source: Any, engines: dict[str, Any], wanted: Wanted) -> tuple[Result, ...]:
    done = evaluate(list(engines.values()), source, source.labels, SETTINGS, paired=wanted.paired)
    variants = [(_variant(name), engine) for name, engine in engines.items()]
    return measured_results(done, variants, source, SETTINGS, wanted)


def test_each_engine_has_its_result(engine: Make, images: Make) -> None:
    source = images([1, 2, 3, 4], labels=[1, 2, 3, 9])
    one, two = _measured(source, {"a": engine(), "b": engine(parallel=False)}, Wanted())
    assert [result.variant.artifact for result in (one, two)] == ["a", "b"]
    assert one.accuracy is not None
    assert (one.accuracy.n, one.accuracy.top1, one.accuracy.agreement) == (4, 75.0, None)
    assert one.accuracy.per_class is None
    assert one.gates == two.gates == ()
    assert (one.latency_ms, one.throughput_per_s, one.error) == (None, None, None)


def test_bad_images_belong_to_the_data_set_and_not_to_its_fingerprint(engine: Make, images: Make) -> None:
    (result,) = _measured(images([1, 2, 3], broken={1}), {"a": engine()}, Wanted())
    assert result.accuracy is not None
    assert result.accuracy.n == 2
    data = result.accuracy.dataset
    assert data is not None
    assert (data.name, data.images) == ("stated", 3)
    assert data.bad == (BadImage(key="stated[1]", reason="it is damaged"),)
    assert data.fingerprint == fingerprint(images([1, 3]))


def test_the_reference_is_the_first_and_is_not_compared_with_itself(engine: Make, images: Make) -> None:
    def off_by_one(batch: Any) -> Any:
        return engine().answer(batch + 1)

    source = images([1, 2, 3, 4, 5, 6, 7, 8], labels=[1, 2, 3, 4, 6, 7, 8, 9])
    wanted = Wanted(paired=True, per_class=True, max_drop=1.0)
    engines = {"reference": engine(), "same": engine(), "off": engine(answer=off_by_one)}
    reference, same, off = _measured(source, engines, wanted)
    assert reference.accuracy is not None
    assert (reference.accuracy.reference, reference.gates) == (None, ())
    assert same.accuracy is not None
    assert same.accuracy.reference == _variant("reference")
    assert (same.accuracy.agreement, same.accuracy.flipped, same.gates[0].held) == (100, (), True)
    assert off.accuracy is not None
    assert off.accuracy.flips is not None
    assert (off.accuracy.flips.gained, off.accuracy.flips.lost) == (4, 4)
    assert off.gates[0].value == 0
    assert off.accuracy.per_class is not None
    assert [row.reference_top1 for row in off.accuracy.per_class] == [100] * 4 + [0] * 4


def test_the_pace_counts_every_worker_of_a_parallel_engine(engine: Make, images: Make) -> None:
    source = images([1] * 20)
    predictions = Predictions(choices=np.ones((20, 5), np.int64), tied=0, run_s=0.5)
    done = Evaluation(
        images=np.arange(20), labels=source.labels, bad=(), predictions=(predictions,) * 2, wall_s=4.0
    )
    variants = [(_variant("able"), engine()), (_variant("unable"), engine(parallel=False))]
    paces = [result.pace for result in measured_results(done, variants, source, SETTINGS, Wanted())]
    assert paces == [
        Pace(seconds=4.0, images_per_s=5.0, engine_images_per_s=80.0, workers=2),
        Pace(seconds=4.0, images_per_s=5.0, engine_images_per_s=40.0, workers=2),
    ]
