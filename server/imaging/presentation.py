"""Presentation states: how somebody wanted an image to be seen.

DICOM PS3.3, A.33 (Softcopy Presentation States), C.10.4 (Displayed Area), C.10.5 (Graphic Annotation), C.10.6
(Spatial Transformation), C.10.7 (Graphic Layer), C.11.5, C.11.6, C.11.8; C.7.6.10 (Mask), C.7.6.11 (Shutter); C.11.20
(shutters of frames), C.11.35 (modality of each image). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import islice

from .description import Description, Table, model_of, palette_of, table_in, windows_in
from .dicom_json import Json
from .model_values import first, items, number_in, numbers_in, values
from .overlays import Overlay, overlays_of

_STORAGE = "1.2.840.10008.5.1.4.1.1.11."
GRAYSCALE, COLOUR, PSEUDO_COLOUR = f"{_STORAGE}1", f"{_STORAGE}2", f"{_STORAGE}3"
BLENDING, X_RAY, ADVANCED_BLENDING, VARIABLE = (f"{_STORAGE}{number}" for number in (4, 5, 8, 12))
_MOST_OBJECTS = 2000  # graphics of one image
_MOST_POINTS = 200_000  # numbers in all of them together
_MOST_AVERAGED = 32  # frames of a mask
_MOST_MOVED = 10_000.0  # pixels
_PIXEL = 25.4 / 96  # millimetres
_MOST_WORDS = 20_000  # characters in all of them together


def is_presentation_state(sop_class: str) -> bool:
    """Whether it is one that images can be shown by here."""
    return is_blending_state(sop_class) or sop_class in (GRAYSCALE, COLOUR, PSEUDO_COLOUR, X_RAY, VARIABLE)


def is_blending_state(sop_class: str) -> bool:
    """Whether it lays images over others."""
    return sop_class in (BLENDING, ADVANCED_BLENDING)


def is_unapplied_state(sop_class: str) -> bool:
    """Whether it is a presentation state of a kind that images are not shown by here: volumes, planes."""
    return sop_class.startswith(_STORAGE) and not is_presentation_state(sop_class)


@dataclass(frozen=True)
class Reference:
    """An image that a state is for; no frames: all of them."""

    series_uid: str
    sop_uid: str
    frames: tuple[int, ...] = ()
    segments: tuple[int, ...] = ()  # of a segmentation


@dataclass(frozen=True)
class Shutter:
    """What is not covered: RECTANGULAR left, top, right, bottom; CIRCULAR x, y, radius; POLYGONAL x, y, …"""

    shape: str
    numbers: list[float]


@dataclass(frozen=True)
class Graphic:
    """Something drawn: points as x, y, x, y …, in pixels of the image or in parts of the displayed area."""

    kind: str  # POINT, POLYLINE, INTERPOLATED, CIRCLE, ELLIPSE, TEXT
    points: list[float]
    in_pixels: bool = True
    filled: bool = False
    text: str = ""
    colour: tuple[int, int, int] = (255, 255, 255)


@dataclass(frozen=True)
class Mask:
    """What is taken away from a frame (PS3.3, C.7.6.10): the mean of these frames."""

    frames: list[int]
    averaged: int = 1  # frames from this one on whose mean it is taken from
    shift: tuple[int, int] = (0, 0)  # rows and columns that the mask is moved by


@dataclass(frozen=True)
class State:
    """What a presentation state says of one image."""

    windows: list[tuple[float, float]] = field(default_factory=list)
    function: str = "LINEAR"
    voi_table: Table | None = None
    slope: float | None = None
    intercept: float | None = None
    modality_table: Table | None = None
    inverse: bool = False
    lut: Table | None = None  # the presentation LUT
    palette: list[Table] | None = None
    colours: bool = False  # of a colour image: the pipeline of gray values is not used
    rotation: int = 0  # degrees, clockwise
    flip: bool = False  # left to right, after the rotation
    area: tuple[int, int, int, int] | None = None  # left, top, right, bottom; pixels from 1
    aspect: tuple[float, float] | None = None  # height and width of a pixel
    scale: float | None = None  # pixels of the picture for the width of one, where no viewport says how many
    mask: Mask | None = None
    shutters: list[Shutter] = field(default_factory=list)
    shutter_value: int = 0  # 0 to 255
    overlays: list[Overlay] = field(default_factory=list)  # of the state itself
    active: list[str] = field(default_factory=list)  # groups of overlays of the image that are shown
    graphics: list[Graphic] = field(default_factory=list)

    def to_json(self) -> Json:
        """What orjson writes; tables of thousands of entries are shared, not copied."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, given: Json) -> State:
        """The state that `to_json` gave away."""

        def table(name: str) -> Table | None:
            return Table(**given[name]) if given[name] else None

        made = {
            "windows": [(center, width) for center, width in given["windows"]],
            "voi_table": table("voi_table"),
            "modality_table": table("modality_table"),
            "lut": table("lut"),
            "palette": [Table(**each) for each in given["palette"]] if given["palette"] else None,
            "area": tuple(given["area"]) if given["area"] else None,
            "aspect": tuple(given["aspect"]) if given["aspect"] else None,
            "mask": None,  # taken away before the pixels travel
            "shutters": [Shutter(**each) for each in given["shutters"]],
            "overlays": [Overlay(**each) for each in given["overlays"]],
            "graphics": [Graphic(**{**each, "colour": tuple(each["colour"])}) for each in given["graphics"]],
        }
        return cls(**{**given, **made})


def references(metadata: bytes) -> list[Reference]:
    """The images that a state is for, in its order."""
    return references_in(model_of(metadata))


def references_in(model: Json) -> list[Reference]:
    """The images of a Referenced Series Sequence."""
    return [
        each
        for series in items(model, "00081115")
        if isinstance(uid := first(series, "0020000E"), str)
        for each in images_in(series, uid)
    ]


def images_in(model: Json, series_uid: str) -> list[Reference]:
    """The images of a Referenced Image Sequence, which are of this series."""
    found = []
    for image in items(model, "00081140"):
        frames, segments = (
            tuple(n for n in values(image, tag) if isinstance(n, int)) for tag in ("00081160", "0062000B")
        )
        if isinstance(uid := first(image, "00081155"), str):
            found.append(Reference(series_uid, uid, frames, segments))
    return found


def toned_by(model: Json, sop_uid: str, frame: int, palette: list[Table] | None = None) -> State:
    """What a data set says of the gray values of this frame of this image, and no more: modality, VOI, colours."""
    voi = next((item for item in items(model, "00283110") if _is_for(item, sop_uid, frame)), {})
    each = next((item for item in items(model, "00283001") if _is_for(item, sop_uid, frame)), model)
    return tones(voi, each, palette)


def tones(voi: Json, each: Json, palette: list[Table] | None) -> State:
    """The tones that the item for VOI and that for modality say."""
    modality = next(iter(items(each, "00283000")), None)
    return State(
        windows=windows_in(voi),
        function=str(first(voi, "00281056") or "LINEAR").upper(),
        voi_table=next((table_in(item) for item in items(voi, "00283010")), None),
        slope=number_in(each, "00281053"),
        intercept=number_in(each, "00281052"),
        modality_table=table_in(modality) if modality else None,
        palette=palette,
        aspect=(1.0, 1.0),
    )


def state_of(metadata: bytes, sop_class: str, sop_uid: str, frame: int) -> State:
    """What the state says of this frame of this image."""
    model = model_of(metadata)
    area = next((item for item in items(model, "0070005A") if _is_for(item, sop_uid, frame)), {})
    lut = next(iter(items(model, "20500010")), None)
    palette = palette_of(model) if sop_class == PSEUDO_COLOUR else None
    return replace(
        toned_by(model, sop_uid, frame, palette),
        inverse=first(model, "20500020") == "INVERSE",
        lut=table_in(lut) if lut else None,
        colours=sop_class == COLOUR or is_blending_state(sop_class),
        rotation=_rotation(model),
        flip=first(model, "00700041") == "Y",
        area=_area(area),
        aspect=_aspect(area),
        scale=_scale(area),
        mask=None if is_blending_state(sop_class) else _mask(model, frame),
        shutters=_shutters(_of_frame(model, sop_uid, frame)),
        shutter_value=int(number_in(_of_frame(model, sop_uid, frame), "00181622") or 0) * 255 // 65535,
        overlays=[each for each in overlays_of(model, frame) if first(model, f"{each.group}1001")],
        active=[tag[:4] for tag in model if tag[:2] == "60" and tag[4:] == "1001" and first(model, tag)],
        graphics=list(_bounded(_graphics(model, sop_uid, frame))),
    )


def under(description: Description, state: State) -> Description:
    """The image's description with what the state says in the place of its own (PS3.4, N.2)."""
    overlays = [each for each in description.overlays if each.group in state.active]
    changed = replace(description, overlays=overlays, aspect=state.aspect or description.aspect)
    if state.colours or description.samples != 1 or description.photometric == "PALETTE COLOR":
        return changed
    slope = description.slope if state.slope is None else state.slope
    intercept = description.intercept if state.intercept is None else state.intercept
    own = state.modality_table or (None if state.slope is not None else description.modality_table)
    return replace(
        changed,
        photometric="MONOCHROME2",
        inverse=state.inverse,
        slope=slope,
        intercept=intercept,
        modality_table=own,
        windows=state.windows,
        function=state.function,
        voi_table=state.voi_table,
    )


def _is_for(item: Json, sop_uid: str, frame: int) -> bool:
    images = items(item, "00081140")
    for image in images:
        frames = values(image, "00081160")
        if first(image, "00081155") == sop_uid and (not frames or frame in frames):
            return True
    return not images


def _rotation(model: Json) -> int:
    value = first(model, "00700042")
    return value % 360 if isinstance(value, int) and value % 90 == 0 else 0


def _area(item: Json) -> tuple[int, int, int, int] | None:
    one, other = numbers_in(item, "00700052"), numbers_in(item, "00700053")
    if len(one) < 2 or len(other) < 2:
        return None
    (left, right), (top, bottom) = sorted((int(one[0]), int(other[0]))), sorted((int(one[1]), int(other[1])))
    return left, top, right, bottom


def _aspect(item: Json) -> tuple[float, float] | None:
    for tag in ("00700101", "00700102"):
        values = [value for value in numbers_in(item, tag) if value > 0]
        if len(values) >= 2 and 0.05 < values[0] / values[1] < 20:
            return values[0], values[1]
    return None


def _scale(item: Json) -> float | None:
    """PS3.3, C.10.4: MAGNIFY by its ratio, TRUE SIZE on a display of 96 pixels an inch, as browsers count."""
    match first(item, "00700100"):
        case "MAGNIFY":
            found = number_in(item, "00700103")
        case "TRUE SIZE":
            spacing = numbers_in(item, "00700101")
            found = spacing[1] / _PIXEL if len(spacing) >= 2 else None
        case _:
            return None
    return found if found is not None and 0.001 < found < 1000 else None


def _mask(model: Json, frame: int) -> Mask | None:
    """The item of the Mask Subtraction Sequence that is for this frame, where the state wants it to be seen so."""
    if first(model, "00281090") == "NAT":
        return None
    for item in items(model, "00286100"):
        ranges = [int(number) for number in numbers_in(item, "00286102")]
        if ranges and not any(
            low <= frame <= high for low, high in zip(ranges[::2], ranges[1::2], strict=False)
        ):
            continue
        averaged = max(1, min(_MOST_AVERAGED, int(number_in(item, "00286112") or 1)))
        moved = [max(-_MOST_MOVED, min(_MOST_MOVED, number)) for number in numbers_in(item, "00286114")]
        shift = (round(moved[0]), round(moved[1])) if len(moved) >= 2 else (0, 0)
        match first(item, "00286101"):
            case "AVG_SUB":
                frames = [int(number) for number in numbers_in(item, "00286110")][:_MOST_AVERAGED]
            case "TID":
                frames = [frame - int(number_in(item, "00286120") or 1)]
            case _:
                continue
        if frames:
            return Mask(frames, averaged, shift)
    return None


def _of_frame(model: Json, sop_uid: str, frame: int) -> Json:
    """What holds the shutter of a frame: an item of its own (C.11.20), or the state."""
    own = (item for item in items(model, "00189472") if _is_for(item, sop_uid, frame))
    return next(own, model)


def _shutters(model: Json) -> list[Shutter]:
    found = []
    for shape in values(model, "00181600"):
        if shape == "RECTANGULAR":
            tags = ("00181602", "00181606", "00181604", "00181608")
            numbers = [number_in(model, tag) for tag in tags]
        elif shape == "CIRCULAR":
            center = numbers_in(model, "00181610")
            numbers = [center[1], center[0], number_in(model, "00181612")] if len(center) >= 2 else [None]
        elif shape == "POLYGONAL":
            flat = numbers_in(model, "00181620")
            numbers = [n for pair in zip(flat[1::2], flat[::2], strict=False) for n in pair]
        else:
            continue
        whole = [number for number in numbers if number is not None]
        if len(whole) == len(numbers) and (shape != "POLYGONAL" or len(whole) >= 6):
            found.append(Shutter(shape, whole))
    return found


def _bounded(graphics: Iterable[Graphic]) -> Iterable[Graphic]:
    """So many as can be drawn in sensible time."""
    points = words = 0
    for graphic in islice(graphics, _MOST_OBJECTS):
        points, words = points + len(graphic.points), words + len(graphic.text)
        if points > _MOST_POINTS or words > _MOST_WORDS:
            return
        yield graphic


def _graphics(model: Json, sop_uid: str, frame: int) -> Iterable[Graphic]:
    """The objects, those of lower layers first."""
    layers = {first(layer, "00700002"): layer for layer in items(model, "00700060")}

    def order(item: Json) -> int:
        value = first(layers.get(first(item, "00700002"), {}), "00700062")
        return value if isinstance(value, int) else 0

    for item in sorted(items(model, "00700001"), key=order):
        if not _is_for(item, sop_uid, frame):
            continue
        colour = _colour(layers.get(first(item, "00700002"), {}))
        for each in items(item, "00700009"):
            points = numbers_in(each, "00700022")
            if len(points) >= 2 and len(points) % 2 == 0:
                in_pixels = first(each, "00700005") != "DISPLAY"
                filled = first(each, "00700024") == "Y"
                yield Graphic(str(first(each, "00700023")), points, in_pixels, filled, colour=colour)
        for each in items(item, "00700008"):
            yield from _text(each, colour)


def _text(item: Json, colour: tuple[int, int, int]) -> Iterable[Graphic]:
    """Words at the corner of their box, or at the point that they are anchored to."""
    words = str(first(item, "00700006") or "")
    box, anchor = numbers_in(item, "00700010"), numbers_in(item, "00700014")
    box_in_pixels, anchor_in_pixels = (first(item, tag) != "DISPLAY" for tag in ("00700003", "00700004"))
    if len(box) >= 2:
        yield Graphic("TEXT", box[:2], box_in_pixels, text=words, colour=colour)
        if len(anchor) >= 2 and first(item, "00700015") == "Y" and box_in_pixels == anchor_in_pixels:
            yield Graphic("POLYLINE", [*anchor[:2], *box[:2]], box_in_pixels, colour=colour)
    elif len(anchor) >= 2:
        yield Graphic("TEXT", anchor[:2], anchor_in_pixels, text=words, colour=colour)


def _colour(layer: Json) -> tuple[int, int, int]:
    """The colour recommended for a layer (PS3.3, C.10.7.1.1: CIELab in 16 bits), or its gray."""
    lab = numbers_in(layer, "00700401")
    if len(lab) >= 3:
        return _rgb_of_lab(lab[0] / 65535 * 100, lab[1] / 65535 * 255 - 128, lab[2] / 65535 * 255 - 128)
    gray = number_in(layer, "00700066")
    level = 255 if gray is None else max(0, min(255, round(gray / 65535 * 255)))
    return level, level, level


def _rgb_of_lab(lightness: float, a: float, b: float) -> tuple[int, int, int]:
    fy = (lightness + 16) / 116
    x, y, z = (
        white * (t**3 if t**3 > 0.008856 else (t - 16 / 116) / 7.787)
        for t, white in ((fy + a / 500, 0.95047), (fy, 1.0), (fy - b / 200, 1.08883))
    )
    linear = (
        3.2406 * x - 1.5372 * y - 0.4986 * z,
        -0.9689 * x + 1.8758 * y + 0.0415 * z,
        0.0557 * x - 0.2040 * y + 1.0570 * z,
    )
    red, green, blue = (
        round(255 * max(0.0, min(1.0, 12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055)))
        for c in linear
    )
    return red, green, blue
