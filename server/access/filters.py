"""The filters of granular scopes as conditions (SMART App Launch 2.2, "finer-grained resource constraints").

A filter on imaging selects whole studies: a PET/CT study is seen whole or not, the same in FHIR and DICOMweb
(decision 3). A filter that cannot be put into a statement opens nothing.
"""

from __future__ import annotations

from server.storage.where import FALSE, Where, any_of

from .scopes import Filter

DCM = "http://dicom.nema.org/resources/ontology/DCM"


def study_filter(filter: Filter, alias: str, prefix: str) -> Where:
    """A condition over a row of table `study`."""
    if filter.param != "modality":
        return FALSE
    codes = [value.code for value in filter.values if value.system in (None, DCM)]
    return Where(f"{alias}.modalities && :{prefix}::text[]", {prefix: codes})


def resource_filter(filter: Filter, alias: str, type: str, prefix: str) -> Where:
    """A condition over a row of table `resource`: it has one of the codes, as the search index knows them."""
    param = Where(f"scoped.param = :{prefix}_param", {f"{prefix}_param": f"{type}.{filter.param}"})
    coded = []
    for number, value in enumerate(filter.values):
        name = f"{prefix}_{number}"
        one = Where(f"scoped.code = :{name}", {name: value.code})
        if value.system is not None:
            one = one & Where(f"scoped.system = :{name}_system", {f"{name}_system": value.system})
        coded.append(one)
    match = param & any_of(*coded)
    text = f"EXISTS (SELECT 1 FROM index_token AS scoped WHERE scoped.key = {alias}.key AND {match.sql})"  # noqa: S608
    return Where(text, match.values)
