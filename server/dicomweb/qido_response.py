"""What a search answers: prepared rows joined, or opened where further attributes were asked for.

DICOM PS3.18, 10.6.3 (response), Tables 10.6.3-3 to 10.6.3-5 (what is always returned), 8.3.4.3 (includefield).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from pydicom.datadict import keyword_for_tag
from starlette.requests import Request
from starlette.responses import Response

from server.core.media import best
from server.imaging.catalogue import Row
from server.imaging.columns import Level
from server.imaging.dicom_json import ROOT

from . import multipart
from .conditional import CACHING
from .dicom_xml import to_xml
from .json_answer import DICOM_JSON, joined, json_answer
from .multipart import OutPart
from .qido_params import QidoQuery
from .urls import Root

Json = dict[str, Any]

_XML = 'multipart/related; type="application/dicom+xml"'
_CSV = "text/csv"
_OFFERS = (DICOM_JSON, "application/json", _XML, _CSV)

# What every row has without being asked (PS3.18, Tables 10.6.3-3 to 5).
_STUDY = frozenset(
    [
        "00080020",
        "00080030",
        "00080050",
        "00080056",
        "00080061",
        "00080062",
        "00080090",
        "00081030",
        "00081190",
        "00100010",
        "00100020",
        "00100030",
        "00100040",
        "0020000D",
        "00200010",
        "00201206",
        "00201208",
    ]
)
_SERIES = frozenset(
    ["00080056", "00080060", "0008103E", "00081190", "0020000D", "0020000E", "00200011", "00201209"]
)
_INSTANCE = frozenset(["00080016", "00080018", "00080056", "00081190", "0020000D", "0020000E", "00200013"])
# Of one series; a study has its modalities in (0008,0061). Viewers ask for it all the same.
_NEVER_OF_STUDY = frozenset({"00080060", "0008103E"})
_RETURNED = {
    Level.PATIENT: frozenset(
        ["00100010", "00100020", "00100030", "00100040", "00201200", "00201202", "00201204"]
    ),
    Level.STUDY: _STUDY | _NEVER_OF_STUDY,
    Level.SERIES: _SERIES,
    Level.INSTANCE: _INSTANCE,
}


def chosen_format(accept: str | None) -> str:
    """The media type of the answer; raises NotAcceptable."""
    return best(accept, _OFFERS)


def needs_whole(query: QidoQuery, level: Level) -> bool:
    """Whether attributes are asked for beyond those that are always returned."""
    return query.include_all or any(path[0] not in _RETURNED[level] for path in query.include)


async def rows_answer(
    request: Request,
    rows: Sequence[Row],
    query: QidoQuery,
    level: Level,
    media_type: str,
    warnings: Iterable[str],
    root: Root,
) -> Response:
    """The matches, in the order of the rows; `[]` when there are none."""
    fields = {"Warning": ", ".join(f'299 {root.settings.dicomweb_base} "{each}"' for each in warnings)}
    headers = {name: value for name, value in fields.items() if value}
    results = _results(rows, query, level, root, within="study" in request.path_params)
    if media_type not in (_XML, _CSV):
        return await json_answer(request, joined(results), media_type=media_type, headers=headers)
    models = [orjson.loads(each) for each in results]
    if media_type == _CSV:
        return Response(
            _csv(models), headers={"Content-Type": "text/csv; charset=utf-8", **CACHING, **headers}
        )
    return await _xml(models, headers)


def _results(rows: Sequence[Row], query: QidoQuery, level: Level, root: Root, *, within: bool) -> list[bytes]:
    """One JSON object a row, with the root of its patient in it. `within`: the address names the study."""
    addresses: dict[str, bytes] = {}
    above: dict[tuple[bytes, bytes], Json] = {}  # studies and series, which many rows have in common
    whole = needs_whole(query, level)
    results = []
    for row in rows:
        if row.patient_id not in addresses:
            addresses[row.patient_id] = root.bytes_of(row.patient_id)
        address = addresses[row.patient_id]
        if whole or row.study_qido or row.series_qido:
            results.append(_merged(row, query, address, above, within=within))
        else:
            results.append(row.qido.replace(ROOT, address))
    return results


def _merged(
    row: Row, query: QidoQuery, address: bytes, above: dict[tuple[bytes, bytes], Json], *, within: bool
) -> bytes:
    """The row with what was asked for beyond it, and with its study's and series' attributes where wanted."""
    study, series, further = (
        _once(each, address, above) for each in (row.study_qido, row.series_qido, row.study_document)
    )
    own = {**series, **_opened(row.qido, address)}
    if not within:  # those of the levels above are returned too (10.6.3.3)
        own = {**study, **own}
    document = _opened(row.document, address)
    if query.include_all:
        wanted = document if within else {**further, **document}
    else:
        wanted = _chosen(query, {**further, **study, **document})
    own |= {tag: element for tag, element in wanted.items() if tag not in own}
    return orjson.dumps(own, option=orjson.OPT_SORT_KEYS)  # F.2.2: by tag


def _chosen(query: QidoQuery, document: Json) -> Json:
    """What was asked for; a private attribute with its creator (PS3.18, 10.6.3.3)."""
    tags = {path[0] for path in query.include} & document.keys()
    tags |= {f"{tag[:4]}00{tag[4:6]}" for tag in tags if int(tag[3], 16) % 2} & document.keys()
    return {tag: document[tag] for tag in tags}


def _once(prepared: bytes, address: bytes, opened: dict[tuple[bytes, bytes], Json]) -> Json:
    """`_opened`, once for all rows of it. Two patients may hold what is prepared alike."""
    key = prepared, address
    if key not in opened:
        opened[key] = _opened(prepared, address)
    return opened[key]


def _opened(prepared: bytes, address: bytes) -> Json:
    model: Json = orjson.loads(prepared.replace(ROOT, address)) if prepared else {}
    return model


async def _xml(models: Sequence[Json], headers: Mapping[str, str]) -> Response:
    """PS3.18, 10.6.3.3: one part a match."""
    boundary = multipart.new_boundary()
    documents = [to_xml(model) for model in models]
    parts = [OutPart("application/dicom+xml", len(each), each) for each in documents]
    body = b"".join([chunk async for chunk in multipart.write_parts(parts, boundary)])
    content_type = multipart.content_type("application/dicom+xml", boundary)
    return Response(body, headers={"Content-Type": content_type, **CACHING, **headers})


def _csv(models: Sequence[Json]) -> bytes:
    """A line a match, a column an attribute; sequences have no place in it."""
    tags = sorted({tag for model in models for tag, element in model.items() if element["vr"] != "SQ"})
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([keyword_for_tag(int(tag, 16)) or tag for tag in tags])
    for model in models:
        writer.writerow([_cell(model.get(tag, {}).get("Value", [])) for tag in tags])
    return out.getvalue().encode()


def _cell(values: Sequence[Any]) -> str:
    texts = [
        "=".join(each.values()) if isinstance(each, dict) else str(each)
        for each in values
        if each is not None
    ]
    text = "\\".join(texts)
    # A spreadsheet would run these as a formula; the apostrophe makes it a text.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") and not text[1:2].isdigit() else text
