"""Bodies as they were made last, to be sent again without being made again.

What is kept is found by the entity tag that the caller's own statement led to, after that statement, with the reach
in it, has said that this version is to be seen: no other process and no share that ended can make it untrue.
"""

from __future__ import annotations

from collections import OrderedDict

from starlette.requests import Request

MOST_BYTES = 64 * 2**20  # of one process

_Key = tuple[str, str]  # patient, entity tag


class Kept:
    """Bodies within a bound of bytes; the least used goes first."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._size = 0
        self._bodies: OrderedDict[_Key, bytes] = OrderedDict()

    def get(self, key: _Key) -> bytes | None:
        body = self._bodies.get(key)
        if body is not None:
            self._bodies.move_to_end(key)
        return body

    def put(self, key: _Key, body: bytes) -> None:
        if len(body) > self._most // 8 or key in self._bodies:
            return
        self._bodies[key] = body
        self._size += len(body)
        while self._size > self._most:
            self._size -= len(self._bodies.popitem(last=False)[1])


def kept_of(request: Request) -> Kept:
    """What this process keeps."""
    state = request.app.state
    if not hasattr(state, "dicomweb_kept"):
        state.dicomweb_kept = Kept()
    kept: Kept = state.dicomweb_kept
    return kept
