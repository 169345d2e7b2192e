"""The items of a sequence that say which images they are for, found by the image.

DICOM PS3.3, C.11.8 (Softcopy VOI LUT) and C.11.35: an item names images and frames, or is for all. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from .dicom_json import Json
from .model_values import first, items, values

_Key = tuple[str, float | None] | None  # an image and a frame, an image, or everything


class Chosen:
    """A sequence put in order once, where each of thousands of frames looks for its item."""

    def __init__(self, model: Json, tag: str) -> None:
        self._items = items(model, tag)
        self._first: dict[_Key, int] = {}
        for place, item in enumerate(self._items):
            for key in _keys(item):
                self._first.setdefault(key, place)

    def item(self, sop_uid: str, frame: int) -> Json | None:
        """The first that is for this frame of this image."""
        keys: tuple[_Key, ...] = ((sop_uid, frame), (sop_uid, None), None)
        found = [self._first[key] for key in keys if key in self._first]
        return self._items[min(found)] if found else None


def _keys(item: Json) -> Iterator[_Key]:
    images = items(item, "00081140")
    if not images:
        yield None
    for image in images:
        uid, frames = first(image, "00081155"), values(image, "00081160")
        if isinstance(uid, str):
            yield from ((uid, each) for each in frames if isinstance(each, int | float))
            if not frames:
                yield uid, None
