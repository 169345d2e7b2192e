"""dicomweb/qido_sql.py: conditions that PostgreSQL accepts and that find what they should."""

from __future__ import annotations

import pytest

from server.dicomweb.qido_params import parse
from server.dicomweb.qido_sql import like, where
from server.imaging.columns import REGISTRY, Level
from server.imaging.text import fold, name_words, trigrams
from server.storage.db import Database
from server.storage.sql import Statement

NAME = "Müller^Anna Maria^^^=山田^太郎=やまだ^たろう"
ATTRIBUTES = (
    '{"00080080":{"vr":"LO","Value":["St. Mary"]},'
    '"00081070":{"vr":"PN","Value":[{"Alphabetic":"Öp^Erator=オペ^ガク"}]},'
    '"00101020":{"vr":"DS","Value":[1.8]},"00081032":{"vr":"SQ","Value":[{"00080100":{"vr":"SH","Value":["CT1"]}}]},'
    '"00101010":{"vr":"AS","Value":["042Y"]},"00189074":{"vr":"DT","Value":["20200102101500.5+0100"]},'
    '"00400002":{"vr":"DA","Value":["20200102"]},"00400003":{"vr":"TM","Value":["1015"]}}'
)
ROW = f"""
WITH series AS (
  SELECT 'p'::text AS patient_id, '1.2.3'::text AS study_uid, '1.2.3.4'::text AS series_uid,
         null::timestamptz AS deleted_at, 'CHEST'::text AS body_part, '20200102'::text AS step_day,
         '101500000000'::text AS step_time, 7 AS series_number, convert_to('{ATTRIBUTES}', 'UTF8') AS attributes
), instance AS (
  SELECT 'p'::text AS patient_id, '1.2.3'::text AS study_uid, '1.2.3.4'::text AS series_uid,
         null::timestamptz AS deleted_at, '1.2.3.4.5'::text AS sop_uid, 512 AS pixel_rows,
         null::integer AS frame_count, convert_to('{ATTRIBUTES}', 'UTF8') AS metadata
)
SELECT 1 FROM (SELECT 'p'::text AS patient_id,
  '1.2.3'::text AS study_uid, '20200102'::text AS study_day, '101500000000'::text AS study_time,
  'A1'::text AS accession_number, ARRAY['CT','SR'] AS modalities, '{{}}'::text[] AS sop_classes,
  ''::text AS referrer_folded, '{{}}'::text[] AS referrer_words, 'ct chest 100%'::text AS title_folded,
  :name_folded::text AS name_folded, :name_words::text[] AS name_words, :name_trigrams::text[] AS name_trigrams,
  'P1'::text AS dicom_patient_id, ''::text AS issuer, '19800229'::text AS birth_day, 'F'::text AS sex,
  'S1'::text AS study_id, 2 AS series_count, 10 AS instance_count,
  convert_to('{ATTRIBUTES}', 'UTF8') AS attributes) AS study
 WHERE {{match}}"""
WORDS = name_words(NAME)
VALUES = {"name_folded": fold(NAME), "name_words": WORDS, "name_trigrams": trigrams(WORDS)}


async def finds(db: Database, query: str, level: Level = Level.STUDY) -> bool:
    pairs = [tuple(each.split("=", 1)) for each in query.split("&")]
    return bool(await db.fetch_all(Statement("row", ROW), VALUES, match=where(parse(pairs), level)))


FOUND = [
    "StudyInstanceUID=1.2.3",
    "StudyInstanceUID=9,1.2.3",
    "StudyDate=20200102",
    "StudyDate=20200101-20200103",
    "StudyDate=-20200103",
    "StudyTime=1015",
    "StudyTime=10",
    "StudyDate=20200101-20200102&StudyTime=2000-1100",
    "AccessionNumber=A?",
    "ModalitiesInStudy=SR",
    "ModalitiesInStudy=MR\\CT",
    "ModalitiesInStudy=C*",
    "Modality=CT",
    "StudyDescription=CT Chest*",
    "StudyDescription=*100%",
    "PatientName=Muller^Anna*",
    "PatientName=müller^anna maria",
    "PatientName=MÜLLER*",
    "PatientName=*ANNA*",
    "PatientName=山田*",
    "PatientName=山田^太郎",
    "PatientName=*^たろう",
    "PatientName=anna&fuzzymatching=true",
    "PatientName=mul mar&fuzzymatching=true",
    "PatientName=太&fuzzymatching=true",
    "PatientBirthDate=19800229",
    "NumberOfStudyRelatedSeries=2",
    "InstitutionName=St.*",
    "OperatorsName=op^*",
    "OperatorsName=ÖP^ERATOR",
    "OperatorsName=オペ^カク",
    "OperatorsName=ガ&fuzzymatching=true",
    "OperatorsName=erat&fuzzymatching=true",
    "PatientSize=1.80",
    "PatientAge=042Y",
    "ProcedureCodeSequence.CodeValue=CT1",
    "00081032.00080100=CT?",
    "FrameAcquisitionDateTime=20200102",
    "FrameAcquisitionDateTime=20200101-202001021016",
    "ScheduledProcedureStepStartDate=20200102&ScheduledProcedureStepStartTime=10",
    "StudyDate=&PatientID=*",
    "BodyPartExamined=CH*",
    "SeriesNumber=7",
    "SOPInstanceUID=1.2.3.4.5",
    "Rows=512",
    "PerformedProcedureStepStartDate=20200101-20200102&PerformedProcedureStepStartTime=09-11",
    'IssuerOfPatientID=""&emptyvaluematching=true',
    'NumberOfFrames=""&emptyvaluematching=true',
    'SOPClassesInStudy=""&emptyvaluematching=true',
    'StationName=""&emptyvaluematching=true',
    'AccessionNumber=""\\A1&emptyvaluematching=true',
    "ModalitiesInStudy=CT\\SR&multiplevaluematching=true",
    "AccessionNumber=A2\\A1&multiplevaluematching=true",
]
MISSED = [
    "StudyInstanceUID=1.2",
    "StudyDate=20200103-",
    "StudyTime=1016-",
    "StudyDate=20200102-20200103&StudyTime=1016-1017",
    "StudyDescription=ct chest 100_",
    "AccessionNumber=a1",
    "PatientName=Muller",
    "PatientName=nna*",
    "PatientName=uller&fuzzymatching=true",
    "PatientName=anna bob&fuzzymatching=true",
    "ReferringPhysicianName=x",
    "IssuerOfPatientID=X",
    "NumberOfStudyRelatedSeries=2.5",
    "NumberOfStudyRelatedSeries=99999999999",
    "PatientSize=2",
    "InstitutionName=st. mary",
    "OperatorsName=rator&fuzzymatching=true",
    "ProcedureCodeSequence.CodeValue=CT2",
    "FrameAcquisitionDateTime=20200103-",
    "BodyPartExamined=X",
    "SOPInstanceUID=1.2",
    "PerformedProcedureStepStartDate=20200101-20200102&PerformedProcedureStepStartTime=08-09",
    'AccessionNumber=""&emptyvaluematching=true',
    'AccessionNumber=""',
    'NumberOfStudyRelatedSeries=""&emptyvaluematching=true',
    'ModalitiesInStudy=""&emptyvaluematching=true',
    'InstitutionName=""&emptyvaluematching=true',
    "ModalitiesInStudy=CT\\MR&multiplevaluematching=true",
]


@pytest.mark.parametrize("query", FOUND)
async def test_found(db, query):
    assert await finds(db, query)


@pytest.mark.parametrize("query", MISSED)
async def test_not_found(db, query):
    assert not await finds(db, query)


async def test_what_looks_like_sql_is_a_value(db):
    assert not await finds(
        db, "StudyDescription=' OR true --*&PatientName=%'_\\*&InstitutionName='; DROP TABLE study"
    )


async def test_a_thousand_values_are_one(db):
    many = ",".join(f"1.2.3.{number}" for number in range(999))
    assert await finds(db, f"StudyInstanceUID={many},1.2.3")


def test_wildcards_of_sql_are_characters():
    assert like("100%_*?\\") == "100\\%\\_%_\\\\"


@pytest.mark.parametrize("level", list(Level))
def test_every_column_has_a_condition(level):
    for path in REGISTRY[level]:
        value = {"0020000D": "1", "00201206": "1"}.get(path[-1], "1")
        query = (
            parse([(".".join(path), value)])
            if path[-1] not in _TIMES
            else parse([(".".join(path), _TIMES[path[-1]])])
        )
        assert where(query, level).sql


_TIMES = dict.fromkeys(
    ("00080020", "00080021", "00080023", "00400244", "00100030"), "20200101"
) | dict.fromkeys(("00080030", "00080031", "00080033", "00400245"), "10")
