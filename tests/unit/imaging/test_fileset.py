"""imaging/fileset.py: a DICOMDIR that pydicom reads, whatever the objects lack (PS3.10, 8; PS3.3, F)."""

from __future__ import annotations

import io
import re
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.fileset import FileSet as PydicomFileSet

from server.imaging.dicom_json import ROOT, Converter
from server.imaging.elements import Unreadable
from server.imaging.fileset import DIRECTORY_NAME, Entry, FileSet
from server.imaging.header import header_of
from server.imaging.pixels import text
from tests.drawn import examples
from tests.unit.imaging.samples import all_samples, made, sample

# pydicom makes a folder for changes, and another when it loads, and leaves the first to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")

FILE_ID = re.compile(r"[A-Z0-9_]{1,8}(/[A-Z0-9_]{1,8}){0,7}")


def entry(content: bytes, **changes: str) -> Entry:
    header = header_of(content)
    model = orjson.loads(orjson.dumps(Converter(bulk_root="/x").data_set(header.data)).replace(ROOT, b""))
    values = {
        "study_uid": text(header.data, 0x0020000D) or "1.2.3",
        "series_uid": text(header.data, 0x0020000E) or "1.2.3.4",
        "sop_uid": header.sop_instance_uid,
        "sop_class": header.sop_class_uid,
        "transfer_syntax": header.transfer_syntax,
        **changes,
    }
    return Entry(**values, attributes=model)


def on_disc(folder: Path, contents: list[bytes]) -> PydicomFileSet:
    files = FileSet()
    for content in contents:
        name = files.add(entry(content))
        assert FILE_ID.fullmatch(name)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / DIRECTORY_NAME).write_bytes(b"".join(files.written()))
    found = PydicomFileSet(folder / DIRECTORY_NAME)
    found._stage["t"].cleanup()
    return found


def test_pydicom_finds_each_instance(tmp_path: Path):
    one = made(SOPInstanceUID="1.2.1", InstanceNumber=7)
    two = made(SOPInstanceUID="1.2.2", InstanceNumber=8)
    other = made(SOPInstanceUID="1.2.3", StudyInstanceUID="1.9", SeriesInstanceUID="1.9.1", PatientID="B-2")
    back = made(SOPInstanceUID="1.2.4", InstanceNumber=9)  # of the first series again, after another
    found = on_disc(tmp_path, [one, two, other, back])
    assert len(found) == 4
    assert {each.SOPInstanceUID for each in found.find(StudyInstanceUID="1.2.3.4")} == {
        "1.2.1",
        "1.2.2",
        "1.2.4",
    }
    assert found.find_values("PatientID") == ["A-1", "B-2"]
    for each in found:
        assert each.load().SOPInstanceUID == each.SOPInstanceUID


def test_what_is_missing_is_made_up_in_the_directory_only(tmp_path: Path):
    """PS3.3, F.5: type 1 keys have values, whatever the object has."""
    bare = made(
        SOPInstanceUID="1.2.1", PatientID="", StudyDate="", StudyTime=None, StudyID=None, SeriesNumber=None,
        InstanceNumber=None, Modality="", PatientName="Мур^Ада",
        SpecificCharacterSet="ISO_IR 192",
    )  # fmt: skip
    found = on_disc(tmp_path, [bare])
    (one,) = list(found)
    assert one.PatientName == "Мур^Ада"
    assert (one.PatientID, one.StudyDate, one.StudyTime) == ("UNKNOWN", "19000101", "000000")
    assert (one.StudyID, one.SeriesNumber, one.InstanceNumber, one.Modality) == ("1", 1, 1, "OT")
    assert one.load().PatientID == ""
    assert Path(one.path).read_bytes() == bare


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("rtplan.dcm", "RT PLAN"),
        ("rtdose.dcm", "RT DOSE"),
        ("rtstruct.dcm", "RT STRUCTURE SET"),
        ("reportsi.dcm", "SR DOCUMENT"),
        ("waveform_ecg.dcm", "WAVEFORM"),
        ("chrH31.dcm", "IMAGE"),
        ("liver.dcm", "IMAGE"),
    ],
)
def test_kinds_of_records(tmp_path: Path, name: str, kind: str):
    (one,) = list(on_disc(tmp_path, [sample(name)]))
    assert one.DirectoryRecordType == kind


@pytest.mark.filterwarnings("ignore::UserWarning")  # some have UIDs that are none
def test_everything_of_pydicom_is_listed(tmp_path: Path):
    contents = []
    for path in all_samples():
        try:
            header = header_of(path.read_bytes())
        except Unreadable:
            continue
        if header.sop_instance_uid and header.sop_class_uid != "1.2.840.10008.1.3.10":
            contents.append(path.read_bytes())
    found = on_disc(tmp_path, contents)
    assert len(contents) > 150
    assert len({each.ReferencedSOPInstanceUIDInFile for each in found}) == len(
        {header_of(each).sop_instance_uid for each in contents}
    )


def test_the_same_instances_make_the_same_bytes():
    def directory() -> bytes:
        files = FileSet()
        files.add(entry(made(SOPInstanceUID="1.2.1")))
        return b"".join(files.written())

    assert directory() == directory()


def test_a_hundred_thousand_names_fit():
    files = FileSet()
    names = {
        files.add(
            Entry("1.2", f"1.2.{n % 50}", f"1.2.3.{n}", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
        )
        for n in range(20_000)
    }
    assert len(names) == 20_000
    assert sum(map(len, files.written())) < 20_000 * 400


@settings(max_examples=examples(40))
@given(
    st.dictionaries(
        st.sampled_from(["00100010", "00100020", "00080020", "00200010", "00200011", "00200013", "00081030"]),
        st.lists(
            st.one_of(
                st.none(),
                st.integers(),
                st.text(max_size=2000),
                st.dictionaries(st.text(max_size=3), st.text()),
            ),
            max_size=3,
        ),
    )
)
def test_hostile_values_make_a_readable_directory(attributes):
    files = FileSet()
    given = {tag: {"vr": "LO", "Value": value} for tag, value in attributes.items()}
    files.add(Entry("1.2", "1.3", "1.4", "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.1.2.1", given))
    read = dcmread(io.BytesIO(b"".join(files.written())))
    assert [each.DirectoryRecordType for each in read.DirectoryRecordSequence] == [
        "PATIENT", "STUDY", "SERIES", "SR DOCUMENT",
    ]  # fmt: skip
