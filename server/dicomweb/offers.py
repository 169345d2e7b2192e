"""What each resource takes and gives, for the description of the service: query parameters and media types.

DICOM PS3.18, 8.9 and H. A test asks every resource for every media type that is named here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import (
    bulkdata,
    bulkdata_all,
    change_feed,
    delete,
    metadata,
    qido,
    qido_patients,
    stow,
    wado,
    wado_frames,
    wado_rendered,
    wado_uri,
)
from .json_answer import DICOM_JSON
from .qido_params import PARAMETERS as SEARCH
from .representations import DICOM, OCTETS

Handler = Callable[..., Any]

JSON = "application/json"
_XML = 'multipart/related; type="application/dicom+xml"'
_PARTS = f'multipart/related; type="{DICOM}"'
_PICTURES = tuple(wado_rendered.FORMATS)
_RENDERED = ("viewport", "window", "quality", "annotation", "iccprofile")


@dataclass(frozen=True)
class Offer:
    """Of one handler: what the query may say beside `accept`, what comes out, and what goes in."""

    query: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


_SEARCH = Offer(("{attributeID}", *SEARCH), (DICOM_JSON, JSON, _XML, "text/csv"))
_COUNT = Offer(("{attributeID}", "fuzzymatching", "emptyvaluematching", "multiplevaluematching"), (JSON,))

OFFERS: dict[Handler, Offer] = {
    stow.store: Offer(
        gives=(DICOM_JSON, JSON, "application/dicom+xml"),
        takes=(_PARTS, f'multipart/related; type="{DICOM_JSON}"', _XML, DICOM),
    ),
    qido.find_studies: _SEARCH,
    qido.find_series: _SEARCH,
    qido.find_instances: _SEARCH,
    qido_patients.find_patients: _SEARCH,
    qido_patients.count_patients: _COUNT,
    qido_patients.count_studies: _COUNT,
    qido_patients.count_series: _COUNT,
    qido_patients.count_instances: _COUNT,
    wado.retrieve: Offer(("dicomdir",), (_PARTS, DICOM, "application/zip", DICOM_JSON)),
    metadata.retrieve_metadata: Offer(("includefield",), metadata.OFFERS),
    wado_frames.retrieve_frames: Offer(
        gives=tuple(
            f'multipart/related; type="{each}"'
            for each in (OCTETS, "image/jpeg", "image/jls", "image/jp2", "image/jphc", "image/jxl", "image/dicom-rle")
        )
    ),
    bulkdata_all.retrieve_all: Offer(gives=(f'multipart/related; type="{OCTETS}"',)),
    bulkdata_all.retrieve_all_pixels: Offer(gives=(f'multipart/related; type="{OCTETS}"',)),
    bulkdata.retrieve_bulkdata: Offer(gives=(OCTETS, f'multipart/related; type="{OCTETS}"')),
    bulkdata.retrieve_pixeldata: Offer(gives=(OCTETS, f'multipart/related; type="{OCTETS}"')),
    wado_rendered.retrieve_rendered: Offer(_RENDERED, _PICTURES),
    wado_rendered.retrieve_thumbnail: Offer(("viewport",), ("image/jpeg",)),
    wado_uri.retrieve: Offer(
        (
            "requestType", "studyUID", "seriesUID", "objectUID", "contentType", "frameNumber", "rows", "columns",
            "region", "windowCenter", "windowWidth", "imageQuality", "annotation", "presentationSeriesUID",
            "presentationUID", "transferSyntax",
        ),
        (*_PICTURES, DICOM),
    ),
    change_feed.read_feed: Offer(
        ("offset", "limit", "startTime", "endTime", "includeMetadata"), (JSON,)
    ),
    change_feed.read_latest: Offer(("includeMetadata",), (JSON,)),
    delete.delete: Offer(),
}  # fmt: skip


def offer_of(handler: Handler) -> Offer:
    """What the handler of a route takes and gives."""
    return OFFERS[handler]
