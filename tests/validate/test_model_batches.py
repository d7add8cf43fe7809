from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.errors import EngineError
from edgecnn.validate import run_images

Make = Callable[..., Any]


def _pixels(count: int) -> np.ndarray:
    pixels = np.zeros((count, 4, 4, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(count) % 10
    return pixels


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_a_static_batch_gives_the_scores_of_a_dynamic_one(engine: Make, model: Make, count: int) -> None:
    dynamic, static = engine(), engine(model(batch=4))
    images = _pixels(count)
    assert np.array_equal(run_images(static, images), run_images(dynamic, images))
    assert dynamic.calls == [count]
    assert static.calls == [4] * -(-count // 4)


def test_images_of_another_size_are_refused(engine: Make) -> None:
    with pytest.raises(EngineError, match="takes uint8"):
        run_images(engine(), np.zeros((1, 5, 5, 3), np.uint8))
