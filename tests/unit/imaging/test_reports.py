"""What a study gives besides its ImagingStudy: reports of SR and encapsulated PDF, Devices, Provenance."""

from __future__ import annotations

from base64 import b64decode
from collections import defaultdict
from dataclasses import replace
from typing import Any

import orjson
import pytest

from server.access.action import Action, Verb
from server.core.errors import NotAllowed
from server.imaging import contents, derived, rebuild, removal
from server.imaging.entry import entry_of
from server.imaging.header import Unreadable, header_of
from server.imaging.to_fhir import diagnostic_report as reporting
from server.records import store, validate
from server.storage.sql import Statement

from .conftest import Holder
from .reports import PDF, code, container, encapsulated, item, structured_report
from .samples import all_samples, made

Json = dict[str, Any]
_ALL = Statement(
    "all",
    "SELECT type, id, version, deleted, json FROM resource"
    " WHERE type IN ('DiagnosticReport', 'Binary', 'Device', 'Provenance', 'ImagingStudy') ORDER BY key",
)


def document(content: bytes, **more: Any) -> reporting.Document:
    entry = entry_of(header_of(content))
    model = orjson.loads(entry.instance["metadata"].replace(b"\0", b""))
    return reporting.Document(
        id="r1", patient_id="p1", study_id="s1", sop_uid=entry.sop_uid, sop_class=entry.sop_class, model=model,
        day="20240131", time="101112000000", **more,
    )  # fmt: skip


async def held(holder: Holder) -> dict[str, list[tuple[int, Json]]]:
    """What there is by type: version and resource."""
    await rebuild.refresh(holder.services, reach=holder.reading)
    found = defaultdict(list)
    for row in await holder.services.db.fetch_all(_ALL):
        if not row["deleted"]:
            found[row["type"]].append((row["version"], orjson.loads(row["json"])))
    return found


def test_a_structured_report_as_a_diagnostic_report() -> None:
    found = reporting.diagnostic_report(document(structured_report()))
    assert found["status"] == "final"
    assert found["code"]["coding"][0]["code"] == "18748-4"
    assert found["effectiveDateTime"] == "2024-01-31T10:11:12+01:00"
    assert found["issued"] == "2024-01-31T12:00:00.500+01:00"
    assert found["performer"] == [
        {"display": "Cy Writer"},
        {"type": "Organization", "display": "County Hospital"},
    ]
    assert found["resultsInterpreter"] == [{"display": "Dr. Bo Reader"}]
    assert found["imagingStudy"] == [{"reference": "ImagingStudy/s1"}]
    assert found["basedOn"][0]["identifier"]["value"] == "ACC1"
    assert found["conclusion"] == "Nothing to worry about."
    assert found["conclusionCode"][0]["coding"][0]["code"] == "427359005"
    assert "<b>Finding:</b> A nodule &lt; 2 cm &amp; smooth.<br/>In the right lobe." in found["text"]["div"]
    [form] = found["presentedForm"]
    text = b64decode(form["data"]).decode()
    assert text.startswith("Diagnostic imaging report\n\nFindings\n  Finding: A nodule < 2 cm & smooth.\n")
    assert "  Diameter: 12.5 mm\n" in text
    assert "Watcher" not in text


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ({"CompletionFlag": "PARTIAL"}, "partial"),
        ({"VerificationFlag": "UNVERIFIED"}, "preliminary"),
        ({"VerificationFlag": "UNVERIFIED", "PreliminaryFlag": "FINAL"}, "final"),
        ({"PreliminaryFlag": "PRELIMINARY"}, "preliminary"),
        ({"CompletionFlag": None, "VerificationFlag": None}, "unknown"),
    ],
)
def test_status_from_the_flags(flags: dict[str, str | None], status: str) -> None:
    """PS3.3, C.17.2: Completion Flag, Preliminary Flag, Verification Flag."""
    assert reporting.diagnostic_report(document(structured_report(**flags)))["status"] == status


async def test_hostile_and_bare_reports_are_valid() -> None:
    """Nothing in a tree becomes markup; a tree without an end, or without a beginning, makes a report."""
    deep = item("TEXT", None, text="end")
    for _ in range(60):
        deep = container(code("1", "99X", "<script>alert(1)</script>\x01"), [deep])
    for content in ([deep], [], [item("TEXT", None, text="\x02<b onclick='x'>\x1f")], [item("NUM", None)]):
        bare: dict[str, Any] = {"VerifyingObserverSequence": None, "AuthorObserverSequence": None}
        found = reporting.diagnostic_report(document(structured_report(content, **bare)))
        assert await validate.find_issues(orjson.loads(orjson.dumps(found))) == []
        assert "<script" not in str(found)


async def test_reports_of_real_files_are_valid() -> None:
    count = 0
    for path in all_samples():
        try:
            if not reporting.is_report(header_of(path.read_bytes()).sop_class_uid):
                continue
        except Unreadable:
            continue
        found = reporting.diagnostic_report(document(path.read_bytes()))
        assert await validate.find_issues(orjson.loads(orjson.dumps(found))) == []
        count += 1
    assert count >= 2


async def test_a_store_of_reports(holder: Holder) -> None:
    """The SR and the PDF beside the images: reports, one Binary, one Device, Provenance; unchanged when rebuilt."""
    scanner = {"Manufacturer": "ACME", "ManufacturerModelName": "Scan 1", "DeviceSerialNumber": "77",
               "SoftwareVersions": ["1.0", "2.0"], "StationName": "CT1"}  # fmt: skip
    await holder.store(made(**scanner), structured_report(), encapsulated())
    found = await held(holder)
    assert {name: len(each) for name, each in found.items()} == {
        "ImagingStudy": 1, "Device": 1, "DiagnosticReport": 2, "Binary": 1, "Provenance": 3,
    }  # fmt: skip
    for each in found.values():
        for version, resource in each:
            assert version == 1
            assert await validate.find_issues(resource) == []
    by_title = {each["code"].get("text"): each for _, each in found["DiagnosticReport"]}
    [form] = by_title["Radiology report"]["presentedForm"]
    [(_, binary)], [(_, device)] = found["Binary"], found["Device"]
    assert form["url"] == f"Binary/{binary['id']}"
    assert (b64decode(binary["data"]), form["size"]) == (PDF, len(PDF))
    assert (device["serialNumber"], [each["value"] for each in device["version"]]) == ("77", ["1.0", "2.0"])
    study = found["ImagingStudy"][0][1]
    performers = [each["actor"].get("reference") for each in study["series"][0]["performer"]]
    assert f"Device/{device['id']}" in performers
    agents = {each["agent"][0]["who"]["reference"] for _, each in found["Provenance"]}
    assert agents == {f"Patient/{holder.patient_id}"}
    assert await rebuild.everything(holder.services) == 1
    assert await held(holder) == found


async def test_a_large_pdf_is_read_from_its_object(holder: Holder) -> None:
    content = b"%PDF-1.7\n" + b"0123456789" * 5_000
    await holder.store(encapsulated(content, EncapsulatedDocumentLength=None))
    found = await held(holder)
    binary = found["Binary"][0][1]
    assert "data" not in binary  # it stays where it is
    reach = replace(holder.reading, action=Action("Binary", Verb.READ))
    where = await contents.content_of(holder.services, binary, reach=reach)
    assert (await where.read(), where.size) == (content, len(content))
    assert b"".join([each async for each in where.chunks(7, 12)]) == content[7:12]


async def test_deleting_the_report_takes_it_back_and_storing_brings_it(holder: Holder) -> None:
    sr, pdf = structured_report(), encapsulated()
    await holder.store(made(), sr, pdf)
    before = await held(holder)
    services = holder.services
    for content, series in ((sr, "1.2.3.4.77"), (pdf, "1.2.3.4.78")):
        uid = header_of(content).sop_instance_uid
        await removal.delete(services, "1.2.3.4", series, uid, reach=holder.reading, actor=holder.actor)
    # At once: nobody waits for the study to be made anew before a file is gone.
    left = [row["type"] for row in await services.db.fetch_all(_ALL) if not row["deleted"]]
    assert sorted(left) == ["ImagingStudy", "Provenance"]
    found = await held(holder)
    assert {name: len(each) for name, each in found.items()} == {"ImagingStudy": 1, "Provenance": 1}
    assert found["ImagingStudy"][0][0] == 3  # two deletions, a version each
    await holder.store(sr, pdf)
    found = await held(holder)
    assert found["ImagingStudy"][0][0] == 4
    assert [each["id"] for _, each in found["DiagnosticReport"]] == [
        each["id"] for _, each in before["DiagnosticReport"]
    ]
    assert {version for version, _ in found["DiagnosticReport"]} == {3}


async def test_an_order_that_comes_later_is_referred_to(holder: Holder) -> None:
    await holder.store(made(), structured_report())
    await held(holder)
    order = {
        "resourceType": "ServiceRequest", "id": "order1", "status": "active", "intent": "order",
        "identifier": [{"value": "ACC1"}], "subject": {"reference": f"Patient/{holder.patient_id}"},
    }  # fmt: skip
    await store.put(holder.services.db, order, patient_id=holder.patient_id, author="server")
    await derived.ordered(holder.services, holder.patient_id, order)
    found = await held(holder)
    for name in ("ImagingStudy", "DiagnosticReport"):
        [(version, resource)] = found[name]
        assert (version, resource["basedOn"][0]["reference"]) == (2, "ServiceRequest/order1")


async def test_what_is_made_from_images_is_changed_by_nobody(holder: Holder) -> None:
    await holder.store(structured_report())
    [(_, report)] = (await held(holder))["DiagnosticReport"]
    with pytest.raises(NotAllowed):
        await store.delete(
            holder.services.db, "DiagnosticReport", report["id"], reach=holder.reading, author="account:x"
        )
