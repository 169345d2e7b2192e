"""dicomweb/dicom_xml.py: the native model (PS3.19, A.1)."""

from xml.etree import ElementTree

from server.dicomweb.dicom_xml import to_xml

NS = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"


def test_every_kind_of_value():
    dataset = {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00080018": {"vr": "UI"},
        "00081030": {"vr": "LO", "Value": ["a < b & c", None, "\x01control"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]},
        "00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["S1"]}}, {}]},
        "00420011": {"vr": "OB", "InlineBinary": "AAEC"},
        "00091010": {"vr": "UN", "InlineBinary": "AA=="},
        "7FE00010": {"vr": "OW", "BulkDataURI": "http://x/?a&b"},
    }
    root = ElementTree.fromstring(to_xml(dataset))  # noqa: S314 - our own
    by_tag = {each.get("tag"): each for each in root}
    assert by_tag["00080005"].get("keyword") == "SpecificCharacterSet"
    assert by_tag["00091010"].get("keyword") is None
    assert [each.text for each in by_tag["00081030"]] == ["a < b & c", "control"]
    assert by_tag["00081030"][1].get("number") == "3"
    name = by_tag["00100010"].find(f"{NS}PersonName/{NS}Ideographic/{NS}FamilyName")
    assert name.text == "山田"
    items = by_tag["00400275"].findall(f"{NS}Item")
    assert items[0][0].get("tag") == "00400009"
    assert len(items) == 2
    assert by_tag["7FE00010"][0].get("uri") == "http://x/?a&b"
    assert by_tag["00420011"][0].text == "AAEC"
