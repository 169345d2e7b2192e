"""DICOM JSON (PS3.18, F.2): values, character sets, bulk data."""

from __future__ import annotations

import json
import struct
import warnings
from typing import Any

import orjson
import pydicom
import pytest

from server.imaging.dicom_json import ROOT, Converter, dumps, little
from server.imaging.elements import DataSet, Element, Unreadable
from server.imaging.entry import entry_of
from server.imaging.header import header_of
from server.imaging.text import Decoder, fold, name_groups, name_words, trigrams

from .samples import all_samples, dataset, sample, written


def element(vr: str, value: bytes, tag: int = 0x00091010) -> Element:
    found = Element(tag, vr, 0, len(value))
    found.value = value
    return found


def converted(vr: str, value: bytes, *, big: bool = False, tag: int = 0x00091010) -> dict[str, Any]:
    data = DataSet(big)
    data[tag] = element(vr, value, tag)
    found: dict[str, Any] = orjson.loads(dumps(Converter("/b", set()).data_set(data)).replace(ROOT, b""))
    return found[f"{tag:08X}"]


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("IS", b"12\\ 7 \\", [12, 7, None]),
        ("IS", b"1A", ["1A"]),
        ("DS", b"1.50\\-2e3\\.5\\+7", [1.5, -2000.0, 0.5, 7]),
        ("DS", b"1,5 ", ["1,5"]),
        ("DS", b"1_0", ["1_0"]),
        ("DS", b"nan\\inf", ["nan", "inf"]),
        ("DS", b"1e999", ["1e999"]),
        ("IS", b"99999999999999999999", ["99999999999999999999"]),
        ("FL", struct.pack("<3f", 1.5, float("nan"), float("-inf")), [1.5, "NaN", "-Infinity"]),
        ("FD", struct.pack("<d", 0.1), [0.1]),
        ("US", b"\1\0\2\0", [1, 2]),
        ("US", b"\1\0\2", [1]),
        ("UV", struct.pack("<Q", 2**63), [str(2**63)]),
        ("SV", struct.pack("<q", -5), [-5]),
        ("AT", b"\x10\x00\x20\x00", ["00100020"]),
        ("CS", b"A \\ B\\\\C", ["A", "B", None, "C"]),
        ("UI", b"1.2.3\0", ["1.2.3"]),
        ("LT", b" one\\two  ", [" one\\two"]),
        ("DA", b"20240131", ["20240131"]),
        ("PN", b"Moor^Ada=x^y", [{"Alphabetic": "Moor^Ada", "Ideographic": "x^y"}]),
        ("PN", b"==z", [{"Phonetic": "z"}]),
    ],
)
def test_values(vr: str, value: bytes, expected: list[Any]) -> None:
    assert converted(vr, value) == {"vr": vr, "Value": expected}


def test_empty_values() -> None:
    """F.2.5: an attribute without a value has neither Value, BulkDataURI nor InlineBinary."""
    for vr in ("CS", "PN", "DS", "US", "OB", "LT", "SQ"):
        assert converted(vr, b"") == {"vr": vr}
    assert converted("CS", b"  ") == {"vr": "CS"}


def test_binary_values() -> None:
    assert converted("OB", b"\1\2") == {"vr": "OB", "InlineBinary": "AQI="}
    assert converted("OW", b"\1\2\3\4", big=True) == {"vr": "OW", "InlineBinary": "AgEEAw=="}
    assert converted("OB", b"x" * 1025) == {"vr": "OB", "BulkDataURI": "/b/00091010"}
    assert converted("OW", b"\1\2", tag=0x7FE00010) == {"vr": "OW", "BulkDataURI": "/b/7FE00010"}


def test_the_root_stands_as_one_byte_that_json_cannot_hold() -> None:
    entry = entry_of(header_of(sample("CT_small.dcm")))
    for prepared in (entry.instance["metadata"], entry.instance["qido"]):
        assert ROOT in prepared
        orjson.loads(prepared.replace(ROOT, b"http://x"))
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(prepared)


def test_tags_ascend_and_group_lengths_are_left_out() -> None:
    model = json.loads(entry_of(header_of(sample("MR_small.dcm"))).instance["metadata"].replace(ROOT, b""))
    assert list(model) == sorted(model)
    assert not [tag for tag in model if tag.endswith("0000")]


# The names of PS3.5, H to K, and others, in the character sets that they are written in.
_NAMES = [
    (("ISO_IR 100",), "Äneas^Rüdiger".encode("latin-1"), "Äneas^Rüdiger"),
    (("ISO_IR 101",), "Wałęsa".encode("iso8859-2"), "Wałęsa"),
    (("ISO_IR 144",), "Люкceмбypг".encode("iso8859-5"), "Люкceмбypг"),
    (("ISO_IR 126",), "Διονυσιος".encode("iso8859-7"), "Διονυσιος"),
    (("ISO_IR 127",), "قباني^لنزار".encode("iso8859-6"), "قباني^لنزار"),
    (("ISO_IR 138",), "שרון^דבורה".encode("iso8859-8"), "שרון^דבורה"),
    (("ISO_IR 148",), "Çavuşoğlu".encode("iso8859-9"), "Çavuşoğlu"),
    (("ISO_IR 166",), "นามสกุล".encode("cp874"), "นามสกุล"),
    (("ISO_IR 13",), b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    (("ISO_IR 192",), "Wang^XiaoDong=王^小東".encode(), "Wang^XiaoDong=王^小東"),
    (("GB18030",), "Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东"),
    (("GBK",), "王^小东".encode("gbk"), "王^小东"),
    (
        ("", "ISO 2022 IR 87"),
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    (
        ("ISO 2022 IR 13", "ISO 2022 IR 87"),
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    (
        ("", "ISO 2022 IR 149"),
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    (
        ("", "ISO 2022 IR 58"),
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab",
        "Zhang^XiaoDong=张^小东",
    ),
    (("ISO 2022 IR 6", "ISO 2022 IR 100"), b"\x1b-ABuc^J\xe9r\xf4me", "Buc^Jérôme"),
    (("ISO IR 192",), "Ł".encode(), "Ł"),
    (("ISO-IR 100",), b"\xe9", "é"),
    ((), "Ł".encode(), "Ł"),
    ((), b"\xe9", "é"),
]


@pytest.mark.parametrize(("terms", "value", "expected"), _NAMES)
def test_character_sets(terms: tuple[str, ...], value: bytes, expected: str) -> None:
    assert Decoder(terms, set()).text(value) == expected


def test_text_that_is_not_in_its_character_set_is_noted() -> None:
    trouble: set[str] = set()
    assert Decoder(("ISO_IR 192",), trouble).text(b"a\xff") == "a\ufffd"
    assert trouble


def test_a_character_set_of_an_item_holds_within_it() -> None:
    data = dataset(SpecificCharacterSet="ISO_IR 100")
    data.PatientName = "Äneas"
    content = written(data)
    model = json.loads(entry_of(header_of(content)).instance["metadata"].replace(ROOT, b""))
    assert model["00080005"]["Value"] == ["ISO_IR 192"]
    assert model["00100010"]["Value"] == [{"Alphabetic": "Äneas"}]


@pytest.mark.parametrize("path", all_samples(), ids=lambda path: path.name)
def test_names_are_those_that_pydicom_reads(path: Any) -> None:
    content = path.read_bytes()
    try:
        entry = entry_of(header_of(content))
    except Unreadable:
        return
    model = json.loads(entry.instance["metadata"].replace(ROOT, b""))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        name = data.get("PatientName")
    if name:
        groups = model["00100010"]["Value"][0]
        assert "=".join(groups.values()) == str(name)


def test_little() -> None:
    assert little(b"\1\2\3\4", "US", True) == b"\2\1\4\3"
    assert little(b"\1\2\3\4", "UL", True) == b"\4\3\2\1"
    assert little(b"\0\x10\0\x20", "AT", True) == b"\x10\0\x20\0"
    assert little(b"\1\2", "OB", True) == b"\1\2"


def test_folding() -> None:
    assert fold("  ÄNEAS  Müller ") == "aneas muller"
    assert fold("Straße") == "strasse"
    assert fold("Ελλάς") == fold("ελλασ")
    assert name_words("Müller-Lüd^Anna=山田^太郎") == sorted({"muller", "lud", "anna", "山田", "太郎"})
    assert trigrams(["ab"]) == [" ab"]
    assert name_groups("A^B=C") == ("A^B", "C", "")
