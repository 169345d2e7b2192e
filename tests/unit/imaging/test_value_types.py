"""How a Key Object Selection refers to what it names (PS3.3, C.17.3.2.1), for every class that pydicom knows."""

from __future__ import annotations

import pytest
from pydicom.uid import UID_dictionary

from server.imaging.fileset_records import record_type
from server.imaging.to_fhir.value_types import value_type

STORAGE = "1.2.840.10008.5.1.4.1.1."
CLASSES = {
    uid: entry[0]
    for uid, entry in UID_dictionary.items()
    if uid.startswith(STORAGE) and "Storage" in entry[0] and entry[1] == "SOP Class"
}
# Images that are not called so; the rest of them have it in their names.
IMAGES = {
    STORAGE + kind
    for kind in ("6.2", "30", "66.4", "77.1.5.8", "81.1", "82.1", "501.4", "501.5", "501.6")
}  # fmt: skip


def test_every_class() -> None:
    for uid, name in CLASSES.items():
        if "Waveform" in name and "SR" not in name:
            expected = "WAVEFORM"
        else:
            expected = "IMAGE" if " Image" in name or uid in IMAGES else "COMPOSITE"
        assert value_type(uid) == expected, name
        if expected != "COMPOSITE":
            assert record_type(uid) == expected, name


@pytest.mark.parametrize(
    ("uid", "expected"),
    [
        (STORAGE + "66.7", "IMAGE"),  # Label Map Segmentation
        (STORAGE + "66.8", "IMAGE"),  # Height Map Segmentation
        (STORAGE + "9.100.1", "COMPOSITE"),  # Waveform Presentation State
        (STORAGE + "9.100.2", "COMPOSITE"),  # Waveform Acquisition Presentation State
        ("1.2.840.10008.5.1.4.34.7", "COMPOSITE"),  # RT Beams Delivery Instruction
        ("1.3.12.2.1107.5.9.1", "COMPOSITE"),  # private
    ],
)
def test_classes_that_are_not_in_the_dictionary(uid: str, expected: str) -> None:
    assert value_type(uid) == expected
