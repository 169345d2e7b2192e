"""A structured report and an encapsulated PDF, made here."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from .samples import dataset, written

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF "
IMAGING_REPORT = ("18748-4", "LN", "Diagnostic imaging report")


def structured_report(content: list[Dataset] | None = None, **attributes: Any) -> bytes:
    """A verified, complete basic text SR in the study of `samples.dataset`."""
    data = _without_pixels(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    data.SeriesInstanceUID, data.SeriesNumber = "1.2.3.4.77", 77
    data.ContentDate, data.ContentTime = "20240131", "113000"
    data.TimezoneOffsetFromUTC = "+0100"
    data.ValueType, data.ContinuityOfContent = "CONTAINER", "SEPARATE"
    data.ConceptNameCodeSequence = [code(*IMAGING_REPORT)]
    data.CompletionFlag, data.VerificationFlag = "COMPLETE", "VERIFIED"
    verifier = Dataset()
    verifier.VerifyingObserverName = "Reader^Bo^^Dr."
    verifier.VerifyingOrganization = "County Hospital"
    verifier.VerificationDateTime = "20240131120000.5"
    data.VerifyingObserverSequence = [verifier]
    author = Dataset()
    author.PersonName, author.ObserverType = "Writer^Cy", "PSN"
    data.AuthorObserverSequence = [author]
    data.InstitutionName = "County Hospital"
    data.ContentSequence = content if content is not None else default_content()
    for keyword, value in attributes.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    return written(data)


def default_content() -> list[Dataset]:
    """Findings with a measurement, and an impression with a code."""
    size = item("NUM", code("81827009", "SCT", "Diameter"), relation="CONTAINS")
    value = Dataset()
    value.NumericValue = "12.5"
    value.MeasurementUnitsCodeSequence = [code("mm", "UCUM", "millimeter")]
    size.MeasuredValueSequence = [value]
    nodule = item(
        "TEXT", code("121071", "DCM", "Finding"), text="A nodule < 2 cm & smooth.\r\nIn the right lobe."
    )
    impression = item("CODE", code("121073", "DCM", "Impression"))
    impression.ConceptCodeSequence = [code("427359005", "SCT", "Solitary nodule of lung")]
    observer = item("PNAME", code("121008", "DCM", "Person Observer Name"), relation="HAS OBS CONTEXT")
    observer.PersonName = "Watcher^Di"
    return [
        observer,
        container(code("121070", "DCM", "Findings"), [nodule, size]),
        container(
            code("121072", "DCM", "Impressions"),
            [item("TEXT", code("121073", "DCM", "Impression"), text="Nothing to worry about."), impression],
        ),
    ]


def container(name: Dataset, content: list[Dataset]) -> Dataset:
    made = item("CONTAINER", name)
    made.ContinuityOfContent = "SEPARATE"
    made.ContentSequence = content
    return made


def item(kind: str, name: Dataset | None, *, text: str = "", relation: str = "CONTAINS") -> Dataset:
    made = Dataset()
    made.RelationshipType, made.ValueType = relation, kind
    if name is not None:
        made.ConceptNameCodeSequence = [name]
    if text:
        made.TextValue = text
    return made


def code(value: str, scheme: str, meaning: str) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, scheme, meaning
    return made


def encapsulated(content: bytes = PDF, **attributes: Any) -> bytes:
    """A PDF in a study of images; of odd length it is padded."""
    data = _without_pixels(SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", Modality="DOC")
    data.SeriesInstanceUID, data.SeriesNumber = "1.2.3.4.78", 78
    data.DocumentTitle = "Radiology report"
    data.MIMETypeOfEncapsulatedDocument = "application/pdf"
    data.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    data.EncapsulatedDocumentLength = len(content)
    data.BurnedInAnnotation = "YES"
    for keyword, value in attributes.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    return written(data)


def _without_pixels(**attributes: Any) -> Dataset:
    data = dataset(**attributes)
    for keyword in (
        "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
        "PixelRepresentation", "PixelData",
    ):  # fmt: skip
        delattr(data, keyword)
    return data
