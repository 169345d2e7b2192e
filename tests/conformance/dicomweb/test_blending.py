"""PS3.18, 10.4.1.1.3, of blending presentation states: PS3.3, A.33.4, C.11.14, A.33.7, C.11.33; PS3.4, N.2.4, N.2.6."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid

from server.access.services import Services
from server.audit import reading
from server.audit.events import Event
from server.imaging import render
from server.imaging.blending import NotBlended, Step, plan_of
from server.imaging.catalogue import InstanceRow
from server.imaging.picture import Look
from server.sharing import share
from server.storage.where import Where
from tests.conformance.dicomweb.conftest import Owner
from tests.conformance.dicomweb.samples import CT, Sample, instance, store, written
from tests.conformance.dicomweb.samples import pixels as give_pixels
from tests.conformance.dicomweb.test_8_3_5_rendering_parameters import PNG, pixels
from tests.conftest import RunningServer
from tests.factories import People, bearer
from tests.sharing_steps import actor_of, consent_reach

BLENDING, ADVANCED = "1.2.840.10008.5.1.4.1.1.11.4", "1.2.840.10008.5.1.4.1.1.11.8"
AXIAL = [1, 0, 0, 0, 1, 0]


@dataclass(frozen=True)
class Pair:
    """Two slices of one patient's CT, and the PET that lies on the second, in a study of its own."""

    ct: list[Sample]
    pet: Sample
    reference: str


def plane(
    values: np.ndarray,
    reference: str,
    position: list[float],
    spacing: float,
    turn: list[int] = AXIAL,
    **more: Any,
) -> Sample:
    holder = Dataset()
    give_pixels(holder, values)
    given = {element.keyword: element.value for element in holder}
    return instance(
        FrameOfReferenceUID=reference, ImagePositionPatient=position, ImageOrientationPatient=turn,
        PixelSpacing=[spacing, spacing], SliceThickness=2, **given, **more,
    )  # fmt: skip


def window(low: float, high: float) -> list[Dataset]:
    voi = Dataset()
    voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction = (low + high) / 2, high - low, "LINEAR_EXACT"
    return [voi]


def set_of(*samples: Sample, **more: Any) -> Dataset:
    """An item of the Blending Sequence, or of the Advanced Blending Sequence."""
    images = []
    for sample in samples:
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CT, sample.sop
        images.append(image)
    made, series = Dataset(), Dataset()
    series.SeriesInstanceUID, series.ReferencedImageSequence = samples[0].series, images
    made.StudyInstanceUID, made.ReferencedSeriesSequence = samples[0].study, [series]
    for name, value in more.items():
        setattr(made, name, value)
    return made


def red() -> dict[str, Any]:
    """A palette from black to red."""
    ramp = np.linspace(0, 65535, 256).astype("<u2").tobytes()
    given: dict[str, Any] = {}
    for colour, data in (("Red", ramp), ("Green", bytes(512)), ("Blue", bytes(512))):
        given[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        given[f"{colour}PaletteColorLookupTableData"] = data
    return given


def state(study: str, sop_class: str, **attributes: Any) -> Sample:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = sop_class, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = study, generate_uid()
    made.PatientName, made.PatientID, made.Modality = "Moor^Ada", "P-1", "PR"
    for name, value in attributes.items():
        setattr(made, name, value)
    return Sample(written(made), study, made.SeriesInstanceUID, made.SOPInstanceUID)


def fusion(under: list[Sample], over: list[Sample], opacity: float = 0.25, **more: Any) -> Sample:
    sets = [
        set_of(*under, BlendingPosition="UNDERLYING", SoftcopyVOILUTSequence=window(0, 200)),
        set_of(*over, BlendingPosition="SUPERIMPOSED", SoftcopyVOILUTSequence=window(0, 1000)),
    ]
    return state(under[0].study, BLENDING, BlendingSequence=sets, RelativeOpacity=opacity, **red(), **more)


@pytest.fixture
async def pair(web: httpx.AsyncClient) -> Pair:
    """16 pixels of 1 mm; the PET has 4 of 2 mm over columns 4 to 11 and rows 8 to 15."""
    reference = generate_uid()
    study, series = generate_uid(), generate_uid()
    flat = np.full((16, 16), 100, np.int16)
    ct = [
        plane(flat, reference, [0, 0, 2 * n], 1, study=study, series=series, InstanceNumber=n + 1)
        for n in (0, 1)
    ]
    hot = np.full((4, 4), 1000, np.uint16)
    pet = plane(hot, reference, [4.5, 8.5, 2.4], 2, Modality="PT")
    assert (await store(web, *ct, pet)).status_code == 200
    return Pair(ct, pet, reference)


async def test_one_set_in_colours_over_another(
    web: httpx.AsyncClient, server: RunningServer, owner: Owner, pair: Pair
):
    """N.2.4.3: R = Rs·A + Yu·(1 - A), where both lie; beside it the underlying one as it is. By reference and plane.

    The patient's log has both studies as looked at (decision 25).
    """
    both = fusion(pair.ct, [pair.pet], ImageRotation=90, ImageHorizontalFlip="N")
    assert (await store(web, both)).status_code == 200
    answer = await web.get(f"/dicomweb{both.path}/rendered", headers=PNG)
    assert answer.status_code == 200, answer.text
    shown = np.rot90(pixels(answer))  # the first slice on which something of both lies, turned by the state
    assert shown.shape == (16, 16, 3)
    assert shown[0, 0].tolist() == [128, 128, 128]
    assert np.abs(shown[12, 8].astype(int) - [160, 96, 96]).max() <= 1  # 255/4 + 128·3/4; 128·3/4
    assert (shown[..., 0] > 150).sum() == 64
    assert np.argwhere(shown[..., 0] > 150).min(axis=0).tolist() == [8, 4]
    services, mine = server.services, Where("patient.id = :patient", {"patient": owner.person.fhir_id})
    events = await reading.events_of(services.db, services.keyring, reach=mine)
    seen = {event.detail["study"] for event in events if event.event == Event.STUDY_VIEWED}
    assert seen == {pair.ct[0].study, pair.pet.study}
    each = await web.get(
        f"/dicomweb{both.path}/rendered", headers={"Accept": 'multipart/related; type="image/png"'}
    )
    assert [f"{sample.sop}/frames/1/rendered" in each.text for sample in pair.ct] == [True, True]
    again = await web.get(
        f"/dicomweb{both.path}/rendered", headers={**PNG, "If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304
    small = await web.get(f"/dicomweb{both.path}/thumbnail?viewport=8,8")
    assert pixels(small).shape == (8, 8, 3)
    asked = f"requestType=WADO&studyUID={pair.ct[1].study}&seriesUID={pair.ct[1].series}&objectUID={pair.ct[1].sop}"
    named = f"presentationSeriesUID={both.series}&presentationUID={both.sop}&contentType=image/png"
    assert np.array_equal(pixels(await web.get(f"/dicomweb/wado?{asked}&{named}")), pixels(answer))
    # What was laid on it goes: the picture is another, and never the one that a cache holds.
    assert (await web.delete(f"/dicomweb{pair.pet.path}")).status_code == 204
    gone = await web.get(
        f"/dicomweb{both.path}/rendered", headers={**PNG, "If-None-Match": answer.headers["etag"]}
    )
    assert gone.status_code == 404


async def test_a_share_of_one_study_shows_no_mixture(
    web: httpx.AsyncClient, people: People, owner: Owner, pair: Pair
):
    """Each image by the caller's reach: what lies in a study that is not shared is not there, to the byte."""
    both, missing = fusion(pair.ct, [pair.pet]), Sample(b"", generate_uid(), generate_uid(), generate_uid())
    lost = fusion(pair.ct, [missing])
    assert (await store(web, both, lost)).status_code == 200
    doctor = await people.doctor()
    await people.share(owner.person, doctor, studies=[pair.ct[0].study])
    headers = bearer(await people.token(doctor, "user/*.rs"))
    asked = f"requestType=WADO&studyUID={pair.ct[1].study}&seriesUID={pair.ct[1].series}&objectUID={pair.ct[1].sop}"
    for root in ("/dicomweb", owner.root):
        hidden, unknown = [
            await web.get(f"{root}{each.path}/rendered", headers={**headers, **PNG}) for each in (both, lost)
        ]
        assert (hidden.status_code, hidden.content) == (404, unknown.content)
        signs = [await web.get(f"{root}{each.path}/thumbnail", headers=headers) for each in (both, lost)]
        assert signs[0].content == signs[1].content
    for each in (both, lost):
        named = f"presentationSeriesUID={each.series}&presentationUID={each.sop}"
        assert (await web.get(f"/dicomweb/wado?{asked}&{named}", headers=headers)).status_code == 404
    assert (await web.get(f"/dicomweb{pair.ct[1].path}/rendered", headers=headers)).status_code == 200


async def test_what_is_not_blended_says_so(web: httpx.AsyncClient, pair: Pair):
    """406 with the reason: other frames of reference, crossing planes, no places, several at one place."""
    one = np.full((4, 4), 1000, np.uint16)
    elsewhere = plane(one, generate_uid(), [4.5, 8.5, 2], 2)
    crossing = plane(one, pair.reference, [4.5, 2, 8.5], 2, [1, 0, 0, 0, 0, 1])
    twice = plane(one, pair.reference, [4.5, 8.5, 2.4], 2, study=pair.pet.study, series=pair.pet.series)
    nowhere = instance()
    states = [
        (fusion(pair.ct, [elsewhere]), "frames of reference"),
        (fusion(pair.ct, [crossing]), "parallel"),
        (fusion(pair.ct, [nowhere]), "do not say where"),
        (fusion(pair.ct, [pair.pet, twice]), "same place"),
        (state(pair.pet.study, BLENDING), "lacks one of its sets"),
        (state(pair.pet.study, ADVANCED), "nothing of its inputs"),
    ]
    answer = await store(web, elsewhere, crossing, twice, nowhere, *(each for each, _ in states))
    assert answer.status_code == 200, answer.text
    for each, reason in states:
        refused = await web.get(f"/dicomweb{each.path}/rendered", headers=PNG)
        assert (refused.status_code, reason in refused.text) == (406, True), refused.text
        assert (await web.get(f"/dicomweb{each.path}/thumbnail")).status_code == 200
    alone = fusion([nowhere], [instance(nowhere.study)])
    single = fusion([nowhere], [nowhere], 1.0)
    assert (await store(web, alone, single)).status_code == 200
    assert (await web.get(f"/dicomweb{alone.path}/rendered")).status_code == 404
    assert pixels(await web.get(f"/dicomweb{single.path}/rendered", headers=PNG))[..., 1:].max() == 0


async def test_advanced_blending(web: httpx.AsyncClient, pair: Pair):
    """C.11.34 and N.2.6: step by step; padding is transparent; a whole series is an input; thresholds are refused."""
    padded = np.full((4, 4), 500, np.uint16)
    padded[0, 0] = 7
    mr = plane(padded, pair.reference, [4.5, 8.5, 2.0], 2, PixelPaddingValue=7, Modality="MR")
    sets = []
    for number, sample in enumerate((pair.ct[1], pair.pet, mr), 1):
        item = Dataset()
        item.BlendingInputNumber, item.StudyInstanceUID = number, sample.study
        item.SeriesInstanceUID, item.TimeSeriesBlending = sample.series, "FALSE"
        item.GeometryForDisplay = "TRUE" if number == 1 else "FALSE"
        item.SoftcopyVOILUTSequence = window(0, 200 if number == 1 else 1000)
        sets.append(item)
    palette = Dataset()
    for name, value in red().items():
        setattr(palette, name, value)
    sets[1].PaletteColorLookupTableSequence = [palette]

    def step(mode: str, inputs: list[int], **more: Any) -> Dataset:
        made = Dataset()
        made.BlendingMode, made.BlendingDisplayInputSequence = mode, []
        for number in inputs:
            item = Dataset()
            item.BlendingInputNumber = number
            made.BlendingDisplayInputSequence.append(item)
        for name, value in more.items():
            setattr(made, name, value)
        return made

    steps = [step("EQUAL", [2, 3], BlendingInputNumber=4), step("FOREGROUND", [4, 1], RelativeOpacity=0.5)]
    given = {
        "AdvancedBlendingSequence": sets,
        "BlendingDisplaySequence": steps,
        "PixelPresentation": "TRUE_COLOR",
    }
    made = state(pair.ct[0].study, ADVANCED, **given)
    assert (await store(web, mr, made)).status_code == 200
    answer = await web.get(f"/dicomweb{made.path}/rendered", headers=PNG)
    assert answer.status_code == 200, answer.text
    shown = pixels(answer).astype(int)
    assert shown[0, 0].tolist() == [128] * 3
    assert np.abs(shown[14, 10] - [160, 96, 96]).max() <= 1  # (255 + 128)/2 with 128; (0 + 128)/2 with 128
    assert np.abs(shown[8, 4] - [192, 64, 64]).max() <= 1  # of the two only the PET
    sets[1].ThresholdSequence = [Dataset()]
    sets[1].ThresholdSequence[0].ThresholdType = "GREATER_THAN"
    cut = state(pair.ct[0].study, ADVANCED, **given)
    assert (await store(web, cut)).status_code == 200
    refused = await web.get(f"/dicomweb{cut.path}/rendered", headers=PNG)
    assert (refused.status_code, "threshold" in refused.text) == (406, True)


def test_steps_that_contradict_each_other_are_refused():
    """C.11.33 and C.11.34: a number stands for one thing, and one step, the last, is what is shown."""

    def number(tag: str, value: object) -> dict[str, Any]:
        return {tag: {"vr": "US", "Value": [value]}}

    def sequence(tag: str, *items: dict[str, Any]) -> dict[str, Any]:
        return {tag: {"vr": "SQ", "Value": list(items)}}

    def planned(inputs: list[int], *results: int | None) -> list[Step]:
        sets = [number("00701B02", n) | number("0020000E", "1.4") for n in inputs]
        display = sequence("00701B03", number("00701B02", 1))
        steps = [
            display | number("00701B06", "EQUAL") | (number("00701B02", n) if n is not None else {})
            for n in results
        ]
        model = sequence("00701B01", *sets) | sequence("00701B04", *steps)
        return plan_of(model, ADVANCED).steps

    assert len(planned([1, 2], 3, None)) == 2
    wrong = (([1, 1], (None,)), ([1, 2], (2, None)), ([1], (2, 2, None)), ([1], (None, None)))
    for inputs, results in (*wrong, ([1], (None, 2)), ([1], (2,))):
        with pytest.raises(NotBlended):
            planned(inputs, *results)


async def test_words_in_what_lies_on_an_image(web: httpx.AsyncClient, pair: Pair):
    """10.4.3.3.4: a thumbnail has none that can be read, unless the layer says that there are none in its pixels."""
    hot = np.full((4, 4), 1000, np.uint16)
    for said, side in ({}, 128), ({"BurnedInAnnotation": "YES"}, 128), ({"BurnedInAnnotation": "NO"}, 256):
        over = plane(hot, pair.reference, [4.5, 8.5, 2.4], 2, Modality="PT", **said)
        both = fusion([pair.ct[1]], [over])
        assert (await store(web, over, both)).status_code == 200
        small = await web.get(f"/dicomweb{both.path}/thumbnail")
        assert max(pixels(small).shape) == side, said


async def test_another_state_by_the_old_address_is_another_picture(web: httpx.AsyncClient, pair: Pair):
    """9: the state's own digest is in the tag; no cache shows what another state says."""
    weak = fusion(pair.ct, [pair.pet])
    again = fusion(pair.ct, [pair.pet], 0.75)
    assert (await store(web, weak, again)).status_code == 200
    asked = f"requestType=WADO&studyUID={pair.ct[1].study}&seriesUID={pair.ct[1].series}&objectUID={pair.ct[1].sop}"
    tags = []
    for each in (weak, again):
        named = f"presentationSeriesUID={each.series}&presentationUID={each.sop}"
        tags.append((await web.get(f"/dicomweb/wado?{asked}&{named}")).headers["etag"])
    assert tags[0] != tags[1]


async def test_a_share_that_ends_between_two_pictures(
    web: httpx.AsyncClient, people: People, owner: Owner, pair: Pair, monkeypatch: pytest.MonkeyPatch
):
    """What lies on an image is asked for by the reach of the moment in which it is drawn; the answer is cut."""
    both = fusion(pair.ct, [pair.pet])
    assert (await store(web, both)).status_code == 200
    doctor = await people.doctor()
    studies = [pair.ct[0].study, pair.pet.study]
    given = await people.share(owner.person, doctor, studies=studies)
    headers = {
        **bearer(await people.token(doctor, "user/*.rs")),
        "Accept": 'multipart/related; type="image/png"',
    }
    assert (await web.get(f"/dicomweb{both.path}/rendered", headers=headers)).status_code == 200
    draw, drawn = render.rendered, []

    async def drawing(services: Services, row: InstanceRow, number: int, look: Look) -> bytes:
        image = await draw(services, row, number, look)
        drawn.append(row.sop_uid)
        actor, reach = actor_of(owner.person), await consent_reach(people.services, owner.person)
        less: Any = {"rights": ("images", "reports"), "studies": studies[:1], "until": None}
        await share.change(people.services, given, **less, actor=actor, reach=reach)
        return image

    monkeypatch.setattr(render, "rendered", drawing)
    with suppress(httpx.RemoteProtocolError):
        cut = await web.get(f"/dicomweb{both.path}/rendered", headers=headers)
        pytest.fail(f"whole: {cut.status_code}")
    assert drawn == [pair.ct[0].sop]
