"""Small pictures of the images whose prediction changed, for the page."""

from __future__ import annotations

from collections.abc import Collection
from io import BytesIO

from edgecnn.data import LabelledImages
from edgecnn.errors import ImageError

__all__ = ["thumbnails_of"]

#: Longest side in pixels: twice what the page shows, for dense screens.
_SIDE = 160


def thumbnails_of(source: LabelledImages, keys: Collection[str]) -> dict[str, bytes]:
    """JPEG bytes of those images of ``source`` that ``keys`` name; one that cannot be read is left out."""
    wanted, found = set(keys), {}
    for index in range(len(source)):
        key = source.key(index)
        if key not in wanted:
            continue
        try:
            image = source.image(index)
        except ImageError:
            continue
        image.thumbnail((_SIDE, _SIDE))
        stream = BytesIO()
        image.save(stream, "JPEG", quality=80)
        found[key] = stream.getvalue()
    return found
