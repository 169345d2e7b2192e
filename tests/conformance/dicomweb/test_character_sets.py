"""Names in every Specific Character Set come out as right UTF-8: in searches, in metadata, in FHIR, groups apart.

DICOM PS3.3, C.12.1.1.2; PS3.5, 6.2.1 and annexes H, I, J, K (Japanese, Korean, Chinese); PS3.18, F.3.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread
from pydicom.data import get_charset_files
from pydicom.uid import generate_uid

from tests.conformance.dicomweb.samples import Sample, instance, store
from tests.conformance.dicomweb.samples import written as samples_written
from tests.factories import People, bearer

# pydicom's own files: the name that stands in each, its groups.
FILES = {
    "chrArab": ("قباني^لنزار",),
    "chrFren": ("Buc^Jérôme",),
    "chrFrenMulti": ("Buc^Jérôme",),
    "chrGerm": ("Äneas^Rüdiger",),
    "chrGreek": ("Διονυσιος",),
    "chrH31": ("Yamada^Tarou", "山田^太郎", "やまだ^たろう"),
    "chrH32": ("ﾔﾏﾀﾞ^ﾀﾛｳ", "山田^太郎", "やまだ^たろう"),
    "chrHbrw": ("שרון^דבורה",),
    "chrI2": ("Hong^Gildong", "洪^吉洞", "홍^길동"),
    "chrJapMulti": ("やまだ^たろう",),
    "chrJapMultiExplicitIR6": ("やまだ^たろう",),
    "chrKoreanMulti": ("김희중",),
    "chrRuss": ("Люкceмбypг",),
    "chrX1": ("Wang^XiaoDong", "王^小東"),
    "chrX2": ("Wang^XiaoDong", "王^小东"),
}
# (0008,0005), the codec that wrote it, and a name.
WRITTEN = [
    ("", "ascii", "Moor^Ada"),
    ("ISO_IR 6", "ascii", "Moor^Ada"),
    ("ISO_IR 100", "latin_1", "Gärtner^Zoë"),
    ("ISO_IR 101", "iso8859_2", "Dvořák^Šárka"),
    ("ISO_IR 109", "iso8859_3", "Ĝoja^Ĥoro"),
    ("ISO_IR 110", "iso8859_4", "Āboliņš^Ģirts"),
    ("ISO_IR 144", "iso8859_5", "Чайковский^Пётр"),
    ("ISO_IR 127", "iso8859_6", "فيروز^نهاد"),
    ("ISO_IR 126", "iso8859_7", "Παπαδόπουλος^Γιώργος"),
    ("ISO_IR 138", "iso8859_8", "כהן^רות"),
    ("ISO_IR 148", "iso8859_9", "Çavuşoğlu^Işıl"),
    ("ISO_IR 203", "iso8859_15", "Œuvre^Žofie"),
    ("ISO_IR 166", "iso8859_11", "ศรีสุข^สมชาย"),
    ("ISO_IR 13", "shift_jis", "ﾔﾏﾀﾞ^ﾊﾅｺ"),
    ("ISO_IR 192", "utf_8", "Ångström^Łucja=王^小东=わん"),
    ("GB18030", "gb18030", "Wang^XiaoDong=王^小東"),
    ("GBK", "gbk", "Wang^XiaoDong=王^小东"),
    ("\\ISO 2022 IR 149", "euc_kr", "Hong^Gildong=\x1b$)C洪^\x1b$)C吉洞=\x1b$)C홍^\x1b$)C길동"),
    ("\\ISO 2022 IR 58", "gb2312", "Zhang^XiaoDong=\x1b$)A张^\x1b$)A小东"),
    ("\\ISO 2022 IR 87", "iso2022_jp", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ("\\ISO 2022 IR 87\\ISO 2022 IR 159", "iso2022_jp_1", "Asahi^Rei=朝日^麗"),
]
GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def groups(name: str) -> dict[str, str]:
    plain = name.replace("\x1b$)C", "").replace("\x1b$)A", "")
    return {group: text for group, text in zip(GROUPS, plain.split("="), strict=False) if text}


def written(character_set: str, codec: str, name: str) -> Sample:
    """A CT image with the bytes of this name."""
    encoded = b"".join(_encoded(piece, codec) for piece in name)
    if codec.startswith("iso2022"):
        encoded = name.encode(codec)
    plain = instance()
    made = dcmread(io.BytesIO(plain.data))
    known = character_set.replace("ISO_IR 203", "ISO_IR 101")  # which pydicom does not write
    made.SpecificCharacterSet = known.split("\\") if known else None
    out = io.BytesIO()
    made.PatientName = "@" * (len(encoded) + len(encoded) % 2)
    made.save_as(out)
    padded = encoded + b" " * (len(encoded) % 2)
    named = out.getvalue().replace(b"@" * len(padded), padded)
    data = named.replace(b"ISO_IR 101", b"ISO_IR 203") if character_set != known else named
    return replace(plain, data=data)


def _encoded(piece: str, codec: str) -> bytes:
    return piece.encode("ascii") if piece.isascii() else piece.encode(codec)


async def shown(web: httpx.AsyncClient, study: str) -> list[dict[str, Any]]:
    """The name as a search and as the metadata have it."""
    (found,) = (await web.get(f"/dicomweb/studies?StudyInstanceUID={study}")).json()
    (whole,) = (await web.get(f"/dicomweb/studies/{study}/metadata")).json()
    return [found["00100010"]["Value"][0], whole["00100010"]["Value"][0]]


@pytest.mark.parametrize("name", FILES)
async def test_files_of_pydicom(web: httpx.AsyncClient, name: str):
    path = Path(str(get_charset_files(f"{name}.dcm")[0]))
    answer = await store(web, path.read_bytes())
    assert answer.status_code in (200, 202), answer.text
    expected = dict(zip(GROUPS, FILES[name], strict=False))
    assert await shown(web, dcmread(path).StudyInstanceUID) == [expected, expected]
    for group in FILES[name]:
        by_group = await web.get("/dicomweb/studies", params={"PatientName": f"{group}*"})
        assert len(by_group.json()) == 1, group
        word = group.split("^")[-1]
        fuzzy = await web.get("/dicomweb/studies", params={"PatientName": word, "fuzzymatching": "true"})
        assert len(fuzzy.json()) == 1, word


@pytest.mark.parametrize(
    ("character_set", "codec", "name"), WRITTEN, ids=lambda value: value[:16].strip("\\")
)
async def test_written_here(web: httpx.AsyncClient, character_set: str, codec: str, name: str):
    sample = written(character_set, codec, name)
    answer = await store(web, sample)
    assert answer.status_code in (200, 202), answer.text
    assert await shown(web, sample.study) == [groups(name), groups(name)]


async def test_sequences_have_character_sets_of_their_own(web: httpx.AsyncClient):
    """PS3.5, 7.5.3: an item without one has that of its parent."""
    made = dcmread(str(get_charset_files("chrSQEncoding.dcm")[0]))
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(made, keyword, generate_uid())
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    answer = await store(web, samples_written(made))
    assert answer.status_code in (200, 202), answer.text
    (model,) = (await web.get(f"/dicomweb/studies/{made.StudyInstanceUID}/metadata")).json()
    item = model["00321064"]["Value"][0]
    assert item["00100010"]["Value"][0] == dict(zip(GROUPS, FILES["chrH32"], strict=True))


async def test_names_in_fhir(people: People, client: httpx.AsyncClient):
    """The profile that a hospital's store makes: each group a name, marked with what it is written in."""
    headers = bearer(await people.system_token(await people.backend()))
    path = Path(str(get_charset_files("chrH31.dcm")[0]))
    made = dcmread(path)
    made.PatientID = "JP-1"
    out = io.BytesIO()
    made.save_as(out)
    client.headers.update(headers)
    assert (await store(client, out.getvalue())).status_code in (200, 202)
    found = (await client.get("/fhir/Patient?identifier=JP-1")).json()["entry"][0]["resource"]
    by_code = {
        (name.get("extension") or [{}])[0].get("valueCode", ""): (name["family"], name["given"])
        for name in found["name"]
    }
    assert by_code["IDE"] == ("山田", ["太郎"])
    assert by_code["SYL"] == ("やまだ", ["たろう"])
    assert ("Yamada", ["Tarou"]) in by_code.values()


def test_the_table_is_whole():
    """Every file of pydicom's is in it, but the two whose names stand in sequences."""
    held = {Path(str(path)).stem for path in get_charset_files("*.dcm")}
    assert held - FILES.keys() == {"chrSQEncoding", "chrSQEncoding1"}
