"""Lightbox: a patient-owned imaging record that speaks FHIR R4, DICOMweb and SMART-on-FHIR."""

__version__ = "0.1.0"
