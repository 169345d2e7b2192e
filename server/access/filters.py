"""The filters of granular scopes as conditions (SMART App Launch 2.2, "finer-grained resource constraints").

A filter on imaging selects whole studies: a PET/CT study is seen whole or not, the same in FHIR and DICOMweb
(decision 3). A filter that cannot be put into a statement opens nothing.
"""

from __future__ import annotations

from server.storage.where import FALSE, Where

from .scopes import Filter

DCM = "http://dicom.nema.org/resources/ontology/DCM"


def study_filter(filter: Filter, alias: str, prefix: str) -> Where:
    """A condition over a row of table `study`."""
    if filter.param != "modality":
        return FALSE
    codes = [value.code for value in filter.values if value.system in (None, DCM)]
    return Where(f"{alias}.modalities && :{prefix}::text[]", {prefix: codes})
