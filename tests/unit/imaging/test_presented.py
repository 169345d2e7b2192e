"""Overlays, presentation states, words and profiles on pictures whose outcome is known."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from PIL import Image, ImageCms

from server.imaging import presentation
from server.imaging.annotation import annotated, patient_lines, technique_lines
from server.imaging.description import Description, describe
from server.imaging.overlays import Overlay, burn, overlays_of
from server.imaging.picture import Look, picture
from server.imaging.presentation import Graphic, Shutter, State, state_of

GRAY = Description("1.2.840.10008.1.2.1", 40, 60, bits_allocated=8, bits_stored=8)
RAMP = np.repeat(np.arange(40, dtype=np.uint8)[:, None] * 6, 60, axis=1)


def seen(state: State | None = None, description: Description = GRAY, **look: Any) -> np.ndarray:
    content = picture(RAMP, description, Look(format="png", state=state, **look))
    return np.asarray(Image.open(io.BytesIO(content)))


def value(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def plane(rows: int, columns: int, at: list[tuple[int, int]]) -> str:
    bits = np.zeros((rows, columns), np.uint8)
    for row, column in at:
        bits[row, column] = 1
    return base64.b64encode(np.packbits(bits.ravel(), bitorder="little").tobytes()).decode()


def overlay_model(**more: Any) -> dict[str, Any]:
    return {
        "60000010": value("US", 4), "60000011": value("US", 5), "60000050": value("SS", 3, 2),
        "60003000": {"vr": "OW", "InlineBinary": plane(4, 5, [(0, 0), (3, 4)])}, **more,
    }  # fmt: skip


def test_an_overlay_lies_where_its_origin_says():
    """PS3.3, C.9.2.1.3: row and column of its first pixel, from 1."""
    (found,) = overlays_of(overlay_model(), 1)
    out = burn(np.zeros((10, 10), np.uint8), found)
    assert [(int(y), int(x)) for y, x in np.argwhere(out)] == [(2, 1), (5, 5)]
    colour = burn(np.zeros((10, 10, 3), np.uint8), found, (9, 8, 7))
    assert colour[2, 1].tolist() == [9, 8, 7]


def test_an_overlay_beyond_the_image_is_cut():
    far = Overlay("6000", 4, 5, -2, 8, plane(4, 5, [(2, 0), (3, 4)]))
    out = burn(np.zeros((10, 10), np.uint8), far)
    assert np.argwhere(out).tolist() == [[0, 8]]
    assert not burn(np.zeros((3, 3), np.uint8), replace(far, top=50)).any()


def test_overlays_of_frames():
    """PS3.3, C.9.3: frames of an overlay begin at Image Frame Origin."""
    both = np.zeros(40, np.uint8)
    both[[0, 20 + 7]] = 1
    data = base64.b64encode(np.packbits(both, bitorder="little").tobytes()).decode()
    model = overlay_model(**{"60000015": value("IS", 2), "60000051": value("US", 2)})
    model["60003000"]["InlineBinary"] = data
    assert overlays_of(model, 1) == []
    first, second = overlays_of(model, 2)[0], overlays_of(model, 3)[0]
    assert np.argwhere(burn(np.zeros((10, 10)), first)).tolist() == [[2, 1]]
    assert np.argwhere(burn(np.zeros((10, 10)), second)).tolist() == [[3, 3]]
    assert overlays_of(model, 4) == []


@pytest.mark.parametrize(
    "broken", [{"60000010": value("US", 0)}, {"60003000": {"vr": "OW"}}, {"60000010": value("US", 999)}]
)
def test_broken_overlays_are_left_out(broken: dict[str, Any]):
    assert overlays_of({**overlay_model(), **broken}, 1) == []


def test_overlays_are_drawn_unless_a_state_says_otherwise():
    over = replace(GRAY, overlays=[Overlay("6000", 1, 1, 0, 0, plane(1, 1, [(0, 0)]))])
    assert seen(description=over)[0, 0] == 255
    assert seen(State(), description=over)[0, 0] == 0
    assert seen(State(active=["6000"]), description=over)[0, 0] == 255


# -- presentation states


def test_rotation_and_flip():
    """PS3.3, C.10.6: turned clockwise, then flipped left to right."""
    assert seen(State()).shape == (40, 60)
    turned = seen(State(rotation=90))
    assert turned.shape == (60, 40)
    assert turned[0, 0] > turned[0, -1]  # the bright last row is on the left
    assert seen(State(rotation=90, flip=True))[0, 0] < 10
    assert seen(State(rotation=180))[0, 0] > 230
    assert seen(State(rotation=270))[0, 0] < 10


def test_the_displayed_area():
    """PS3.3, C.10.4: corners counted from 1; what lies beyond the image is black."""
    out = seen(State(area=(1, 11, 60, 20)), width=60, height=60)
    assert out.shape == (10, 60)
    assert out[0, 0] == seen()[10, 0]
    beyond = seen(State(area=(-19, 1, 60, 40)))
    assert beyond.shape == (40, 80)
    assert beyond[39, 0] == 0
    assert beyond[39, 30] > 200


@pytest.mark.parametrize(
    ("shutter", "inside", "outside"),
    [
        (Shutter("RECTANGULAR", [10, 10, 50, 30]), (20, 30), (20, 5)),
        (Shutter("CIRCULAR", [30, 20, 8]), (20, 30), (20, 50)),
        (Shutter("POLYGONAL", [5, 5, 55, 5, 55, 35, 5, 35]), (20, 30), (39, 58)),
    ],
)
def test_shutters(shutter: Shutter, inside: tuple[int, int], outside: tuple[int, int]):
    """PS3.3, C.7.6.11."""
    out = seen(State(shutters=[shutter], shutter_value=77))
    assert out[outside] == 77
    assert out[inside] == seen()[inside]


@pytest.mark.parametrize(
    "graphic",
    [
        Graphic("POLYLINE", [5, 5, 50, 5]),
        Graphic("POLYLINE", [5, 5, 50, 5, 50, 30], filled=True),
        Graphic("CIRCLE", [30, 20, 30, 10]),
        Graphic("ELLIPSE", [10, 20, 50, 20, 30, 10, 30, 30]),
        Graphic("POINT", [30, 10]),
        Graphic("INTERPOLATED", [0.1, 0.1, 0.9, 0.1], in_pixels=False),
        Graphic("TEXT", [5, 5], text="Läsion\nвид"),
        Graphic("TEXT", [0.2, 0.2], in_pixels=False, text="x"),
        Graphic("CIRCLE", [1e9, 1e9, 0, 0]),
        Graphic("UNHEARD_OF", [1, 2]),
    ],
)
def test_graphics(graphic: Graphic):
    """PS3.3, C.10.5: each kind marks the picture, none breaks it."""
    plain, drawn = (
        seen(State(), width=300, height=200),
        seen(State(graphics=[graphic]), width=300, height=200),
    )
    assert drawn.shape == plain.shape
    assert (graphic.kind == "UNHEARD_OF" or 1e9 in graphic.points) == np.array_equal(plain, drawn)


def test_a_line_turns_with_the_image():
    line = Graphic("POLYLINE", [0, 0.5, 60, 0.5])
    upright = seen(State(graphics=[line]))
    turned = seen(State(graphics=[line], rotation=90))
    assert upright[0].min() == 255
    assert turned[:, -1].min() == 255


def test_windows_and_tables_of_a_state_come_first():
    """PS3.4, N.2: the state's transformations are used in the place of the image's."""
    own = replace(GRAY, windows=[(10.0, 1.0)], photometric="MONOCHROME1")
    assert seen(State(windows=[(120.0, 240.0)]), description=own)[0, 0] < 5
    assert seen(State(windows=[(120.0, 240.0)], inverse=True), description=own)[0, 0] > 250


def test_colours_of_a_palette():
    red = presentation.Table(0, 16, [65535] * 256)
    dark = presentation.Table(0, 16, [0] * 256)
    assert seen(State(palette=[red, dark, dark]))[5, 5].tolist() == [255, 0, 0]


def test_a_state_is_read_and_travels():
    image = {"00081155": value("UI", "1.5"), "00081150": value("UI", "1.2")}
    model = {
        "00081115": value("SQ", {"0020000E": value("UI", "1.4"), "00081140": value("SQ", image)}),
        "00283110": value("SQ", {"00281050": value("DS", 40), "00281051": value("DS", 400)}),
        "0070005A": value("SQ", {
            "00081140": value("SQ", image), "00700052": value("SL", 1, 1), "00700053": value("SL", 30, 20),
            "00700101": value("DS", 1, 1)}),
        "00700041": value("CS", "Y"), "00700042": value("US", 270),
        "00181600": value("CS", "CIRCULAR"), "00181610": value("IS", 20, 30), "00181612": value("IS", 5),
        "00181622": value("US", 65535), "20500020": value("CS", "INVERSE"),
        "00700060": value("SQ", {"00700002": value("CS", "L"), "00700062": value("IS", 1),
                                 "00700401": value("US", 34885, 53485, 50171)}),
        "00700001": value("SQ", {
            "00700002": value("CS", "L"),
            "00700009": value("SQ", {"00700005": value("CS", "PIXEL"), "00700022": value("FL", 1, 2, 3, 4),
                                     "00700023": value("CS", "POLYLINE")}),
            "00700008": value("SQ", {"00700006": value("ST", "here"), "00700014": value("FL", 0.5, 0.5),
                                     "00700004": value("CS", "DISPLAY")})}),
    }  # fmt: skip
    metadata = orjson.dumps(model)
    assert presentation.references(metadata) == [presentation.Reference("1.4", "1.5")]
    state = state_of(metadata, presentation.GRAYSCALE, "1.5", 1)
    assert (state.windows, state.rotation, state.flip, state.inverse) == ([(40.0, 400.0)], 270, True, True)
    assert (state.area, state.shutters, state.shutter_value) == (
        (1, 1, 30, 20), [Shutter("CIRCULAR", [30.0, 20.0, 5.0])], 255,
    )  # fmt: skip
    assert [graphic.kind for graphic in state.graphics] == ["POLYLINE", "TEXT"]
    assert state.graphics[0].colour[0] > 240 > state.graphics[0].colour[2]
    assert state_of(metadata, presentation.GRAYSCALE, "1.6", 1).area is None
    look = Look(state=state, corners=(("a",), ("b",)), annotation=("patient",))
    assert Look.from_json(orjson.loads(orjson.dumps(look.to_json()))) == look
    assert seen(state).ndim == 3  # red lines make it a picture in colour


def test_nonsense_is_no_state():
    """Values of a wrong kind are left out, one by one."""
    tags = [
        "00081115",
        "00283110",
        "0070005A",
        "00700042",
        "00181600",
        "00700060",
        "00700001",
        "20500010",
        "60001001",
    ]
    for junk in ("x", 7, {"00081140": value("SQ", "x")}, None):
        metadata = orjson.dumps({tag: value("SQ", junk) for tag in tags})
        presentation.references(metadata)
        seen(state_of(metadata, presentation.PSEUDO_COLOUR, "1.5", 1))


# -- words and profiles


def test_words_in_the_corners():
    model = {
        "00100010": value("PN", {"Alphabetic": "Moor^Ada", "Ideographic": "山田^太郎"}), "00100020": value("LO", "A-1"),
        "00080060": value("CS", "CT"), "00180060": value("DS", 120), "00200013": value("IS", 3),
    }  # fmt: skip
    assert patient_lines(model) == ["Moor Ada", "山田 太郎", "A-1"]
    assert technique_lines(model, 2, 5) == ["CT", "kV 120", "Im 3 2/5"]
    out = np.asarray(annotated(Image.new("L", (200, 100), 60), [patient_lines(model), ["CT"]]))
    assert (out[:, :100] > 200).any()
    assert (out[:40, 150:] > 200).any()
    assert np.asarray(annotated(Image.new("L", (20, 20)), [["x"]])).max() == 0  # nobody could read it


def test_what_people_are_called_does_not_break_it():
    words = ["a\0b\n\x1b", "\ud7ff\U0010ffff", "محمد שרון ไทย हिन्दी", "x" * 5000]
    annotated(Image.new("RGB", (300, 300)), [words, []])


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("yes", "sRGB"), ("srgb", "sRGB"), ("adobergb", "Adobe"), ("rommrgb", "RGB"), ("displayp3", "RGB")],
)
@pytest.mark.parametrize("format", ["jpeg", "png"])
def test_profiles(wanted: str, name: str, format: str):
    content = picture(RAMP, GRAY, Look(format=format, icc=wanted))
    image = Image.open(io.BytesIO(content))
    assert image.mode == "RGB"
    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    assert name in ImageCms.getProfileDescription(profile)
    assert "icc_profile" not in Image.open(io.BytesIO(picture(RAMP, GRAY, Look(format=format)))).info


def test_the_profile_of_the_object():
    held = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + b"\0"
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    described = Description("1.2.840.10008.1.2.1", 8, 8, 3, "RGB", icc=base64.b64encode(held).decode())
    as_held = Image.open(io.BytesIO(picture(red, described, Look(format="png", icc="yes"))))
    assert as_held.info["icc_profile"] == held
    wide = Image.open(io.BytesIO(picture(red, described, Look(format="png", icc="displayp3"))))
    assert wide.getpixel((0, 0))[0] < 250
    broken = replace(described, icc=base64.b64encode(b"nonsense").decode())
    assert picture(red, broken, Look(format="png", icc="yes"))


def test_an_optical_path_has_a_profile_too():
    model = {
        "00280010": value("US", 1),
        "00480105": value("SQ", {"00282000": {"vr": "OB", "InlineBinary": "eA=="}}),
    }
    assert describe(orjson.dumps(model), "1.2.840.10008.1.2.1").icc == "eA=="
