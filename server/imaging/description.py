"""What must be known of pixels to decode and to show them, taken from an instance's metadata.

DICOM PS3.3, C.7.6.3 (Image Pixel), C.7.6.16 (functional groups), C.11.1 (Modality LUT), C.11.2 (VOI LUT). Plain
values only: a description travels to the process that decodes.
"""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from .dicom_json import ROOT, Json
from .overlays import Overlay, hidden_in, overlays_of

_LARGEST_KEPT = 16 * 2**20  # bytes of a header


@dataclass(frozen=True)
class Table:
    """A look-up table as the standard describes it: how many entries, the first value mapped, bits an entry."""

    first: int
    bits: int
    entries: list[int]


@dataclass(frozen=True)
class Description:
    """The pixels of one frame."""

    transfer_syntax: str
    rows: int
    columns: int
    samples: int = 1
    photometric: str = "MONOCHROME2"
    bits_allocated: int = 8
    bits_stored: int = 8
    signed: bool = False
    planar: int = 0
    kind: str = "integer"  # or float, double
    big: bool = False
    word: int = 1  # bytes of a word in a big endian value
    slope: float = 1.0
    intercept: float = 0.0
    windows: list[tuple[float, float]] = field(default_factory=list)  # center, width
    function: str = "LINEAR"
    modality_table: Table | None = None
    voi_table: Table | None = None
    palette: list[Table] | None = None
    padding: int | None = None
    aspect: tuple[float, float] = (1.0, 1.0)  # height and width of a pixel
    inverse: bool = False  # Presentation LUT Shape
    high_bit: int | None = None  # None: the stored bits are the lowest ones
    overlays: list[Overlay] = field(default_factory=list)
    hidden: list[tuple[str, int]] = field(default_factory=list)  # overlays in bits of the pixels: group, bit
    icc: str | None = None  # the ICC profile, Base64

    def to_json(self) -> Json:
        """What orjson writes; tables of thousands of entries are shared, not copied."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, values: Json) -> Description:
        """The description that `to_json` gave away."""
        tables = {name: Table(**values[name]) for name in ("modality_table", "voi_table") if values.get(name)}
        palette = [Table(**each) for each in values["palette"]] if values.get("palette") else None
        made = {
            "palette": palette,
            "windows": [(center, width) for center, width in values["windows"]],
            "aspect": tuple(values["aspect"]),
            "overlays": [Overlay(**each) for each in values["overlays"]],
            "hidden": [(group, bit) for group, bit in values["hidden"]],
        }
        return cls(**{**values, **tables, **made})


def _parse(metadata: bytes) -> Json:
    model: Json = orjson.loads(metadata.replace(ROOT, b""))
    return model


# Frame after frame of one object asks for the same header, which may have a thousand functional groups.
_parsed = lru_cache(maxsize=4)(_parse)


def model_of(metadata: bytes) -> Json:
    """The DICOM JSON of an instance, to be read only: it may have been parsed before."""
    return _parsed(metadata) if len(metadata) <= _LARGEST_KEPT else _parse(metadata)


def describe(metadata: bytes, transfer_syntax: str, frame: int = 1) -> Description:
    """The description of one frame (from 1) by the instance's DICOM JSON."""
    model = model_of(metadata)
    of_frame = functional_groups(model, frame)
    pixels = next((tag for tag in ("7FE00010", "7FE00008", "7FE00009") if tag in model), "7FE00010")
    transform = _item(of_frame.get("00289145")) or model
    voi = _item(of_frame.get("00289132")) or model
    bits = {"7FE00008": 32, "7FE00009": 64}.get(pixels, _int(model, "00280100", 8))
    big = transfer_syntax == "1.2.840.10008.1.2.2"
    return Description(
        transfer_syntax=transfer_syntax,
        rows=_int(model, "00280010", 0),
        columns=_int(model, "00280011", 0),
        samples=_int(model, "00280002", 1),
        photometric=_text(model, "00280004", "MONOCHROME2").upper(),
        bits_allocated=bits,
        bits_stored=min(_int(model, "00280101", bits) or bits, bits),
        signed=_int(model, "00280103", 0) == 1,
        planar=_int(model, "00280006", 0),
        kind={"7FE00008": "float", "7FE00009": "double"}.get(pixels, "integer"),
        big=big,
        word=max(bits // 8, 2 if model.get(pixels, {}).get("vr") == "OW" else 1),
        slope=_float(transform, "00281053", 1.0),
        intercept=_float(transform, "00281052", 0.0),
        windows=windows_in(voi),
        function=_text(voi, "00281056", "LINEAR").upper().replace(" ", "_"),
        modality_table=_sequence_table(model, "00283000"),
        voi_table=_sequence_table(voi, "00283010"),
        palette=palette_of(model),
        padding=_int(model, "00280120", None),
        aspect=_aspect(model, of_frame),
        inverse=_text(model, "20500020", "").upper() == "INVERSE",
        high_bit=_int(model, "00280102", None),
        overlays=overlays_of(model, frame),
        hidden=hidden_in(model),
        icc=_profile(model),
    )


def _profile(model: Json) -> str | None:
    """Of the image, or of a microscope's first optical path (PS3.3, C.8.12.5)."""
    path = _item(model.get("00480105")) or {}
    found = (model.get("00282000") or path.get("00282000") or {}).get("InlineBinary")
    return found if isinstance(found, str) else None


def functional_groups(model: Json, frame: int) -> Json:
    """The macros of a frame: its own before the shared ones (PS3.3, C.7.6.16)."""
    shared = _item(model.get("52009229")) or {}
    each = (model.get("52009230") or {}).get("Value") or []
    own = each[frame - 1] if 0 < frame <= len(each) else None
    return {**shared, **own} if isinstance(own, dict) else shared


def _item(element: Any) -> Json | None:
    values = (element or {}).get("Value")
    return values[0] if values and isinstance(values[0], dict) else None


def _values(model: Json, tag: str) -> list[Any]:
    return [value for value in (model.get(tag) or {}).get("Value") or [] if value is not None]


def _int(model: Json, tag: str, otherwise: Any) -> Any:
    values = _values(model, tag)
    return int(values[0]) if values and isinstance(values[0], int | float) else otherwise


def _float(model: Json, tag: str, otherwise: float) -> float:
    values = _values(model, tag)
    return float(values[0]) if values and isinstance(values[0], int | float) else otherwise


def _text(model: Json, tag: str, otherwise: str) -> str:
    values = _values(model, tag)
    return values[0] if values and isinstance(values[0], str) else otherwise


def windows_in(model: Json) -> list[tuple[float, float]]:
    """Centers and widths that can be used."""
    pairs = zip(_values(model, "00281050"), _values(model, "00281051"), strict=False)
    numbers = [(c, w) for c, w in pairs if isinstance(c, int | float) and isinstance(w, int | float)]
    return [(float(center), float(width)) for center, width in numbers if width > 0]


def _sequence_table(model: Json, tag: str) -> Table | None:
    item = _item(model.get(tag))
    return table_in(item) if item else None


def table_in(item: Json) -> Table | None:
    """The table of an item of a Modality, VOI or Presentation LUT Sequence."""
    return _table(item, "00283002", "00283006")


def palette_of(model: Json) -> list[Table] | None:
    """The red, green and blue tables, segmented or not (PS3.3, C.7.9)."""
    tables = [
        _table(model, f"0028110{n}", f"0028120{n}") or _segmented(model, f"0028110{n}", f"0028122{n}")
        for n in (1, 2, 3)
    ]
    found = [table for table in tables if table is not None]
    return found if len(found) == 3 else None


def _table(model: Json, descriptor: str, data: str) -> Table | None:
    described = _descriptor(model, descriptor)
    if described is None:
        return None
    count, first, bits = described
    entries = _entries(model.get(data) or {}, count, bits)
    return Table(first, bits, entries) if entries else None


def _descriptor(model: Json, tag: str) -> tuple[int, int, int] | None:
    """PS3.3, C.11.1.1.1: 0 entries mean 65536; the first value may be written as a negative number."""
    values = _values(model, tag)
    if len(values) < 3 or not all(isinstance(value, int) for value in values[:3]):
        return None
    return values[0] & 0xFFFF or 65536, values[1], values[2] if values[2] in (8, 16) else 16


def _entries(element: Json, count: int, bits: int) -> list[int]:
    if numbers := _values({"x": element}, "x"):
        return [int(number) & 0xFFFF for number in numbers if isinstance(number, int)][:count]
    data = base64.b64decode(element.get("InlineBinary") or b"")
    if bits == 8 and len(data) in (count, count + 1):
        return list(data[:count])
    return list(struct.unpack(f"<{len(data) // 2}H", data[: len(data) // 2 * 2]))[:count]


def _segmented(model: Json, descriptor: str, data: str) -> Table | None:
    """PS3.3, C.7.9.2: discrete (0), linear (1) and indirect (2) segments."""
    described = _descriptor(model, descriptor)
    if described is None:
        return None
    count, first, bits = described
    words = _entries(model.get(data) or {}, 1 << 20, bits)
    entries: list[int] = []
    if not _expand(words, 0, len(words), entries, count, nested=False):
        return None
    return Table(first, bits, entries[:count]) if entries else None


def _expand(words: list[int], at: int, end: int, entries: list[int], count: int, *, nested: bool) -> bool:
    while at + 2 <= end and len(entries) < count:
        code, length = words[at], words[at + 1]
        if code == 0:
            entries += words[at + 2 : at + 2 + length]
            at += 2 + length
        elif code == 1 and at + 2 < end and entries:
            last, target = entries[-1], words[at + 2]
            entries += [last + round((target - last) * step / length) for step in range(1, length + 1)]
            at += 3
        elif code == 2 and at + 3 < end and not nested:
            start = words[at + 2] | words[at + 3] << 16
            if not _expand(words, start, min(len(words), start + 3 * length), entries, count, nested=True):
                return False
            at += 4
        else:
            return False
    return True


def _aspect(model: Json, of_frame: Json) -> tuple[float, float]:
    """Pixels that are not square: by Pixel Spacing of its kinds, or Pixel Aspect Ratio."""
    measures = _item(of_frame.get("00289110")) or {}
    for source, tag in (
        (measures, "00280030"),
        (model, "00280030"),
        (model, "00181164"),
        (model, "00280034"),
    ):
        values = [value for value in _values(source, tag) if isinstance(value, int | float) and value > 0]
        if len(values) >= 2 and 0.05 < values[0] / values[1] < 20:
            return float(values[0]), float(values[1])
    return 1.0, 1.0
