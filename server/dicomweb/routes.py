"""The resources of the service, as a table. Mounted at `/dicomweb` and at `/patients/{patient}/dicomweb`.

DICOM PS3.18, Table 10.3-1 (Studies Service resources).
"""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

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
from .capabilities import Elsewhere
from .offers import offer_of

STUDY = "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"

FRAMES = INSTANCE + "/frames/{frames}"
_WITH_PICTURES = (("study", STUDY), ("series", SERIES), ("instance", INSTANCE), ("frames", FRAMES))

_table = [
    # 10.5 store
    Route("/studies", stow.store, methods=["POST"], name="store"),
    Route(STUDY, stow.store, methods=["POST"], name="store_to_study"),
    # 10.6 search
    Route("/studies", qido.find_studies, methods=["GET"]),
    Route("/patients", qido_patients.find_patients, methods=["GET"], name="find_patients"),
    *(
        Route(f"{of}/count", endpoint, methods=["GET"], name=f"{endpoint.__name__}{within}")
        for of, endpoint, within in (
            ("/patients", qido_patients.count_patients, ""),
            ("/studies", qido_patients.count_studies, ""),
            ("/series", qido_patients.count_series, ""),
            ("/instances", qido_patients.count_instances, ""),
            (f"{STUDY}/series", qido_patients.count_series, "_of_study"),
            (f"{STUDY}/instances", qido_patients.count_instances, "_of_study"),
            (f"{SERIES}/instances", qido_patients.count_instances, "_of_series"),
        )
    ),
    Route("/series", qido.find_series, methods=["GET"]),
    Route("/instances", qido.find_instances, methods=["GET"]),
    Route(f"{STUDY}/series", qido.find_series, methods=["GET"], name="find_series_of_study"),
    Route(f"{STUDY}/instances", qido.find_instances, methods=["GET"], name="find_instances_of_study"),
    Route(f"{SERIES}/instances", qido.find_instances, methods=["GET"], name="find_instances_of_series"),
    # 10.4 retrieve
    Route(STUDY, wado.retrieve, methods=["GET"], name="retrieve_study"),
    Route(SERIES, wado.retrieve, methods=["GET"], name="retrieve_series"),
    Route(INSTANCE, wado.retrieve, methods=["GET"], name="retrieve_instance"),
    Route(f"{STUDY}/metadata", metadata.retrieve_metadata, methods=["GET"], name="study_metadata"),
    Route(f"{SERIES}/metadata", metadata.retrieve_metadata, methods=["GET"], name="series_metadata"),
    Route(f"{INSTANCE}/metadata", metadata.retrieve_metadata, methods=["GET"], name="instance_metadata"),
    Route(FRAMES, wado_frames.retrieve_frames, methods=["GET"], name="retrieve_frames"),
    Route(f"{STUDY}/bulkdata", bulkdata_all.retrieve_all, methods=["GET"], name="study_bulkdata"),
    Route(f"{SERIES}/bulkdata", bulkdata_all.retrieve_all, methods=["GET"], name="series_bulkdata"),
    Route(f"{STUDY}/pixeldata", bulkdata_all.retrieve_all_pixels, methods=["GET"], name="study_pixeldata"),
    Route(f"{SERIES}/pixeldata", bulkdata_all.retrieve_all_pixels, methods=["GET"], name="series_pixeldata"),
    Route(f"{INSTANCE}/bulkdata", bulkdata_all.retrieve_all, methods=["GET"], name="instance_bulkdata"),
    Route(f"{INSTANCE}/bulkdata/{{path:path}}", bulkdata.retrieve_bulkdata, methods=["GET"], name="bulkdata"),
    Route(f"{INSTANCE}/pixeldata", bulkdata.retrieve_pixeldata, methods=["GET"], name="pixeldata"),
    *(
        Route(f"{of}/rendered", wado_rendered.retrieve_rendered, methods=["GET"], name=f"{name}_rendered")
        for name, of in _WITH_PICTURES
    ),
    *(
        Route(f"{of}/thumbnail", wado_rendered.retrieve_thumbnail, methods=["GET"], name=f"{name}_thumbnail")
        for name, of in _WITH_PICTURES
    ),
    # 9 URI service
    Route("/wado", wado_uri.retrieve, methods=["GET"], name="wado_uri"),
    # beyond PS3.18
    Route("/changefeed", change_feed.read_feed, methods=["GET"], name="change_feed"),
    Route("/changefeed/latest", change_feed.read_latest, methods=["GET"], name="change_feed_latest"),
    # delete
    Route(STUDY, delete.delete, methods=["DELETE"], name="delete_study"),
    Route(SERIES, delete.delete, methods=["DELETE"], name="delete_series"),
    Route(INSTANCE, delete.delete, methods=["DELETE"], name="delete_instance"),
]
_elsewhere = Elsewhere(_table, offer_of)

routes: list[BaseRoute] = [
    *_table,
    Route(
        "/{path:path}",
        _elsewhere.answer,
        methods=["OPTIONS", "GET", "POST", "PUT", "PATCH", "DELETE"],
        name="elsewhere",
    ),
]
