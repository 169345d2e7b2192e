"""Words on a picture: whose it is and how it was made.

DICOM PS3.18, 8.3.5.1.1 (annotation: patient, technique). Fonts come with the server for Latin, Greek, Cyrillic and
Arabic; for other scripts those of the machine are taken (Debian: fonts-noto-cjk, fonts-unifont). Pure, but for fonts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from .dicom_json import Json

_PACKAGES = ("fontpkg_noto_sans", "fontpkg_noto_sans_arabic")
_MACHINE = (
    "truetype/dejavu/DejaVuSans.ttf",
    "opentype/noto/NotoSansCJK-Regular.ttc",
    "truetype/droid/DroidSansFallbackFull.ttf",
    "truetype/wqy/wqy-microhei.ttc",
    "truetype/freefont/FreeSans.ttf",
    "truetype/liberation/LiberationSans-Regular.ttf",
    "opentype/unifont/unifont.otf",
    "truetype/unifont/unifont.ttf",
)
_LONGEST = 120  # characters of a line
_LEAST = 64  # pixels of a side: nothing can be read on less

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def patient_lines(model: Json) -> list[str]:
    """Name in each of its groups, identifier, birth date and sex."""
    name = next(iter(_values(model, "00100010")), None)
    groups = name if isinstance(name, dict) else {}
    names = [str(groups[key]).replace("^", " ").strip() for key in groups if groups[key]]
    facts = [_text(model, tag) for tag in ("00100020", "00100030", "00100040")]
    return [*names, " ".join(fact for fact in facts if fact)]


def technique_lines(model: Json, frame: int, frames: int) -> list[str]:
    """What was done, where and how: what the acquisition says of itself."""
    lines = [
        _joined(model, "00080080", "00081090"),
        _joined(model, "00081030", "0008103E"),
        _joined(model, "00080020", "00080030"),
        _joined(model, "00080060", "00200060", "00185101", "00180015"),
        _named(model, (("kV", "00180060"), ("mA", "00181151"), ("mAs", "00181152"), ("ms", "00181150"))),
        _named(model, (("TR", "00180080"), ("TE", "00180081"), ("TI", "00180082"), ("FA", "00181314"))),
        _named(model, (("mm", "00180050"), ("z", "00201041"))),
        _named(model, (("Se", "00200011"), ("Im", "00200013")))
        + (f" {frame}/{frames}" if frames > 1 else ""),
    ]
    return [line.strip() for line in lines if line.strip()]


def annotated(image: Image.Image, corners: Sequence[Sequence[str]]) -> Image.Image:
    """The picture with lines in its corners: the first top left, the second top right."""
    if min(image.size) < _LEAST:
        return image
    draw = ImageDraw.Draw(image)
    size = max(9, min(image.size) // 40)
    for corner, lines in enumerate(corners):
        y = size // 2
        for line in lines:
            text = line[:_LONGEST]
            width = sum(font.getlength(run) for run, font in _runs(text, size))
            x = size / 2 if corner == 0 else image.width - width - size / 2
            draw_text(draw, x, y, text, size, _white(image), _black(image))
            y += round(size * 1.3)
    return image


def draw_text(
    draw: ImageDraw.ImageDraw, x: float, y: float, text: str, size: int, ink: Any, edge: Any
) -> None:
    """A line in whatever script, dark around so that it is read on bright parts too."""
    for run, font in _runs(text, size):
        at, stroke = (x, y + size), max(1, size // 12)
        draw.text(at, run, fill=ink, font=font, stroke_width=stroke, stroke_fill=edge, anchor="ls")
        x += font.getlength(run)


def _white(image: Image.Image) -> Any:
    return 255 if image.mode == "L" else (255, 255, 255)


def _black(image: Image.Image) -> Any:
    return 0 if image.mode == "L" else (0, 0, 0)


def _runs(text: str, size: int) -> list[tuple[str, _Font]]:
    """The text cut where another font must take over."""
    found: list[tuple[str, _Font]] = []
    for letter in text:
        if not letter.isprintable():
            letter = " "
        font = (
            found[-1][1]
            if found and (letter == " " or _has(found[-1][1], letter))
            else _font_for(letter, size)
        )
        if found and found[-1][1] is font:
            found[-1] = (found[-1][0] + letter, font)
        else:
            found.append((letter, font))
    return found


def _font_for(letter: str, size: int) -> _Font:
    fonts = _fonts(size)
    return next((font for font in fonts if _has(font, letter)), fonts[0])


@lru_cache(maxsize=16)
def _fonts(size: int) -> tuple[_Font, ...]:
    fonts: list[_Font] = []
    for path in _paths():
        try:
            fonts.append(ImageFont.truetype(str(path), size))
        except OSError:
            continue
    return tuple(fonts) or (ImageFont.load_default(size),)


def _paths() -> Iterable[Path]:
    from importlib.util import find_spec

    for package in _PACKAGES:
        spec = find_spec(package)
        if spec is not None and spec.origin:
            files = sorted((Path(spec.origin).parent / "files").glob("*.ttf"))
            yield from [file for file in files if "Italic" not in file.name]
    for name in _MACHINE:
        path = Path("/usr/share/fonts") / name
        if path.is_file():
            yield path


@lru_cache(maxsize=4096)
def _has(font: _Font, letter: str) -> bool:
    """Whether the font can draw it: what it cannot, it draws as it draws a character that nobody has."""
    if not isinstance(font, ImageFont.FreeTypeFont):
        return letter.isascii()
    return bytes(font.getmask(letter)) != bytes(font.getmask("\U0010fffe")) or letter == " "


def _values(model: Json, tag: str) -> list[Any]:
    return list((model.get(tag) or {}).get("Value") or [])


def _text(model: Json, tag: str) -> str:
    value = next(iter(_values(model, tag)), None)
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None or isinstance(value, dict) else str(value)


def _joined(model: Json, *tags: str) -> str:
    return " ".join(text for tag in tags if (text := _text(model, tag)))


def _named(model: Json, facts: Sequence[tuple[str, str]]) -> str:
    return " ".join(f"{name} {text}" for name, tag in facts if (text := _text(model, tag)))
