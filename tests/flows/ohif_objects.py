"""Objects for the viewer: a small volume, a segmentation of it, a report of measurements, a document, a film."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from tests.conformance.dicomweb.samples import Sample, instance, pixels, written

SIDE, SLICES = 48, 10
SEG = "1.2.840.10008.5.1.4.1.1.66.4"


def volume() -> list[Sample]:
    """A ball of high values in a CT of ten slices, with its geometry."""
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    z, y, x = np.mgrid[0:SLICES, 0:SIDE, 0:SIDE]
    ball = ((x - 24) ** 2 + (y - 24) ** 2 + (3 * (z - 5)) ** 2) < 15**2
    values = (ball * 900 + x * 4 + z * 10).astype(np.int16)
    made = []
    for at in range(SLICES):
        holder = Dataset()
        pixels(holder, values[at])
        given = {element.keyword: element.value for element in holder}
        made.append(
            instance(
                study,
                series,
                InstanceNumber=at + 1,
                FrameOfReferenceUID=frame,
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                ImagePositionPatient=[0, 0, 3 * at],
                PixelSpacing=[1, 1],
                SliceThickness=3,
                ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
                RescaleSlope=1,
                RescaleIntercept=0,
                RescaleType="HU",
                WindowCenter=450,
                WindowWidth=1000,
                PatientPosition="HFS",
                **given,
            )
        )
    return made


def _code(value: str, scheme: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def segmentation(of: list[Sample]) -> Sample:
    """A binary segmentation of the ball, a frame a slice (PS3.3, A.51)."""
    from io import BytesIO

    from pydicom import dcmread

    sources = [dcmread(BytesIO(each.data)) for each in of]
    masks = np.stack([source.pixel_array > 600 for source in sources])
    first = sources[0]
    made = Dataset()
    for name in (
        "StudyInstanceUID",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
    ):
        setattr(made, name, getattr(first, name))
    made.StudyTime, made.AccessionNumber, made.StudyID = first.StudyTime, first.AccessionNumber, first.StudyID
    made.ReferringPhysicianName = first.ReferringPhysicianName
    made.SOPClassUID, made.SOPInstanceUID, made.SeriesInstanceUID = SEG, generate_uid(), generate_uid()
    made.Modality, made.SeriesNumber, made.InstanceNumber = "SEG", 2, 1
    made.SeriesDescription, made.ContentLabel, made.ContentDescription = "Ball", "BALL", "Ball"
    made.ContentCreatorName, made.Manufacturer, made.ManufacturerModelName = "Test^Er", "Test", "Test"
    made.SoftwareVersions, made.DeviceSerialNumber = "1", "1"
    made.ContentDate, made.ContentTime = "20240131", "101500"
    made.SeriesDate, made.SeriesTime = "20240131", "101500"
    made.ImageType = ["DERIVED", "PRIMARY"]
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = first.FrameOfReferenceUID, ""
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows = made.Columns = SIDE
    made.BitsAllocated = made.BitsStored = 1
    made.HighBit = made.PixelRepresentation = 0
    made.LossyImageCompression, made.SegmentationType = "00", "BINARY"
    made.NumberOfFrames = SLICES
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel, segment.SegmentAlgorithmType = 1, "Ball", "MANUAL"
    segment.SegmentedPropertyCategoryCodeSequence = _code("91723000", "SCT", "Anatomical structure")
    segment.SegmentedPropertyTypeCodeSequence = _code("23451007", "SCT", "Adrenal gland")
    made.SegmentSequence = Sequence([segment])
    series = Dataset()
    series.SeriesInstanceUID = first.SeriesInstanceUID
    series.ReferencedInstanceSequence = Sequence([_reference(source) for source in sources])
    made.ReferencedSeriesSequence = Sequence([series])
    organization = Dataset()
    organization.DimensionOrganizationUID = generate_uid()
    made.DimensionOrganizationSequence = Sequence([organization])
    index = Dataset()
    index.DimensionOrganizationUID = organization.DimensionOrganizationUID
    index.DimensionIndexPointer, index.FunctionalGroupPointer = 0x00200032, 0x00209113
    made.DimensionIndexSequence = Sequence([index])
    made.SharedFunctionalGroupsSequence = Sequence([_shared()])
    frames = [_frame(source, at) for at, source in enumerate(sources)]
    made.PerFrameFunctionalGroupsSequence = Sequence(frames)
    made.PixelData = np.packbits(masks.flatten(), bitorder="little").tobytes()
    return Sample(written(made), made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID)


def _reference(source: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    return item


def _shared() -> Dataset:
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness, measures.SpacingBetweenSlices = [1, 1], 3, 3
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelMeasuresSequence = Sequence([measures])
    return shared


def _frame(source: Dataset, at: int) -> Dataset:
    frame, content, position, identified = Dataset(), Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = [at + 1]
    position.ImagePositionPatient = source.ImagePositionPatient
    identified.ReferencedSegmentNumber = 1
    derived, image = Dataset(), _reference(source)
    image.PurposeOfReferenceCodeSequence = _code(
        "121322", "DCM", "Source image for image processing operation"
    )
    derived.SourceImageSequence = Sequence([image])
    derived.DerivationCodeSequence = _code("113076", "DCM", "Segmentation")
    frame.FrameContentSequence = Sequence([content])
    frame.PlanePositionSequence = Sequence([position])
    frame.SegmentIdentificationSequence = Sequence([identified])
    frame.DerivationImageSequence = Sequence([derived])
    return frame


def document() -> Sample:
    """A PDF of one empty page."""
    made = Dataset()
    made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID = (generate_uid() for _ in range(3))
    made.SOPClassUID, made.Modality = "1.2.840.10008.5.1.4.1.1.104.1", "DOC"
    made.PatientName, made.PatientID, made.PatientBirthDate = "Moor^Ada", "P-1", "19800229"
    made.StudyDate, made.StudyTime, made.SeriesDescription = "20240301", "0900", "Letter"
    made.SeriesNumber, made.InstanceNumber, made.DocumentTitle = 1, 1, "Letter"
    made.BurnedInAnnotation, made.MIMETypeOfEncapsulatedDocument = "YES", "application/pdf"
    made.EncapsulatedDocument = (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    ).ljust(4000)
    return Sample(written(made), made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID)
