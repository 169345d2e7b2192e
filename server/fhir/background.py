"""What the FHIR API does besides answering requests: its kits for the worker."""

from server.records import reindex

from . import export_job, notify

KITS = (export_job.KIT, notify.KIT, reindex.KIT)
