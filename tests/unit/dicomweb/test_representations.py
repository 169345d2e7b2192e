"""dicomweb/representations.py: Accept as DICOM means it."""

from hypothesis import given
from hypothesis import strategies as st

from server.dicomweb.representations import DICOM, OCTETS, refused, wishes


def test_missing_means_multipart_of_anything():
    (wish,) = wishes(None)
    assert wish.multipart
    assert wish.covers(DICOM)
    assert wish.transfer_syntax is None


def test_python_client_for_an_instance():
    (wish,) = wishes('multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50')
    assert (wish.multipart, wish.type.name, wish.transfer_syntax) == (True, DICOM, "1.2.840.10008.1.2.4.50")


def test_ohif_for_a_frame():
    (wish,) = wishes("multipart/related; type=application/octet-stream; transfer-syntax=*")
    assert (wish.multipart, wish.type.name, wish.transfer_syntax) == (True, OCTETS, "*")


def test_the_order_of_weights():
    found = wishes(f"*/*;q=0.1, {DICOM};q=0.5, image/jpeg")
    assert [wish.type.name for wish in found] == ["image/jpeg", DICOM, "*/*"]


def test_of_equals_the_one_that_says_more():
    assert [wish.type.name for wish in wishes("*/*, image/*, image/png")] == ["image/png", "image/*", "*/*"]


def test_old_names():
    assert wishes('multipart/related; type="image/x-jls"')[0].covers("image/jls")


def test_never():
    assert refused(f"*/*, {DICOM};q=0") == {DICOM}
    assert [wish.type.name for wish in wishes(f"*/*, {DICOM};q=0")] == ["*/*"]


def test_other_multiparts_are_no_wish():
    assert wishes("multipart/form-data") == ()


@given(st.text(max_size=200))
def test_any_text_is_wishes(text):
    assert all(wish.type.q > 0 for wish in wishes(text))
