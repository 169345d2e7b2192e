"""Data for benchmarks/fhir.py: patients, studies and a log, made quickly and loaded with COPY.

They are what the server itself would have written: resources with their versions and index rows, studies, a log whose
chain verifies. One key seals the details of all patients, which costs readers the same as one for each.
"""

from __future__ import annotations

import hashlib
import sys
import uuid
from base64 import b64encode
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import psycopg

from server.audit.log import canonical
from server.imaging.to_fhir.endpoint import endpoint
from server.imaging.to_fhir.imaging_study import Instance, Series, Study, imaging_study
from server.records import document
from server.records.index import happened, happened_end, rows_of
from server.records.registry import resource_type
from server.storage.keyring import KeyRing

Json = dict[str, Any]

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
FAMILIES = ("Moor", "García", "Linden", "Okafor", "Sato", "Novák", "Berg", "Carden", "Duarte", "Fisk")
GIVEN = ("Ada", "Bo", "Cy", "Di", "Eve", "Flo", "Gus", "Hal", "Ida", "Jo")
MODALITIES = ("CT", "MR", "CR", "US", "MG")
_INDEX = {
    "token": ("param", "code", "system"),
    "string": ("param", "folded", "value"),
    "date": ("param", "low", "high"),
    "reference": ("param", "target_type", "target_id", "base"),
    "uri": ("param", "value"),
}
_RESOURCE = (
    "patient_id", "type", "id", "key", "version", "last_updated", "happened", "study_uid", "author", "content_hash",
    "json", "happened_end",
)  # fmt: skip


def patient_id(number: int) -> str:
    return f"p{number}"


def study_uid(number: int) -> str:
    return f"1.2.826.0.1.3680043.10.{number + 1}"


def patient(number: int) -> Json:
    """One of many."""
    return {
        "resourceType": "Patient",
        "id": patient_id(number),
        "active": True,
        "identifier": [{"system": "urn:hospital", "value": f"MRN{number}"}],
        "name": [{"family": FAMILIES[number % 10], "given": [GIVEN[number // 10 % 10], f"N{number}"]}],
        "gender": ("female", "male")[number % 2],
        "birthDate": f"{1930 + number % 80}-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
        "address": [{"city": "Town", "postalCode": f"{number % 100_000:05d}"}],
    }


def study(number: int, owner: str, series: int = 2, instances: int = 5) -> Json:
    """A small study, or a large one."""
    uid = study_uid(number)
    kind = MODALITIES[number % len(MODALITIES)]
    day = (BEGIN - timedelta(days=number % 3650)).strftime("%Y%m%d")
    model = {"00080050": {"vr": "SH", "Value": [f"A{number}"]}, "00081030": {"vr": "LO", "Value": ["Chest"]}}
    parts = [
        Series(
            uid=f"{uid}.{one}",
            modality=kind,
            number=one,
            day=day,
            time="",
            attributes={"00180015": {"vr": "CS", "Value": ["CHEST"]}},
            instances=[
                Instance(f"{uid}.{one}.{each}", "1.2.840.10008.5.1.4.1.1.2", each)
                for each in range(1, instances + 1)
            ],
        )
        for one in range(1, series + 1)
    ]
    return imaging_study(Study(f"s{number}", uid, owner, day, "", [kind], model, parts))


class Loader:
    """Writes into a migrated database."""

    def __init__(self, url: str, key_file: Path, base: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.keyring = KeyRing.load(key_file, create=False)
        self.wrapped = self.keyring.new_patient_key()
        self.base = base
        self._key = self._value("SELECT coalesce(max(key), 0) FROM resource")

    def load(self, patients: range, studies: range, events: int) -> None:
        """These patients with an Endpoint each, these studies among them, so many events for each of them."""
        self._patients(patients)
        people = [patient_id(number) for number in patients]
        made = (
            (study(number, people[number % len(people)]), people[number % len(people)]) for number in studies
        )
        self._resources(
            ((one, owner, study_uid(int(one["id"][1:]))) for one, owner in made), len(studies), "studies"
        )
        self._studies()
        self._events(people, events)
        self.connection.execute("ANALYZE")

    def large(self, owner: str) -> str:
        """An ImagingStudy of 30 series with 100 instances each; its id."""
        self._resources([(study(9_999_999, owner, 30, 100), owner, study_uid(9_999_999))], 1, "large study")
        self._studies()
        return "s9999999"

    def _patients(self, numbers: range) -> None:
        with self.connection.transaction():
            self._copy(
                "patient (id, created_at)",
                ((patient_id(n), BEGIN) for n in numbers),
                len(numbers),
                "patients",
            )
            keys = ((patient_id(n), self.wrapped, BEGIN) for n in numbers)
            self._copy("keys.patient_key (patient_id, wrapped, created_at)", keys, len(numbers), "keys")
        people = ((patient(number), patient_id(number), None) for number in numbers)
        self._resources(people, len(numbers), "Patients")
        places = (
            (endpoint(id, f"{self.base}/patients/{id}/dicomweb"), id, None) for id in map(patient_id, numbers)
        )
        self._resources(places, len(numbers), "Endpoints")

    def _resources(self, resources: Iterable[tuple[Json, str, str | None]], count: int, what: str) -> None:
        rows, index = [], {name: [] for name in _INDEX}
        for number, (one, owner, uid) in enumerate(resources):
            self._key += 1
            rows.append(self._row(one, owner, uid, BEGIN + timedelta(seconds=self._key)))
            found = rows_of(one, resource_type(one["resourceType"]))
            for name in _INDEX:
                index[name] += [(owner, self._key, *row) for row in getattr(found, name)]
            if len(rows) == 5_000 or number == count - 1:
                self._write(rows, index)
                rows, index = [], {name: [] for name in _INDEX}
            progress(what, number + 1, count)

    def _row(self, one: Json, owner: str, uid: str | None, at: datetime) -> tuple[Any, ...]:
        json = document.dump(document.identified(one, id=one["id"], version=1, last_updated=at))
        kind = resource_type(one["resourceType"])
        return (
            owner, kind.name, one["id"], self._key, 1, at, happened(one, kind), uid, "server",
            document.content_hash(one), json, happened_end(one, kind),
        )  # fmt: skip

    def _write(self, rows: list[tuple[Any, ...]], index: dict[str, list[tuple[Any, ...]]]) -> None:
        with self.connection.transaction():
            self._copy(f"resource ({', '.join(_RESOURCE)})", rows)
            versions = ((r[0], r[1], r[2], 1, r[5], r[7], r[8], "PUT", r[10]) for r in rows)
            self._copy(
                "resource_version (patient_id, type, id, version, last_updated, study_uid, author, method, json)",
                versions,
            )
            for name, columns in _INDEX.items():
                self._copy(f"index_{name} (patient_id, key, {', '.join(columns)})", index[name])
        self.connection.execute("SELECT setval(pg_get_serial_sequence('resource', 'key'), %s)", (self._key,))

    def _studies(self) -> None:
        """The catalogue's rows of the ImagingStudies, as far as rights ask for them."""
        self.connection.execute(
            """INSERT INTO study (patient_id, study_uid, fhir_id, standing, fhir_stale, created_at, updated_at,
                                  study_date, study_day, modalities)
               SELECT patient_id, study_uid, id, 'mine', false, last_updated, last_updated,
                      happened::date, to_char(happened, 'YYYYMMDD'), ARRAY['CT']
                 FROM resource WHERE type = 'ImagingStudy' ON CONFLICT DO NOTHING"""
        )

    def _events(self, people: list[str], each: int) -> None:
        heads, names, rows = [], [], []
        for number, owner in enumerate(people):
            chain, digest = uuid.uuid4(), b""
            names.append((f"patient:{owner}", chain))
            for seq in range(1, each + 1):
                row = self._event(chain, seq, owner, digest or chain.bytes)
                digest = row[-1]
                rows.append(row)
            heads.append((chain, each, digest))
            if len(rows) >= 20_000 or number == len(people) - 1:
                with self.connection.transaction():
                    self._copy("pseudonym (subject, pseudonym)", names)
                    self._copy("audit_head (chain, seq, hash)", heads if each else [])
                    self._copy("audit_event (chain, seq, id, at, event, outcome, payload, hash)", rows)
                heads, names, rows = [], [], []
            progress("events", (number + 1) * each, len(people) * each)

    def _event(self, chain: uuid.UUID, seq: int, owner: str, before: bytes) -> tuple[Any, ...]:
        id, at = uuid.uuid4(), BEGIN + timedelta(minutes=seq)
        detail = {
            "who": {"name": "Bo Reader", "role": "doctor"},
            "detail": {"type": "ImagingStudy", "id": f"s{seq}"},
        }
        sealed = self.keyring.seal(self.wrapped, orjson.dumps(detail), context=id.bytes)
        payload = canonical(
            {
                "id": str(id),
                "at": at.isoformat(),
                "event": "record:resource:read",
                "outcome": "success",
                "actor": None,
                "client": None,
                "sealed": b64encode(sealed).decode(),
            }
        )
        return (
            chain,
            seq,
            id,
            at,
            "record:resource:read",
            "success",
            payload,
            hashlib.sha256(before + payload).digest(),
        )

    def _copy(self, table: str, rows: Iterable[tuple[Any, ...]], count: int = 0, what: str = "") -> None:
        with self.connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
            for number, row in enumerate(rows):
                copy.write_row(row)
                if count:
                    progress(what, number + 1, count)

    def _value(self, sql: str) -> int:
        row = self.connection.execute(sql).fetchone()
        assert row is not None
        return int(row[0])


def progress(what: str, done: int, count: int) -> None:
    """A bar on the terminal, a step a hundredth."""
    if count < 1_000 or (done % max(1, count // 100) and done != count) or not sys.stderr.isatty():
        return
    filled = 40 * done // count
    end = "\n" if done == count else ""
    print(f"\r  {what:12} [{'#' * filled}{'.' * (40 - filled)}] {done:,}/{count:,}", end=end, file=sys.stderr)


def pages(numbers: range, size: int) -> Iterator[range]:
    """A range in pieces."""
    for start in range(numbers.start, numbers.stop, size):
        yield range(start, min(start + size, numbers.stop))
