"""My imaging, a study, and the quick preview of its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response

from server.access.action import STUDY_READ, STUDY_SEARCH, Right
from server.access.reach import Reach
from server.core import clock
from server.core.errors import NotFound
from server.core.texts import N_, translations
from server.storage.sql import load

from . import hard_copies, joining, matches, people_seeing, reports, studies, words
from .hard_copies import HardCopy
from .pages import HEADERS, language_of, render, see_other
from .profile import Profile, acting_for, own, own_id
from .studies import Series, Study
from .study_visit import own_study, study_address, study_in_reach
from .visit import Visit

QUERIES = load(__package__)
PAGE = 50
MOST_FOUND = 200
CINE = 15  # images a second when they run
# Window presets in Hounsfield units: center, width (PS3.3, C.11.2.1.2).
WINDOWS = {
    "CT": (
        (N_("As made"), ""),
        (N_("Soft tissue"), "40,400,linear"),
        (N_("Lung"), "-600,1500,linear"),
        (N_("Bone"), "400,1800,linear"),
        (N_("Brain"), "40,80,linear"),
        (N_("Liver"), "70,160,linear"),
    )
}


Entry = Study | HardCopy


@dataclass(frozen=True)
class Page:
    """Where in a long list the reader is."""

    previous: str
    next: str
    words: str


async def my_imaging(visit: Visit) -> Response:
    """Everything in the own record, the newest study date first, a line per year."""
    patient_id = await own_id(visit)
    reach = (await visit.reach(STUDY_SEARCH)).at(patient_id)
    kind, number = visit.query("kind")[:16], visit.number("page")
    total, differing = await studies.count(visit.services.db, reach=reach, kind=kind)
    entries, papers = await entries_of(visit, patient_id, kind=kind, number=number)
    return await _list_page(
        visit,
        patient_id,
        entries,
        total=total,
        differing=differing if number == 1 else 0,
        kind=kind,
        page=page_of(visit, number, PAGE, total + papers, kind=kind),
    )


async def search(visit: Visit) -> Response:
    """Studies with these words in their description. By POST: what is looked for belongs in no address and no log."""
    patient_id, text = await own_id(visit), visit.form.text("text", required=False)
    if not text or not visit.form:
        return see_other("/imaging")
    reach = (await visit.reach(STUDY_SEARCH)).at(patient_id)
    language, db = language_of(visit.request, visit.me), visit.services.db
    match = matches.naming(text, language)
    found: list[Entry] = [
        *await studies.find(
            db,
            reach=reach,
            reports=await visit.reach(reports.REPORT_READ),
            match=match,
            limit=MOST_FOUND + 1,
            language=language,
        )
    ]
    papers = (await visit.reach(hard_copies.DOCUMENT_READ)).at(patient_id)
    values = {"patient": patient_id, "most": MOST_FOUND}
    rows = await db.fetch_all(QUERIES["papers_of_patient"], values, papers=papers.resources())
    kept = await hard_copies.some(db, [row["id"] for row in rows], reach=papers, language=language)
    found += [each for each in kept.values() if each.says(text)]
    found.sort(key=lambda each: each.sorting, reverse=True)
    shown = found[:MOST_FOUND]
    return await _list_page(
        visit, patient_id, shown, total=len(shown), text=text, has_more=len(found) > MOST_FOUND
    )


async def _list_page(
    visit: Visit,
    patient_id: str,
    entries: list[Entry],
    *,
    total: int,
    differing: int = 0,
    kind: str = "",
    text: str = "",
    has_more: bool = False,
    page: Page | None = None,
) -> Response:
    seeing = await people_seeing.of(visit, patient_id)
    reach = (await visit.reach(STUDY_SEARCH)).at(patient_id)
    language = language_of(visit.request, visit.me)
    return render(
        visit.request,
        "imaging.html",
        acting_for=await acting_for(visit, patient_id),
        here="imaging",
        total=total,
        differing=differing,
        sharing_with=len(seeing.active),
        kind=kind,
        text=text,
        has_more=has_more,
        kinds=[
            (code, words.KINDS.get(code, code))
            for code in await studies.kinds(visit.services.db, reach=reach)
        ],
        groups=list(studies.by_year(entries)),
        seen_by={
            each.uid: people_seeing.NOBODY.sentence(each.uid, language)
            if each.differs
            else seeing.sentence(each.uid, language)
            for each in entries
            if isinstance(each, Study)
        },
        page=page or Page("", "", ""),
    )


async def entries_of(
    visit: Visit, patient_id: str, *, kind: str = "", number: int = 1
) -> tuple[list[Entry], int]:
    """A page of what a patient has, studies and records on paper by their date; how many of the latter there are."""
    db, language = visit.services.db, language_of(visit.request, visit.me)
    reach = (await visit.reach(STUDY_SEARCH)).at(patient_id)
    papers = (await visit.reach(hard_copies.DOCUMENT_READ)).at(patient_id)
    values = {"patient": patient_id, "kind": kind, "limit": PAGE, "offset": (number - 1) * PAGE}
    parts = {"reach": reach.studies(), "match": matches.of_kind(kind), "papers": papers.resources()}
    rows = await db.fetch_all(QUERIES["entries_page"], values, **parts)
    wanted = {name: [row["id"] for row in rows if row["kind"] == name] for name in ("study", "record")}
    found: dict[tuple[str, str], Entry] = {}
    counted = (await visit.reach(reports.REPORT_READ)).at(patient_id)
    shown = await studies.some(db, wanted["study"], reach=reach, reports=counted, language=language)
    found |= {("study", uid): each for uid, each in shown.items()}
    for key, paper in (await hard_copies.some(db, wanted["record"], reach=papers, language=language)).items():
        found["record", key] = paper
    asked = {"patient": patient_id, "kind": kind}
    count = await db.fetch_val(QUERIES["count_papers"], asked, papers=papers.resources())
    listed = [found[row["kind"], row["id"]] for row in rows if (row["kind"], row["id"]) in found]
    return listed, int(count)


async def letter(visit: Visit) -> Response:
    """A letter to print, for a hospital that keeps images of the patient."""
    profile, language = await own(visit), language_of(visit.request, visit.me)
    lines: dict[str, Any] = next(iter(profile.resource.get("address", [])), {})
    place = " ".join(str(lines.get(each, "")) for each in ("postalCode", "city")).strip()
    return render(
        visit.request,
        "letter.html",
        here="imaging",
        whose=profile,
        birth_date=words.day(profile.birth_day, language),
        address=[each for each in (*lines.get("line", []), place, lines.get("country", "")) if each],
        today=words.day(clock.now(), language),
    )


async def study(visit: Visit) -> Response:
    """One study: pictures, who can see it, details."""
    found, reach = await study_in_reach(visit)
    mine = await own_study(visit, found)
    address = study_address(found, mine)
    series = await studies.series_of(
        visit.services.db, found, reach=reach, preview=study_address(found, mine, "/preview")
    )
    seeing = await people_seeing.of(visit, found.patient_id) if mine else people_seeing.NOBODY
    return render(
        visit.request,
        "study.html",
        here="imaging" if mine else "patients",
        study=found,
        mine=mine,
        address=address,
        back="/imaging" if mine else f"/my-patients/{found.patient_id}",
        back_words=_say(visit, N_("My imaging") if mine else N_("All studies of this patient")),
        series=series,
        preview=study_address(found, mine, "/preview"),
        cover=cover_of(found, series),
        viewer=viewer_address(found, mine),
        shares=[(each, found.uid in (each.studies or (found.uid,))) for each in seeing.active]
        if mine
        else [],
        reports=await reports.of_study(
            visit.services.db, found, reach=await visit.reach(reports.REPORT_READ)
        ),
        may_add=mine or await _may_add(visit, found),
        download=f"{found.root}?accept=application/zip&dicomdir=true"
        if mine or await _may_download(visit, found)
        else "",
        facts=_facts(visit, found, series, mine),
        differs_words=_differs(visit, found, await own(visit)) if found.differs and mine else "",
        other_versions=await joining.other_versions(visit, found.patient_id, found.uid) if mine else [],
    )


async def preview(visit: Visit) -> Response:
    """The quick look: one image at a time, drawn by the server; links do what the script does faster."""
    found, reach = await study_in_reach(visit)
    mine = await own_study(visit, found)
    places = Places(
        back=study_address(found, mine),
        preview=study_address(found, mine, "/preview"),
        frames=study_address(found, mine, "/frames"),
        viewer=viewer_address(found, mine),
    )
    return await preview_page(visit, found, places, reach=reach)


@dataclass(frozen=True)
class Places:
    """Where the links of a quick look lead; a guest's lie below their link."""

    back: str
    preview: str
    frames: str
    viewer: str


def viewer_address(found: Study, mine: bool) -> str:
    """OHIF with this study; whose it is stands in the address when it is somebody else's."""
    return f"/viewer/viewer?StudyInstanceUIDs={found.uid}" + ("" if mine else f"&patient={found.patient_id}")


async def preview_page(visit: Visit, found: Study, places: Places, *, reach: Reach) -> Response:
    """The quick look at a study within reach."""
    address = places.preview
    series = [
        each
        for each in await studies.series_of(visit.services.db, found, reach=reach, preview=address)
        if each.frames
    ]
    current = next(
        (each for each in series if each.uid == visit.query("series")), series[0] if series else None
    )
    if current is None:
        raise NotFound()
    images = _expanded(await studies.frames_of(visit.services.db, found, current.uid, reach=reach))
    number = min(visit.number("n", otherwise=1 + len(images) // 2), len(images))
    window = visit.query("window")
    presets = WINDOWS.get(current.modality, ())
    if window not in {each for _, each in presets}:
        window = ""

    def at(n: int, shown: str = window) -> str:
        return _with(address, series=current.uid, n=str(n), window=shown)

    return render(
        visit.request,
        "preview.html",
        study=found,
        back=places.back,
        viewer=places.viewer,
        series=series,
        current=current.uid,
        number=number,
        total=len(images),
        image=images[number - 1] and _with(f"{found.root}{images[number - 1]}", window=window),
        previous=at(number - 1) if number > 1 else "",
        next=at(number + 1) if number < len(images) else "",
        window=window,
        rate=CINE,
        presets=[{"name": name, "window": each, "href": at(number, each)} for name, each in presets],
        frames=_with(places.frames, series=current.uid),
    )


async def frames(visit: Visit) -> Response:
    """The images of one series in order, for the preview's script."""
    found, reach = await study_in_reach(visit)
    return await frames_answer(visit, found, reach=reach)


async def frames_answer(visit: Visit, found: Study, *, reach: Reach) -> Response:
    """The same for a study within reach."""
    listed = await studies.frames_of(visit.services.db, found, visit.query("series"), reach=reach)
    if not listed:
        raise NotFound()
    return JSONResponse({"root": found.root, "instances": listed}, headers=HEADERS)


def page_of(visit: Visit, number: int, size: int, total: int, **query: str) -> Page:
    """The links to the pages before and after."""
    kept = {name: value for name, value in query.items() if value}
    path = visit.request.url.path
    pages = max(1, -(-total // size))
    return Page(
        previous=_with(path, **kept, page=str(number - 1)) if number > 1 else "",
        next=_with(path, **kept, page=str(number + 1)) if number < pages else "",
        words=f"{number} / {pages}",
    )


async def _may_download(visit: Visit, found: Study) -> bool:
    """Whether the share lets this doctor take the original files."""
    reach = (await visit.reach(STUDY_READ, right=Right.DOWNLOAD)).at(found.patient_id)
    return bool(await studies.titles(visit.services.db, [found.uid], reach=reach))


async def _may_add(visit: Visit, found: Study) -> bool:
    """Whether the share lets this doctor add reports."""
    reach = await visit.reach(reports.REPORT_CREATE)
    return await visit.services.gate.reaches_patient(reach, found.patient_id)


def _with(address: str, **query: str) -> str:
    kept = {name: value for name, value in query.items() if value}
    if not kept:
        return address
    return address + ("&" if "?" in address else "?") + urlencode(kept, safe=",")


def _expanded(listed: list[tuple[str, str, int]]) -> list[str]:
    return [
        f"/series/{series}/instances/{sop}/frames/{frame}/rendered"
        for series, sop, count in listed
        for frame in range(1, count + 1)
    ]


def cover_of(found: Study, series: list[Series]) -> str:
    """A picture from the middle of the longest series."""
    shown = [each for each in series if each.frames and each.row["cover"]]
    if not shown:
        return ""
    best = max(shown, key=lambda each: each.frames)
    frame = best.row["cover_frame"] if best.row["images"] == 1 else 1
    return f"{found.root}/series/{best.uid}/instances/{best.row['cover']}/frames/{frame}/rendered"


def _facts(visit: Visit, found: Study, series: list[Series], mine: bool) -> list[tuple[str, str]]:
    said = {
        N_("Kind"): ", ".join(found.kinds),
        N_("Study date"): found.date_words,
        N_("Where"): found.place,
        N_("Name on the images"): found.person,
        N_("Birth date on the images"): words.day(found.birth_date, found.language),
        N_("Series"): str(len(series)),
        N_("Size"): _size(found.row["size"]),
        N_("Brought by"): found.row["organization"] or _say(visit, N_("you") if mine else N_("the patient")),
        N_("In the record since"): words.day(found.created_at, found.language),
    }
    return [(_say(visit, name), value) for name, value in said.items() if value]


def _differs(visit: Visit, found: Study, profile: Profile) -> str:
    """What the images say of their person, and what the profile says."""
    images = _say(visit, N_("The images carry the name %(name)s and the birth date %(date)s."))
    known = _say(visit, N_("Your profile says %(name)s and %(date)s."))
    unknown = _say(visit, N_("unknown"))
    dates = [words.day(each, found.language) for each in (found.birth_date, profile.birth_day)]
    names = [found.person, profile.name]
    said = [
        text % {"name": name or unknown, "date": date or unknown}
        for text, name, date in zip((images, known), names, dates, strict=True)
    ]
    return " ".join(said)


def _size(octets: int) -> str:
    return f"{octets / 1_000_000:,.1f} MB" if octets >= 100_000 else f"{max(1, octets // 1000)} kB"


def _say(visit: Visit, text: str) -> str:
    return translations(language_of(visit.request, visit.me)).gettext(text)
