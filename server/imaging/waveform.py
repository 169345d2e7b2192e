"""Waveforms as numbers: electrocardiograms, pressures, breath, sound.

DICOM PS3.3, C.10.9 (Waveform): multiplex groups of channels, samples interleaved; C.10.9.1.4 (channel sensitivity).
Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dicom_json import Json

SEQUENCE, DATA = "54000100", "54001010"
_TYPES = {
    "SB": "i1",
    "UB": "u1",
    "SS": "<i2",
    "US": "<u2",
    "SL": "<i4",
    "UL": "<u4",
    "SV": "<i8",
    "UV": "<u8",
}
_MOST = 1e12  # beyond, a number is none that was measured
_MOST_CHANNELS = 64  # that are read of one group

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Channel:
    """What a channel measures, and what a sample of it is worth."""

    name: str
    unit: str  # as UCUM writes it; empty: a number without one
    factor: float
    baseline: float


@dataclass(frozen=True)
class Group:
    """A multiplex group: channels that were sampled together."""

    number: int  # of its item, from 1
    label: str
    channels: tuple[Channel, ...]
    count: int  # channels there are; more than `channels` where there are very many
    samples: int
    frequency: float  # samples a second
    type: str  # of numpy
    padding: int | None

    @property
    def seconds(self) -> float:
        return self.samples / self.frequency

    def size(self, seconds: float) -> int:
        """Bytes of the first seconds."""
        samples = min(self.samples, round(seconds * self.frequency))
        return samples * self.count * np.dtype(self.type).itemsize


def is_waveform(metadata: bytes) -> bool:
    """Whether the object has waveforms, by its DICOM JSON."""
    return f'"{SEQUENCE}":'.encode() in metadata


def groups_of(model: Json) -> list[Group]:
    """The groups that can be read; one with samples of another kind (mu-law, A-law) is left out."""
    found = (_group(item, number) for number, item in enumerate(_items(model, SEQUENCE), 1))
    return [group for group in found if group is not None]


def values_of(group: Group, data: bytes) -> Values:
    """A row a channel, in its unit; what was not recorded is NaN."""
    whole = len(data) // (group.count * np.dtype(group.type).itemsize) * group.count
    raw = np.frombuffer(data, group.type, whole).reshape(-1, group.count)[:, : len(group.channels)]
    values = raw.astype(float)
    if group.padding is not None:
        values[raw == group.padding] = np.nan
    factors = np.array([channel.factor for channel in group.channels])
    baselines = np.array([channel.baseline for channel in group.channels])
    with np.errstate(all="ignore"):
        scaled: Values = (values * factors + baselines).T
    return np.where(np.abs(scaled) < _MOST, scaled, np.nan)


def _group(item: Json, number: int) -> Group | None:
    count, samples = int(_number(item, "003A0005", 0)), int(_number(item, "003A0010", 0))
    frequency, type = _number(item, "003A001A", 0.0), _TYPES.get(str(_first(item, "54001006") or "").upper())
    if not (0 < count <= 8192 and samples > 0 and frequency > 0 and type):
        return None
    said = int(_number(item, "54001004", 0))
    if said and said != np.dtype(type).itemsize * 8:
        return None
    definitions = _items(item, "003A0200")[:_MOST_CHANNELS]
    channels = [_channel(each, at) for at, each in enumerate(definitions, 1)]
    channels += [
        Channel(f"Channel {at}", "", 1.0, 0.0)
        for at in range(len(channels) + 1, min(count, _MOST_CHANNELS) + 1)
    ]
    label = str(_first(item, "003A0020") or "")
    return Group(
        number, label, tuple(channels[:count]), count, samples, frequency, type, _padding(item, type)
    )


def _channel(item: Json, at: int) -> Channel:
    source = next(iter(_items(item, "003A0208")), {})
    unit = next(iter(_items(item, "003A0211")), {})
    name = _first(item, "003A0203") or _first(source, "00080104") or f"Channel {at}"
    factor = _number(item, "003A0210", 1.0) * _number(item, "003A0212", 1.0)
    return Channel(str(name), str(_first(unit, "00080100") or ""), factor, _number(item, "003A0213", 0.0))


def _padding(item: Json, type: str) -> int | None:
    """Waveform Padding Value (5400,100A), which has the kind of a sample."""
    element = item.get("5400100A") or {}
    if isinstance(value := _first(item, "5400100A"), int):
        return value
    from base64 import b64decode

    data = b64decode(element.get("InlineBinary") or "")
    size = np.dtype(type).itemsize
    return int(np.frombuffer(data[:size], type)[0]) if len(data) >= size else None


def _items(model: Json, tag: str) -> list[Json]:
    return [value for value in (model.get(tag) or {}).get("Value") or [] if isinstance(value, dict)]


def _first(model: Json, tag: str) -> Any:
    values = (model.get(tag) or {}).get("Value") or [None]
    return values[0]


def _number(model: Json, tag: str, otherwise: float) -> float:
    value = _first(model, tag)
    return float(value) if isinstance(value, int | float) else otherwise
