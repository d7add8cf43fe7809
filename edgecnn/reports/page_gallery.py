"""The images whose prediction changed, for the page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgecnn.reports.class_names import ClassNames, class_name
from edgecnn.reports.one_line import one_line
from edgecnn.reports.result import Flip
from edgecnn.reports.rows import Row

__all__ = ["MAX_IMAGES", "MAX_THUMBNAIL_BYTES", "Change", "Gallery", "Picture", "gallery_of", "wanted_images"]

#: As many images as one looks through.
MAX_IMAGES = 60

#: Of all thumbnails together, before base64 makes them a third larger; the page stays below 1.5 MB.
MAX_THUMBNAIL_BYTES = 600_000

_CHANGES = 5


@dataclass(frozen=True, slots=True)
class Change:
    """What one or more variants made of one image.

    Attributes:
        names: of the variants.
        kind: "lost", "gained" or "both wrong".
        reference: class name that the reference chose.
        predicted: class name that the variant chose.
    """

    names: tuple[str, ...]
    kind: str
    reference: str
    predicted: str


@dataclass(frozen=True, slots=True)
class Picture:
    """One image.

    Attributes:
        key: of the image.
        source: its thumbnail as a data URI; "" without one.
        label: class name of the truth.
        changes: at most five.
        more: how many changes are not in ``changes``.
    """

    key: str
    source: str
    label: str
    changes: tuple[Change, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Gallery:
    """The images that are shown, and how many are not."""

    pictures: tuple[Picture, ...]
    more: int


def wanted_images(rows: Sequence[Row]) -> tuple[str, ...]:
    """Keys of the images that the gallery shows, if they have thumbnails: most important first.

    Images that most variants lost come first, then those of which most predictions changed.
    """
    flips = _by_image(rows)
    order = sorted(flips, key=lambda key: (-_lost(flips[key]), -len(flips[key]), key))
    return tuple(order[:MAX_IMAGES])


def gallery_of(rows: Sequence[Row], classes: ClassNames, thumbnails: Mapping[str, bytes]) -> Gallery:
    """The pictures of :func:`wanted_images`; without any thumbnails the changes alone.

    Args:
        rows: of the document.
        classes: what the classes of each reference are called.
        thumbnails: key of an image -> JPEG; those that no longer fit into the page are left out.
    """
    flips, left = _by_image(rows), MAX_THUMBNAIL_BYTES
    pictures = []
    for key in wanted_images(rows):
        jpeg = thumbnails.get(key, b"")
        if len(jpeg) > left:
            jpeg = b""
        left -= len(jpeg)
        pictures.append(_picture(key, jpeg, flips[key], classes))
    return Gallery(tuple(pictures), len(flips) - len(pictures))


def _picture(key: str, jpeg: bytes, flips: Sequence[tuple[Row, Flip]], classes: ClassNames) -> Picture:
    alike: dict[tuple[str, str, str], list[str]] = {}
    for row, flip in flips:
        reference, predicted = (
            one_line(class_name(index, row.result, classes)) for index in (flip.reference, flip.predicted)
        )
        change = _kind(flip), reference, predicted
        alike.setdefault(change, []).append(one_line(row.name))
    changes = [Change(tuple(variants), *change) for change, variants in alike.items()]
    source = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" if jpeg else ""
    row, flip = flips[0]
    label = class_name(flip.label, row.result, classes)
    return Picture(one_line(key), source, one_line(label), tuple(changes[:_CHANGES]), len(changes[_CHANGES:]))


def _by_image(rows: Sequence[Row]) -> dict[str, list[tuple[Row, Flip]]]:
    flips: dict[str, list[tuple[Row, Flip]]] = {}
    seen = set()
    for row in rows:
        accuracy = row.result.accuracy
        variant = row.result.variant
        # Batches, threads and scenarios of one model share its flips.
        family = (variant.sha256, variant.engine, variant.precision, variant.options)
        if accuracy is None or family in seen:
            continue
        seen.add(family)
        for flip in accuracy.flipped or ():
            flips.setdefault(flip.key, []).append((row, flip))
    return flips


def _lost(flips: Sequence[tuple[Row, Flip]]) -> int:
    return sum(_kind(flip) == "lost" for _, flip in flips)


def _kind(flip: Flip) -> str:
    if flip.reference == flip.label:
        return "lost"
    return "gained" if flip.predicted == flip.label else "both wrong"
