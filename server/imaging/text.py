"""Text inside DICOM objects, whatever its character set, as right Unicode; and its folded form for searching.

DICOM PS3.5, 6.1 (character repertoires, code extensions) and 6.2.1 (person names); PS3.3, C.12.1.1.2.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

# PS3.3, C.12.1.1.2: the defined terms without code extensions, and with them (the initial G0/G1 of each).
_WHOLE = {"ISO_IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk"}
_SINGLE = {
    "6": "latin-1", "13": "shift_jis", "100": "latin-1", "101": "iso8859-2", "109": "iso8859-3",
    "110": "iso8859-4", "126": "iso8859-7", "127": "iso8859-6", "138": "iso8859-8", "144": "iso8859-5",
    "148": "iso8859-9", "166": "cp874", "203": "iso8859-15", "87": "iso2022_jp", "159": "iso2022_jp_2",
    "149": "euc_kr", "58": "gb2312",
}  # fmt: skip
# Escape sequences that change the right half (G1).
_G1 = {
    b"-A": "latin-1", b"-B": "iso8859-2", b"-C": "iso8859-3", b"-D": "iso8859-4", b"-F": "iso8859-7",
    b"-G": "iso8859-6", b"-H": "iso8859-8", b"-L": "iso8859-5", b"-M": "iso8859-9", b"-T": "cp874",
    b"-b": "iso8859-15", b")I": "shift_jis", b"$)C": "euc_kr", b"$)A": "gb2312",
}  # fmt: skip
# Escape sequences that change the left half (G0); the multi-byte ones are left to Python's own decoder.
_G0 = {b"(B": "", b"(J": "", b"$B": "iso2022_jp", b"$@": "iso2022_jp", b"$(D": "iso2022_jp_1"}
_ESCAPE = re.compile(rb"\x1b(\$[()]?.|[()\-].)", re.DOTALL)
_RESETS = re.compile(rb"([\\^=\r\n\f\t])")


class Decoder:
    """Decodes the values of a data set by its Specific Character Set; remembers what went wrong."""

    def __init__(self, terms: tuple[str, ...], trouble: set[str]) -> None:
        self._trouble = trouble
        self._codec, self._extended, known = _codec(terms)
        self._guess = not known or not any(terms)
        if not known:
            trouble.add("an unknown character set")

    def text(self, value: bytes) -> str:
        """The text of a value. Never raises: what cannot be decoded becomes U+FFFD and is noted."""
        if b"\0" in value:  # a padding that some use for spaces; no text column takes it
            value = value.replace(b"\0", b"")
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii")
        if self._extended and b"\x1b" in value:
            return self._with_escapes(value)
        if self._guess:
            return self._undeclared(value)
        try:
            return value.decode(self._codec)
        except UnicodeDecodeError:
            self._trouble.add("text that is not in its character set")
            return value.decode(self._codec, "replace")

    def _undeclared(self, value: bytes) -> str:
        """Bytes outside of the default repertoire: most such files are UTF-8 or Latin 1."""
        self._trouble.add("text outside of the default character set")
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.decode("latin-1")

    def _with_escapes(self, value: bytes) -> str:
        left, right = "", self._codec
        pieces = []
        for piece, escape in _pieces(value):
            if escape in _G0:
                left = _G0[escape]
            elif escape in _G1:
                right = _G1[escape]
            elif escape:
                self._trouble.add("an unknown escape sequence")
            if left:
                pieces.append(self._strictly(b"\x1b" + escape + piece if escape in _G0 else piece, left))
                continue
            # PS3.5 6.1.2.5.3: a delimiter brings the initial character sets back.
            for index, part in enumerate(_RESETS.split(piece)):
                if index % 2:
                    right = self._codec
                pieces.append(self._strictly(part, right))
        return "".join(pieces)

    def _strictly(self, value: bytes, codec: str) -> str:
        try:
            return value.decode(codec)
        except UnicodeDecodeError:
            self._trouble.add("text that is not in its character set")
            return value.decode(codec, "replace")


def _pieces(value: bytes) -> list[tuple[bytes, bytes]]:
    """The stretches between escape sequences, each with the sequence before it."""
    found = list(_ESCAPE.finditer(value))
    if not found:
        return [(value, b"")]
    pieces = [(value[: found[0].start()], b"")]
    ends = [*(each.start() for each in found[1:]), len(value)]
    pieces += [(value[each.end() : end], each[1]) for each, end in zip(found, ends, strict=True)]
    return pieces


@lru_cache(maxsize=256)
def _codec(terms: tuple[str, ...]) -> tuple[str, bool, bool]:
    """Python's codec of the first term, whether code extensions may occur, whether the term is known."""
    first = _tidy(terms[0]) if terms else ""
    if first in _WHOLE:
        return _WHOLE[first], False, True
    extended = len(terms) > 1 or first.startswith("ISO 2022")
    if not first:
        return "latin-1", extended, True
    number = first.rpartition(" ")[2]
    if first.endswith("GBK"):
        return "gbk", extended, True
    codec = _SINGLE.get(number)
    return codec or "latin-1", extended, codec is not None


def _tidy(term: str) -> str:
    """Common misspellings: `ISO-IR 100`, `ISO IR 192`, `ISO_IR_100`, `iso_ir 100`."""
    term = term.strip(" \0").upper()
    found = re.fullmatch(r"(ISO)[ _-]?(2022)?[ _-]?IR[ _-]?(\d+)", term)
    if not found:
        return {"UTF-8": "ISO_IR 192", "UTF8": "ISO_IR 192"}.get(term, term)
    return f"ISO 2022 IR {found[3]}" if found[2] else f"ISO_IR {found[3]}"


def fold(text: str) -> str:
    """Lower case without accents, one space between words: what is compared in searches (decision 22)."""
    if text.isascii():
        return " ".join(text.casefold().split())
    apart = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(each for each in apart if not unicodedata.combining(each))
    return " ".join(unicodedata.normalize("NFC", plain.casefold()).split())


_BETWEEN_WORDS = re.compile(r"[\s^=,.\-]+")


def split_words(folded: str) -> list[str]:
    """The pieces of a folded name between what separates words; an empty one where it begins or ends with that."""
    return _BETWEEN_WORDS.split(folded)


def name_words(name: str) -> list[str]:
    """The words of a person name in all of its groups, folded: fuzzy matching asks for their beginnings."""
    return sorted({word for word in split_words(fold(name)) if word})


def trigrams(words: Iterable[str]) -> list[str]:
    """Three characters at a time of each word with a space before it: its beginning is a trigram too."""
    padded = (f" {word}" for word in words)
    return sorted({word[at : at + 3] for word in padded for at in range(len(word) - 2)})


def name_groups(value: str) -> tuple[str, str, str]:
    """The alphabetic, ideographic and phonetic group of a person name (PS3.5 6.2.1.1)."""
    groups = [group.strip(" \0") for group in value.split("=", 2)]
    groups += ["", ""]
    return groups[0], groups[1], groups[2].rstrip("=")
