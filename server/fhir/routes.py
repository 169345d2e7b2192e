"""The addresses of the FHIR API, below [base] = /fhir.

FHIR R4, 3.1.0 (summary of interactions).
"""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from server.imaging.to_fhir.manifest import KEY_OBJECTS_ID

from . import (
    capability,
    create,
    delete,
    docref,
    everything,
    export,
    history,
    manifest,
    match,
    operations,
    patch,
    read,
    search,
    search_system,
    subscription,
    transaction,
    update,
)

routes: list[BaseRoute] = [
    Route("/metadata", capability.capabilities, methods=["GET"]),
    Route("/$versions", capability.versions, methods=["GET"]),
    Route("/", transaction.process_bundle, methods=["POST"]),
    Route("/", search_system.search_system, methods=["GET"]),
    Route("/_search", search_system.search_system, methods=["POST"]),
    Route("/_history", history.system_history, methods=["GET"]),
    Route("/$export", export.export_system, methods=["GET", "POST"]),
    Route("/Patient/$export", export.export_patients, methods=["GET", "POST"]),
    Route("/Group/{id}/$export", export.export_group, methods=["GET", "POST"]),
    Route("/$export/{export}", export.export_status, methods=["GET"]),
    Route("/$export/{export}", export.cancel_export, methods=["DELETE"]),
    Route("/$export/{export}/{file}", export.download, methods=["GET"]),
    Route("/Subscription/$status", subscription.type_status, methods=["GET", "POST"]),
    Route("/Subscription/{id}/$status", subscription.instance_status, methods=["GET", "POST"]),
    Route("/Subscription/{id}/$events", subscription.events, methods=["GET", "POST"]),
    Route("/DocumentReference/$docref", docref.docref, methods=["GET", "POST"]),
    Route("/{type}/_history", history.type_history, methods=["GET"]),
    Route("/{type}/_search", search.search_type, methods=["POST"]),
    Route("/{type}/$validate", operations.validate_resource, methods=["POST"]),
    Route("/{type}/{id}/$validate", operations.validate_resource, methods=["POST"]),
    Route("/Patient/$match", match.match_patient, methods=["POST"]),
    Route("/Patient/{id}/$everything", everything.everything, methods=["GET", "POST"]),
    Route("/{type}/{id}/_history", history.instance_history, methods=["GET"]),
    Route("/{type}/{id}/_history/{vid}", read.read_version, methods=["GET"]),
    Route("/Patient/{id}/*", search_system.search_whole_compartment, methods=["GET"]),
    Route("/Patient/{id}/{type}", search.search_compartment, methods=["GET"]),
    Route("/Patient/{id}/{type}/_search", search.search_compartment, methods=["POST"]),
    Route("/Bundle/{id}", manifest.read_manifest, methods=["GET"]),
    Route(f"/Binary/{KEY_OBJECTS_ID}{{id}}", manifest.read_key_objects, methods=["GET"]),
    Route("/{type}/{id}", read.read_resource, methods=["GET"]),
    Route("/{type}/{id}", update.update_resource, methods=["PUT"]),
    Route("/{type}/{id}", patch.patch_resource, methods=["PATCH"]),
    Route("/{type}/{id}", delete.delete_resource, methods=["DELETE"]),
    Route("/{type}", search.search_type, methods=["GET"]),
    Route("/{type}", create.create_resource, methods=["POST"]),
    Route("/{type}", update.update_conditionally, methods=["PUT"]),
    Route("/{type}", patch.patch_conditionally, methods=["PATCH"]),
    Route("/{type}", delete.delete_conditionally, methods=["DELETE"]),
]

# [base] itself, which clients write without a slash at the end; app.py mounts it beside the others.
base_routes: list[BaseRoute] = [
    Route("/fhir", transaction.process_bundle, methods=["POST"]),
    Route("/fhir", search_system.search_system, methods=["GET"]),
]
