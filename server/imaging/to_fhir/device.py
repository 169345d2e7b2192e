"""The equipment that a series was made with, as a Device.

FHIR R4, Device; DICOM PS3.3, C.7.5.1 (General Equipment module).
"""

from __future__ import annotations

from typing import Any

from .imaging_study import text

Json = dict[str, Any]

_MANUFACTURER, _MODEL, _SERIAL, _STATION = "00080070", "00081090", "00181000", "00081010"


def facts(attributes: Json) -> tuple[str, ...]:
    """What tells one piece of equipment from another; empty where a series names none."""
    found = tuple(text(attributes, tag) for tag in (_MANUFACTURER, _MODEL, _SERIAL, _STATION))
    return found if found[0] or found[1] or found[2] else ()


def device(id: str, attributes: Json) -> Json:
    """The Device. Its `patient` would say that it is worn: whose images it made, the server keeps beside it."""
    manufacturer, model, serial, station = facts(attributes)
    resource: Json = {"resourceType": "Device", "id": id, "status": "active"}
    if manufacturer:
        resource["manufacturer"] = manufacturer
    if serial:
        resource["serialNumber"] = serial
    names = []
    if station:
        names.append({"name": station, "type": "user-friendly-name"})
    if model:
        resource["modelNumber"] = model
        names.append({"name": model, "type": "model-name"})
    if names:
        resource["deviceName"] = names
    if versions := _versions(attributes):
        resource["version"] = [{"value": each} for each in versions]
    if institution := text(attributes, "00080080"):
        resource["owner"] = {"type": "Organization", "display": institution}
    return resource


def _versions(attributes: Json) -> list[str]:
    """Software Versions (0018,1020), each once."""
    values = attributes.get("00181020", {}).get("Value") or ()
    return list(
        dict.fromkeys(" ".join(each.split()) for each in values if isinstance(each, str) and each.strip())
    )
