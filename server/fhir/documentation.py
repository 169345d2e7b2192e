"""docs/fhir.md: what the FHIR API does and does not, made from the registry that also makes the CapabilityStatement.

`python -m server.fhir.documentation > docs/fhir.md` writes it; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator

from server.records.criteria import MODIFIERS
from server.records.registry import COMMON, Kind, ResourceType, types
from server.records.search import COUNTED

from . import topics
from .call import REGISTER
from .capability import EVERY_TYPE, FHIR_VERSION, interactions, searched
from .search_params import DEFAULT_COUNT, MOST_COUNT

TOPICS = ", ".join(f"`{name}`" for name in topics.TOPICS)
HEAD = f"""# The FHIR API

FHIR R4 ({FHIR_VERSION}) in JSON and XML, below `/fhir`. This page is made by `python -m server.fhir.documentation`.

## Interactions
Read, vread and history (of a resource, a type, everything), create, update, patch (JSON Patch, FHIRPath Patch),
delete, search by GET and POST (of a type, of several by `[base]?_type=`, in a patient's compartment, there of all
types by `*`), batch and transaction; the conditional forms of read, create, update, patch and delete; `$validate`,
`Patient/$everything`, `Patient/$match` (for organizations and doctors, among those they may search), `$versions`;
`Prefer` (return, handling), `If-Match`, `If-None-Match` (of updates too), `If-Modified-Since`, `If-None-Exist`;
`_format`, `_pretty`, `fhirVersion`, gzip. `$validate` knows the modes, and refuses a profile other than R4's own. A
Bundle reads whatever a GET reads, but for operations other than `Patient/$everything`.

What is served is what was sent, byte for byte but for `id` and `meta`: decimals keep their precision. Resources are
kept as JSON; XML (`_format=xml`, `application/fhir+xml`) is made of them and turned into them value by value.

**Binary.** Content is sent and read as such (any `Content-Type` that is not FHIR's, by POST and PUT, up to
`LIGHTBOX_MAX_BINARY_BYTES`; whose it is, `X-Security-Context` says) or in the resource. An answer is the content,
with `Range`, unless FHIR JSON or XML is asked for by name. What is longer than 32 KiB and somebody's lies sealed with
the patient's key in the object store, written while it arrives (200 MB cost the process 10 MB) and durable before the
answer; shorter content, content of nobody and what a patch brought stay in the row, where a file and an fsync of
their own would cost more than they save, and which a backup seals with the same key. The row then has a mark in the
place of `data` (extension `urn:lightbox:content` with size and SHA-256). Whoever reads the resource gets its content;
a Bundle (search, history, batch) holds up to 16 MiB of it and beyond leaves the mark, tagged SUBSETTED: read that
Binary by itself. A mark that is sent back keeps the content; one that was made up is dropped.

**Patch without reading.** A token that may change a resource and see it neither by `r` nor by `s` is refused (403)
patches that ask (`test`, `copy`, `move`, FHIRPath with `where`), is shown nothing, and makes a version with each
patch; that an element is there can still be told from a path that leads nowhere.

Not supported: `_query` (there are no named queries), `_contained` other than `false`, functional lists in `_list`,
`_list` and `_sort` in histories, compartments of others than patients, `$validate` of a stored resource by GET.

## Bulk Data export
`$export`, `Patient/$export`, `Group/[id]/$export` (Bulk Data 2.0), by GET and POST, with `Prefer: respond-async`:
`_since`, `_until`, `_type`, `_typeFilter`, `_elements`, `_outputFormat` (NDJSON), `patient` in a POST. Other
parameters are refused, or left out with `handling=lenient`, and the manifest says so. Files are NDJSON, gzip where it
is accepted, live a day, and need the access token of the app and person that asked. An export notes which version of
which resource belongs to it; a file is read when it is downloaded, within the caller's reach of that moment, so it
may have fewer lines than the manifest counts. Practitioners and organizations come along where they are referred to.
AuditEvent and Subscription are not exported.

## Subscriptions
Topic-based (Subscriptions R5 Backport IG 1.1 on R4), channel rest-hook over https, JSON. Topics, below
`[base]/SubscriptionTopic/`: {TOPICS}. A topic tells of new and changed resources of its type. Filters
(`backport-filter-criteria`) take every search parameter of the type, without chains. Payload `empty`, `id-only`,
`full-resource`; heartbeat and timeout; handshake; one event a notification; `$status` and `$events`. A subscription
is its app's alone, tells what the app could read when the notification is sent, and is turned off when the
authorization that it was made with ends. Header values are sealed and shown as `***`. After three failures it is in
error, after twelve (about a day) off. Not supported: `$get-ws-binding-token`, other channels.

## Who sees what
Every statement carries the caller's reach (README). A refusal looks so:

| asked | answer |
|---|---|
| no token, or a dead one | 401 with `WWW-Authenticate: Bearer` |
| a living token without a scope for the type or the interaction | 403 `insufficient_scope` |
| search with `patient=` outside of the caller's patients, also for ids that do not exist | 403 |
| any other search | what may not be seen is left out, of counts too |
| read, vread, history of what may not be seen | 404, the same as for what does not exist |
| delete of what may not be seen | 204, nothing happens |
| update of what may not be seen, or of an unknown id | 405 for people and apps; systems may create by PUT |
| a chain or `_has` through a type without a scope of its own | 403 |

Practitioner, PractitionerRole and Organization are read by id and found by `_id` and `identifier` only.
A Consent is a share: see the README.

**AuditEvent** is made from the log when it is read: all search parameters of R4 with their modifiers, `_filter`,
chains, `_include` and `_revinclude` (by name: `_revinclude=*` leaves the log out; the latest 5,000 events are looked
through), sorted by `date`, the newest first. Who acted, from where and on what lies sealed: a search by that opens up
to 5,000 events, so that a page may be shorter than asked, or empty, and go on by its next link. One request, a Bundle
with all its entries, opens 10,000; then pages end, a `_revinclude` stops and a total is left out. A search has at most
3,000 values. Not: `_has`, `_text`, `_content`, `:above` and `:below` of references.

A read is logged once an hour for a caller and a resource, a search for each patient it listed: the same search by the
same caller once a minute while it shows the same, a list of more than 200 patients as one event of the server's own.

## Made from the images
Each study of the record gives an **ImagingStudy** (series, instances, SOP classes, counts, body site in SNOMED CT,
laterality, performers, referrer, interpreters, reason, procedure codes; `basedOn` by accession number, and to the
ServiceRequest itself where the record holds it, also when that comes later), the patient's **Endpoint**, a **Device**
for each scanner that is named, and a **Provenance** that says who brought it. Structured reports and encapsulated PDF
or CDA give a **DiagnosticReport** each: text of the tree (narrative, `presentedForm` as plain text), what stands under
impression or conclusion, status by Completion, Preliminary and Verification Flag (`unknown` without them), authors,
verifiers; a file as a **Binary**, whose content stays in the DICOM object. All are made anew under one lock, change
their version only with their content, go with the instance and come back with it. Nobody writes them (405), save
trusted systems an ImagingStudy of their own. Body parts without a code in PS3.16 Annex L keep their own words.

**Corrections** by the patient (date, description, kind, body part) show in the ImagingStudy, in its reports' date and
in the portal, which shows a corrected name too; a further Provenance says so. DICOMweb (QIDO, metadata, objects) goes
on saying what the objects say, and scopes that filter studies ask that: a correction opens and closes nothing.

**SMART Imaging Access** (Argonaut 0.1.0): an ImagingStudy scope also reads the Endpoints of the studies it selects, so
that `_include=ImagingStudy:endpoint` answers an app that has no other scope. Endpoints are resources of their own;
capability URLs without a token are not issued. A server that cannot answer now says 503 with Retry-After.

**Manifest** (IHE RAD MADO, trial implementation): `Bundle/[id of the ImagingStudy]` is a document Bundle; a
DocumentReference of type 18748-4 leads to it, found also by `study-instance-uid`, `accession-number`, `modality`,
`anatomical-region`. Its second content is the same as a DICOM Key Object Selection (`application/dicom`, title
Manifest, TID 2010, with the address of each series) at `Binary/kos-[id of the ImagingStudy]`: who may read Binaries
and, as for every `application/dicom`, download the study gets it; others get 404. Both are made when they are read, of
what the reader may see, and kept nowhere. MADO would have a DocumentReference for each form, and its
image library (TID 1600) in the Key Object Selection; neither that nor web viewer Endpoints are made, and no profile of
MADO is claimed.

Every DiagnosticReport and DocumentReference that somebody brings has a Provenance too.

## Profiles
AuditEvents follow IHE BALP (PatientCreate, -Read, -Update, -Delete, -Query) and claim a pattern in `meta.profile` where
they have all of it. Consents made here claim IHE PCF 1.1 basic, or intermediate with chosen studies as
`provision.data` (meaning instance); of intermediate, `dataPeriod`, data that is related or authored by somebody, nested
provisions and other purposes than TREAT are not enforced, and so refused while active.

**US Core 8**: Patient, DiagnosticReport for Report and Note Exchange, DocumentReference. What others send is kept as
sent, so every must-support element and extension (race, ethnicity, tribal affiliation, sex, birthsex) goes round. What
is made here claims its profile in `meta.profile` where it has all that the profile demands: profiles of people (with
the number of the record, `urn:lightbox:record`, as identifier), reports written in the portal or made of SR and PDF,
hard copies with files, manifests. All searches that its server SHALL or SHOULD have for them, and
`DocumentReference/$docref` by GET and POST (`patient`, `start`, `end`, `type`, `profile`; nothing is made on demand; up
to 1,000 documents). Not claimed: the whole us-core-server, which wants types that are not kept here.

What the server makes is held valid by four validators of others (`tests/conformance/fhir/outside.py`), of every sample
file too (`test_real_files.py --long`); `benchmarks/fhir.py` says how fast.

## Search
Pages have {DEFAULT_COUNT} resources, at most {MOST_COUNT} (`_count`); the next one, and the one before (up to twenty
back), are sealed links that neither repeat nor hide anything while data changes. The total is given exactly up to
{COUNTED} (a log and a search of several types: where the first page is all), and beyond with `_total=accurate` or
`estimate` (counted up to 100,000).
Result parameters: `_sort` (several keys), `_count`, `_total`, `_summary`, `_elements`, `_include`, `_revinclude`
(both with `:iterate`, `*` and `Type:*`). Prefixes of dates and quantities: `eq ne gt lt ge le sa eb ap`. Chains and
`_has` nest up to four deep.

- `_text` (narrative) and `_content` (everything the resource says, but for addresses, ids and attached files) look for
  words, whatever their case and accents: `(bone OR liver) and metastas*`, `"in quotes"` side by side, `NOT` or a minus.
- `_filter` has all operators of R4 (`eq ne co sw ew gt lt ge le ap sa eb pr po ss sb in re`, and `ni`), `and` before
  `or`, `not (…)`, chains and `name[filter].name`; at most 30 comparisons.
- `:in`, `:not-in`: the value sets of R4 that elements of our types are bound to and whose codes can be listed, the
  vital signs, DICOM CID 29, US Core's categories and note types; another one is 400. `:above`, `:below` on tokens need
  `system|code` (a system alone is known for plain codes) of a code system of R4; media types (`image` is above
  `image/png`) and language tags go by their form. What needs SNOMED CT, LOINC's hierarchy or another terminology is
  400. On references they follow Encounter.partOf and Organization.partOf, through what the caller may search; on a
  `uri` they go by the address.
- A bare id in a reference means this server. A canonical without a version finds every version of it.
- Phonetic search is Soundex. Values longer than 250 characters are compared by their beginning.

| kind | modifiers |
|---|---|
"""


def page() -> str:
    """The whole page."""
    return HEAD + "\n".join([*_modifiers(), "", *_common(), "", *_types(), ""])


def _modifiers() -> Iterator[str]:
    for kind in Kind:
        shown = sorted(f"`:{modifier}`" for modifier in MODIFIERS[kind])
        own = ["`:[type]`"] if kind is Kind.REFERENCE else []
        yield f"| {kind} | {' '.join([*shown, *own])} |"


def _common() -> Iterator[str]:
    names = [*EVERY_TYPE, *(line.split()[0] for line in COMMON.strip().splitlines())]
    yield f"Every type but those of the register has {', '.join(f'`{name}`' for name in names)}."


def _types() -> Iterator[str]:
    yield "## Resource types"
    for type in types().values():
        yield ""
        yield f"### {type.name}"
        yield f"Interactions: {', '.join(interactions(type))}."
        yield ""
        yield from _params(type)


def _params(type: ResourceType) -> Iterator[str]:
    if type.name in REGISTER:
        yield "Found by `_id` and `identifier`."
        return
    for kind in Kind:
        names = [name for name, found in searched(type).items() if found == kind and not name.startswith("_")]
        if names:
            yield f"- {kind}: {', '.join(f'`{name}`' for name in names)}"


if __name__ == "__main__":
    print(page(), end="")
