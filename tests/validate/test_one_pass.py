from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from edgecnn.errors import DataError, EngineError, UsageError
from edgecnn.spec import Preprocess, TensorSpec
from edgecnn.statistics import sqnr_db
from edgecnn.validate import PassSettings, evaluate

Make = Callable[..., Any]

TWO = PassSettings(batch=4, workers=2)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 4, 64])
def test_choices_come_in_the_order_of_the_images(
    engine: Make, images: Make, workers: int, batch: int
) -> None:
    stated = [index * 7 % 10 for index in range(23)]
    source = images(stated)
    seen: list[int] = []
    done = evaluate(
        [engine()], source, source.labels, PassSettings(batch=batch, workers=workers), observer=seen.append
    )
    assert done.predictions[0].choices[:, 0].tolist() == stated
    assert done.images.tolist() == list(range(23))
    assert done.labels.tolist() == stated
    assert (sum(seen), done.bad) == (23, ())
    assert done.wall_s > 0


def test_of_equal_scores_the_lower_class_comes_first(engine: Make, images: Make) -> None:
    source = images([4])
    done = evaluate([engine()], source, source.labels, TWO)
    assert done.predictions[0].choices.tolist() == [[4, 3, 5, 2, 6]]
    assert done.predictions[0].tied == 0


def test_images_with_several_best_classes_are_counted(engine: Make, images: Make) -> None:
    source = images([1, 2, 3, 4, 5, 6, 7])
    flat = engine(answer=lambda batch: np.zeros((len(batch), 10), np.float32))
    done = evaluate([engine(), flat], source, source.labels, TWO)
    assert [one.tied for one in done.predictions] == [0, 7]
    assert done.predictions[1].choices.tolist() == [[0, 1, 2, 3, 4]] * 7


def test_bad_images_are_listed_and_left_out_for_every_engine(engine: Make, images: Make) -> None:
    source = images([1, 2, 3, 4, 5, 6], broken={0, 3})
    done = evaluate([engine(), engine()], source, source.labels, TWO)
    assert [(image.key, image.reason) for image in done.bad] == [
        ("stated[0]", "it is damaged"),
        ("stated[3]", "it is damaged"),
    ]
    assert done.images.tolist() == [1, 2, 4, 5]
    assert done.labels.tolist() == [2, 3, 5, 6]
    assert [one.choices[:, 0].tolist() for one in done.predictions] == [[2, 3, 5, 6]] * 2


def test_a_whole_batch_of_bad_images_runs_nowhere(engine: Make, images: Make) -> None:
    source, reader = images([1] * 9, broken={4, 5, 6, 7}), engine()
    done = evaluate([reader], source, source.labels, TWO)
    assert sorted(reader.calls) == [1, 4]
    assert len(done.images) == 5


def test_only_bad_images_are_an_error_that_says_why(engine: Make, images: Make) -> None:
    source = images([1, 2], broken={0, 1})
    with pytest.raises(DataError, match=r"No image can be used: stated\[0\]: it is damaged; stated\[1\]"):
        evaluate([engine()], source, source.labels, TWO)


def test_an_empty_source_is_an_error(engine: Make, images: Make) -> None:
    source = images([])
    with pytest.raises(DataError, match="No image can be used"):
        evaluate([engine()], source, source.labels, TWO)


@pytest.mark.parametrize("label", [-1, 10])
def test_a_label_outside_the_model_is_named_before_anything_runs(
    engine: Make, images: Make, label: int
) -> None:
    source, reader = images([1, 2, 3], labels=[1, label, 3]), engine()
    with pytest.raises(DataError, match=rf"stated\[1\]: its label {label} is not a class.*0 to 9"):
        evaluate([reader], source, source.labels, TWO)
    assert reader.calls == source.decoded == []


def test_models_of_different_classes_do_not_share_a_pass(engine: Make, images: Make, model: Make) -> None:
    source = images([1])
    other = engine(model(network="other", classes=("a", "b")))
    with pytest.raises(UsageError, match="'reader' has 10 classes, 'other' has 2 classes"):
        evaluate([engine(), other], source, source.labels, TWO)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_names_image_and_engine(engine: Make, images: Make, value: float) -> None:
    def answer(batch: Any) -> Any:
        scores = np.zeros((len(batch), 10), np.float32)
        scores[batch[:, 0, 0, 0] == 7, 3] = value
        return scores

    source = images([1, 2, 3, 4, 5, 7, 8])
    with pytest.raises(EngineError, match=r"'fake'.*NaN.*'reader' for stated\[5\]"):
        evaluate([engine(answer=answer)], source, source.labels, TWO)


def test_an_engine_that_fails_stops_the_pass(engine: Make, images: Make) -> None:
    def answer(_: Any) -> Any:
        raise EngineError("It broke.", "Mend it.")

    source = images([1] * 500)
    with pytest.raises(EngineError, match="It broke"):
        evaluate([engine(answer=answer)], source, source.labels, TWO)
    assert len(source.decoded) < 100


def test_a_static_batch_takes_any_number_of_images(engine: Make, images: Make, model: Make) -> None:
    stated = [index % 10 for index in range(11)]
    source, reader = images(stated), engine(model(batch=3))
    done = evaluate([reader], source, source.labels, TWO)
    assert done.predictions[0].choices[:, 0].tolist() == stated
    assert set(reader.calls) == {3}


def test_an_image_is_decoded_once_for_all_engines(engine: Make, images: Make, model: Make) -> None:
    floats = model(
        preprocess=Preprocess(resize=None, crop=(4, 4)),
        input=TensorSpec(name="input", dtype="float32", shape=("n", 3, 4, 4)),
    )
    of_floats = engine(floats, answer=lambda batch: np.zeros((len(batch), 10), np.float32))
    source = images([1, 2, 3, 4, 5])
    done = evaluate([engine(), of_floats, engine()], source, source.labels, TWO)
    assert sorted(source.decoded) == [0, 1, 2, 3, 4]
    assert [one.choices[0, 0] for one in done.predictions] == [1, 0, 1]


def test_engines_of_the_same_form_share_the_prepared_images(
    engine: Make, images: Make, model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgecnn.preprocess import prepare

    prepared: list[str] = []

    def counting(image: Any, spec: Any, *, name: str) -> Any:
        prepared.append(name)
        return prepare(image, spec, name=name)

    monkeypatch.setattr("edgecnn.validate.one_pass.prepare", counting)
    source = images([1, 2])
    renamed = replace(model(), input=TensorSpec(name="data_0", dtype="uint8", shape=(1, 4, 4, 3)))
    evaluate([engine(), engine(renamed)], source, source.labels, TWO)
    assert sorted(prepared) == ["stated[0]", "stated[1]"]


def test_the_difference_to_the_reference_adds_up_over_batches(engine: Make, images: Make) -> None:
    def noisy(batch: Any) -> Any:
        return reader.answer(batch) + batch[:, 0, 0, :1] / np.float32(8)

    stated = [index % 10 for index in range(30)]
    source, reader = images(stated), engine()
    done = evaluate([reader, engine(answer=noisy)], source, source.labels, TWO, paired=True)
    whole = source.pixels
    difference = done.predictions[1].difference
    assert done.predictions[0].difference is None
    assert difference is not None
    assert difference.max_abs == 9 / 8
    assert 10 * np.log10(difference.signal / difference.noise) == pytest.approx(
        sqnr_db(reader.answer(whole), noisy(whole))
    )


def test_logits_and_probabilities_have_no_difference_in_decibel(
    engine: Make, images: Make, model: Make
) -> None:
    source = images([1, 2])
    other = engine(model(scores="probabilities"))
    done = evaluate([engine(), other], source, source.labels, TWO, paired=True)
    assert done.predictions[1].difference is None


def test_without_a_reference_nothing_is_compared(engine: Make, images: Make) -> None:
    source = images([1, 2])
    done = evaluate([engine(), engine()], source, source.labels, TWO)
    assert [one.difference for one in done.predictions] == [None, None]


def test_an_engine_runs_in_parallel_only_where_it_may(engine: Make, images: Make) -> None:
    source = images([1] * 40)
    able, unable = engine(seconds=0.002), engine(seconds=0.002, parallel=False)
    evaluate([able], source, source.labels, TWO)
    evaluate([unable], source, source.labels, TWO)
    assert (able.most_inside, unable.most_inside) == (2, 1)


def test_waiting_for_a_turn_is_not_running_time(engine: Make, images: Make) -> None:
    source = images([1] * 40)
    reader = engine(seconds=0.005, parallel=False)
    done = evaluate([reader], source, source.labels, PassSettings(batch=4, workers=4))
    assert 0.05 <= done.predictions[0].run_s <= done.wall_s


def test_decoding_goes_on_while_an_engine_runs(engine: Make, images: Make) -> None:
    # Both stages sleep, so that the machine's cores do not matter: 10 batches of 10 + 10 ms each.
    class Slow(type(images([]))):  # type: ignore[misc]
        def image(self, index: int) -> Any:
            time.sleep(0.01)
            return super().image(index)

    plain = images([1] * 20)
    source = Slow(plain.name, plain.root, plain.classes, plain.labels, plain.pixels)
    settings = PassSettings(batch=1, workers=2)
    done = evaluate([engine(seconds=0.01, parallel=False)], source, source.labels, settings)
    one_after_the_other = 20 * 0.02
    assert done.wall_s < 0.75 * one_after_the_other


def test_memory_is_bounded_by_the_batches_under_way(engine: Make, images: Make) -> None:
    source = images([1] * 200)
    ahead: list[int] = []

    def observer(done: int) -> None:
        finished.append(done)
        ahead.append(len(source.decoded) - sum(finished))

    finished: list[int] = []
    evaluate([engine(seconds=0.001)], source, source.labels, TWO, observer=observer)
    assert max(ahead) <= 4 * TWO.batch
    assert all(later >= earlier for earlier, later in pairwise(np.cumsum(finished)))


@pytest.mark.parametrize("fields", [{"batch": 0, "workers": 1}, {"batch": 1, "workers": 0}])
def test_a_pass_of_nothing_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="make no pass"):
        PassSettings(**fields)
