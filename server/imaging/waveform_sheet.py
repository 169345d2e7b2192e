"""Waveforms on a sheet as paper has them: 25 mm a second, 10 mm a millivolt, a grid of millimetres.

DICOM PS3.18, 10.4.1.1.3 (rendered); PS3.3, C.10.9. What is no voltage fills the height of its row. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .drawing import Drawing, Line, Point, Words
from .waveform import Channel, Group, Values

SECONDS = 10.0  # of each group; more does not fit a sheet
_MOST_GROUPS, _MOST_ROWS = 4, 40
_PER_MM = 4  # units of the drawing
_SPEED, _GAIN = 25.0, 10.0  # millimetres a second, a millivolt
_ROW, _HIGHEST = 20.0, 60.0  # millimetres
_EDGE = 5  # millimetres around
_LINES, _FINE, _COARSE, _INK = 6, "#f8dede", "#eeb4b4", "#101010"
_MILLIVOLTS = {"mV": 1.0, "uV": 1e-3, "µV": 1e-3, "nV": 1e-6, "V": 1e3}


def sheet(groups: Sequence[tuple[Group, Values]], corners: Sequence[Sequence[str]] = ()) -> Drawing:
    """The beginning of each group, one channel below the other; `corners` are lines of words above them."""
    groups, left = groups[:_MOST_GROUPS], _MOST_ROWS
    heads = [line for lines in corners for line in lines]
    seconds = max((min(group.seconds, SECONDS) for group, _ in groups), default=1.0)
    rows: list[tuple[Group, list[_Row]]] = []
    for group, values in groups:
        found = [_Row(*each) for each in zip(group.channels[:left], values[:left], strict=True)]
        left -= len(found)
        rows.append((group, found))
    height = (
        2 * _EDGE
        + _LINES * len(heads)
        + sum(_LINES + sum(each.height for each in found) for _, found in rows)
    )
    drawing = Drawing(round((seconds * _SPEED + 2 * _EDGE) * _PER_MM), math.ceil(height) * _PER_MM)
    top = float(_EDGE)
    for line in heads:
        drawing.shapes.append(Words((_EDGE * _PER_MM, top * _PER_MM), line[:200], 4 * _PER_MM))
        top += _LINES
    for group, found in rows:
        drawing.shapes.append(Words((_EDGE * _PER_MM, top * _PER_MM), _title(group, found), 3 * _PER_MM))
        top += _LINES
        bottom = top + sum(each.height for each in found)
        drawing.shapes += _grid(top, bottom, min(group.seconds, SECONDS) * _SPEED)
        for each in found:
            drawing.shapes += each.drawn(top, group.frequency)
            top += each.height
    return drawing


class _Row:
    """One channel: how high its row is, and how much of it a unit is."""

    def __init__(self, channel: Channel, values: Values) -> None:
        self.channel, self.values = channel, values
        known = values[np.isfinite(values)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        millivolts = _MILLIVOLTS.get(channel.unit)
        self.gain = _GAIN * millivolts if millivolts else (_ROW - 2) / (high - low) if high > low else 1.0
        while (high - low) * self.gain > _HIGHEST:  # half, and half again, as an electrocardiograph does
            self.gain /= 2
        self.height = max(_ROW, math.ceil((high - low) * self.gain) + 4.0)
        self.middle = (low + high) / 2

    def drawn(self, top: float, frequency: float) -> list[Line | Words]:
        """The trace, broken where nothing was recorded, and its name."""
        centre = top + self.height / 2
        step = _SPEED / frequency
        pieces: list[list[Point]] = [[]]
        for at, low, high in _columns(self.values, max(1, int(1 / (step * _PER_MM)))):
            if math.isnan(low):
                pieces.append([])
                continue
            x = (_EDGE + at * step) * _PER_MM
            ends = [low] if low == high else [low, high]
            pieces[-1] += [(x, (centre - (value - self.middle) * self.gain) * _PER_MM) for value in ends]
        lines = [Line(piece, _INK, 1.4) for piece in pieces if len(piece) > 1]
        name = Words(((_EDGE + 1) * _PER_MM, top * _PER_MM), self._name(), 3 * _PER_MM)
        return [*lines, name]

    def _name(self) -> str:
        name = self.channel.name.removeprefix("Lead ").removesuffix("(Einthoven)").strip()
        if self.channel.unit in _MILLIVOLTS or not self.channel.unit:
            return name[:60]
        return f"{name[:60]} ({self.channel.unit[:20]})"


def _columns(values: Values, width: int) -> list[tuple[int, float, float]]:
    """First sample, least and greatest of so many samples: nobody sees more on one column of the sheet."""
    if width == 1:
        return [(at, value, value) for at, value in enumerate(values.tolist())]
    found = []
    for at in range(0, len(values), width):
        part = values[at : at + width]
        part = part[np.isfinite(part)]
        low, high = (float(part.min()), float(part.max())) if part.size else (math.nan, math.nan)
        found.append((at, low, high))
    return found


def _grid(top: float, bottom: float, width: float) -> list[Line | Words]:
    """Millimetres, each fifth one stronger; the strong ones lie above."""
    lines: list[tuple[bool, Line | Words]] = []
    right = _EDGE + width
    for number in range(int(width) + 1):
        x = (_EDGE + number) * _PER_MM
        strong = number % 5 == 0
        lines.append(
            (strong, Line([(x, top * _PER_MM), (x, bottom * _PER_MM)], _COARSE if strong else _FINE))
        )
    for number in range(int(bottom - top) + 1):
        y = (top + number) * _PER_MM
        strong = number % 5 == 0
        points = [(_EDGE * _PER_MM, y), (right * _PER_MM, y)]
        lines.append((strong, Line(points, _COARSE if strong else _FINE)))
    return [line for _, line in sorted(lines, key=lambda each: each[0])]


def _title(group: Group, rows: Sequence[_Row]) -> str:
    """How long it is and how it was drawn."""
    gains = {row.gain for row in rows if row.channel.unit == "mV"}
    gains |= {row.gain * 1e3 for row in rows if row.channel.unit in ("uV", "µV")}
    shown = f"{min(group.seconds, SECONDS):g} s" + (
        f" of {group.seconds:g} s" if group.seconds > SECONDS else ""
    )
    parts = [group.label[:80], shown, f"{group.frequency:g} Hz", f"{_SPEED:g} mm/s"]
    if len(gains) == 1:
        parts.append(f"{gains.pop():g} mm/mV")
    if group.count > len(rows):
        parts.append(f"{len(rows)} of {group.count} channels")
    return " · ".join(part for part in parts if part)
