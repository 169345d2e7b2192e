# ruff: noqa: E501 - tables of hostile input read better in long lines
"""Hostile input to DICOMweb: a clear status in the words of PS3.18, never a 500, nothing half stored.

interface.md, "What bad input gets"; issue 3, "Safe".
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

import httpx
import pytest

from server.imaging.header import is_uid
from tests.conformance.dicomweb.samples import BOUNDARY, CT, MULTIPART, body, instance, store, written
from tests.conftest import RunningServer
from tests.security.conftest import Ada, harmless, raw, refused

DEEP = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"


def says_why(answer: httpx.Response, what: object = "") -> None:
    """PS3.18, 8.7.6: an error is told as JSON, a store's also as a data set."""
    harmless(answer, what)
    if answer.status_code >= 400:
        assert answer.headers["content-type"].startswith(("application/json", "application/dicom+")), what
        assert answer.json(), what


async def post(web: httpx.AsyncClient, content: bytes | AsyncIterator[bytes], kind: str = MULTIPART):
    return await web.post("/dicomweb/studies", content=content, headers={"Content-Type": kind})


@pytest.mark.parametrize(
    "path",
    [
        "/studies/%00", "/studies/%00/metadata", "/studies/a%00b/series", "/studies/%2e%2e/metadata",
        "/studies/..%2f..%2fetc%2fpasswd", "/studies/%ff%fe/metadata", "/studies/%F0%9F%92%80/metadata",
        "/studies/'%20OR%201=1--/metadata", "/studies/1.2;DROP%20TABLE%20study/metadata", "/studies/" + "1" * 65,
        "/studies/" + "1." * 3000 + "1/metadata", "/studies//series//instances/", "/studies/{}",
        "/studies/1.2/series/%00/instances/%00/frames/1", "/nonsense", "/studies/1.2/nonsense", "/%", "/%zz",
    ],
)  # fmt: skip
async def test_addresses_that_are_none(web: httpx.AsyncClient, path: str) -> None:
    """What can be no UID does not exist; the database is not even asked."""
    for root in ("/dicomweb", "/patients/%00/dicomweb", "/patients/..%5c/dicomweb"):
        answer = await web.get(root + path)
        says_why(answer, (root, path))
        assert answer.status_code in (400, 404, 405)


FRAMES = [
    "0",
    "-1",
    "1,",
    ",",
    "1-2",
    "x",
    "%00",
    "1.5",
    "٣",
    "999999999",
    "1,999999999",
    "9" * 500,
    ",".join(["1"] * 10_001),
]


@pytest.mark.parametrize("frames", FRAMES, ids=lambda text: text[:12])
async def test_frames_that_are_none(web: httpx.AsyncClient, ada: Ada, frames: str) -> None:
    """PS3.18, 10.4.1.1.6: a frame out of range is 404, what is no list of numbers 400."""
    for below in ("", "/rendered", "/thumbnail"):
        answer = await web.get(f"/dicomweb{ada.study.path}/frames/{frames}{below}")
        says_why(answer, frames[:20] + below)
        first_only = below == "/thumbnail" and frames.startswith("1,9")  # a small picture is of one frame
        assert answer.status_code in (400, 404) or first_only, (frames[:20], below, answer.status_code)


@pytest.mark.parametrize(
    "path",
    [
        "00189999", "0040A730/1/00080018", "0040A730/0/00080018", "0040A730/99999999/00080018", "FFFEE000", "00000000",
        "7FE00010/1/7FE00010", "7fe00010%00", "../../metadata", "x", "0040A730/1/" * 300 + "00080018",
    ],
    ids=lambda path: path[:24],
)  # fmt: skip
async def test_bulk_data_of_absent_tags(web: httpx.AsyncClient, ada: Ada, path: str) -> None:
    answer = await web.get(f"/dicomweb{ada.study.path}/bulkdata/{path}")
    says_why(answer, path[:40])
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "viewport=", "viewport=0,0", "viewport=-1,-1", "viewport=1e9,1e9", "viewport=99999,99999", "viewport=nan,inf",
        "viewport=10,10,0,0,0,0", "viewport=10,10,-5,-5,1e8,1e8", "viewport=10,10,9e8,9e8,-9e8,-9e8", "viewport=1,1,,,,",
        "viewport=8192,1", "viewport=10,10,0,0,1e-9,1e-9", "viewport=%00", "viewport=10,10&viewport=20,20",
        "window=", "window=0,0", "window=nan,1", "window=1e9,1e-9,sigmoid", "window=1e9,1e9,sigmoid", "window=1,1,x",
        "window=-1e9,1,linear-exact", "quality=0", "quality=101", "quality=-5", "quality=1e9", "quality=%00",
        "quality=" + "9" * 5000, "annotation=%00", "annotation=" + "x," * 2000, "iccprofile=../../etc/passwd",
    ],
    ids=lambda query: query[:40],
)  # fmt: skip
async def test_absurd_pictures(web: httpx.AsyncClient, ada: Ada, query: str) -> None:
    """PS3.18, 8.3.5: a picture, or what the parameter wants."""
    for below in ("rendered", "thumbnail"):
        answer = await web.get(f"/dicomweb{ada.study.path}/{below}?{query}", timeout=20)
        says_why(answer, query[:60])
        assert answer.status_code in (200, 400, 406), answer.text


@pytest.mark.parametrize("frames", [5, 60])
async def test_a_large_moving_picture_has_a_bound(web: httpx.AsyncClient, frames: int) -> None:
    """A GIF of a thousand frames of 8192 x 8192 would be 67 GB of pixels: the size of the whole is bounded."""
    from tests.conformance.dicomweb.samples import multiframe

    sample = multiframe(frames)
    assert (await store(web, sample)).status_code == 200
    path = f"/dicomweb{sample.path}/rendered?accept=image/gif&viewport=8192,8192"
    answer = await web.get(path)
    says_why(answer)
    assert answer.status_code == 400
    small = await web.get(path.replace("8192,8192", "32,32"))
    assert small.status_code == 200


@pytest.mark.parametrize(
    "accept",
    [
        "", ",", ";", "/", "*", "*/", "/*", "text", "a/b;q=", "*/*;q=nan", "*/*;q=1e999", "*/*;q=-1", "multipart/related",
        'multipart/related; type="', 'multipart/related; type="application/dicom', "multipart/related; type=;", "é/ü",
        "application/dicom;transfer-syntax=" + "1" * 5000, "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.999",
        "multipart/related; type=\"application/dicom\"; transfer-syntax='; DROP TABLE study--", ",".join(["a/b"] * 3000),
        "*/*" + ";a=b" * 2000,
    ],
    ids=lambda accept: accept[:24],
)  # fmt: skip
async def test_accept_nonsense(web: httpx.AsyncClient, ada: Ada, accept: str) -> None:
    """RFC 9110, 12.5.1; PS3.18, 8.7: an answer, or 406 with what there is."""
    headers = {"Accept": accept.encode("latin-1")}
    for below in ("", "/metadata", "/frames/1", "/rendered"):
        answer = await web.get(f"/dicomweb{ada.study.path}{below}", headers=headers)
        harmless(answer, (accept[:40], below))
        assert answer.status_code in (200, 400, 406, 431), (accept[:40], below, answer.status_code)
    for path in ("/studies", "/series", f"/studies/{ada.study.study}/instances"):
        answer = await web.get(f"/dicomweb{path}", headers=headers)
        assert answer.status_code in (200, 400, 406, 431), (accept[:40], path)


BAD_SEARCHES = [
    "limit=-1", "limit=x", "limit=1e9", "limit=" + "9" * 400, "limit=%00", "offset=-1", "offset=99999999999", "limit=",
    "fuzzymatching=maybe", "Nonsense=1", "00100010.00100010=x", "x.y.z=1", "RequestAttributesSequence=x",
    "StudyDate=99999999", "StudyDate=20240101-2023", "StudyDate=%00", "StudyTime=99", "NumberOfStudyRelatedSeries=x",
    "PatientName=%00", "StudyInstanceUID=" + "1" * 2000, "includefield=nonsense", "includefield=" + "00100010," * 1500,
    ".=1", "%00=1", "=1", "'; DROP TABLE study; --=1",
]  # fmt: skip


@pytest.mark.parametrize("query", BAD_SEARCHES, ids=lambda query: query[:30])
async def test_searches_that_cannot_be(web: httpx.AsyncClient, query: str) -> None:
    """PS3.18, 8.3.4 and decision 15: 400 with a sentence; never everything."""
    for path in ("/studies", "/series", "/instances", "/studies/count"):
        answer = await web.get(f"/dicomweb{path}?{query}")
        says_why(answer, (path, query[:60]))
        assert answer.status_code == 400, (path, query[:60], answer.status_code)


@pytest.mark.parametrize(
    "query",
    [
        "PatientName='%20OR%20'1'='1", "PatientID=%27%3B--", "StudyDescription=%25", "PatientName=_", "PatientComments=%5C",
        "PatientName=" + "*?" * 500, "PatientWeight=1e300", "PatientWeight=-1e-300", "SeriesNumber=99999999999999999999",
        "StudyInstanceUID=1,2,3%5C4", "PatientName=%F0%9F%92%80", "PatientComments=%22%5D%7D", "PatientName=:reach_now",
        "PatientComments={reach}", "ModalitiesInStudy=%27%7D", "AccessionNumber=%24%7Bx%7D", "PatientName=%ff%fe",
    ],
    ids=lambda query: query[:30],
)  # fmt: skip
async def test_values_are_never_statement(web: httpx.AsyncClient, query: str) -> None:
    """What is typed is a value: nothing matches, and nothing of the statement breaks."""
    for path in ("/studies", "/series", "/instances"):
        answer = await web.get(f"/dicomweb{path}?{query}")
        says_why(answer, query[:60])
        assert (
            answer.status_code == 400
            or answer.json() == []
            or "%25" in query
            or "=_" in query
            or "*?" in query
        )


async def test_what_was_stored_breaks_no_later_search(web: httpx.AsyncClient) -> None:
    """NUL, numbers beyond any, and JSON's own signs inside of stored values: searches go on for everybody."""
    evil = instance(
        PatientComments='a"}\\u0000]{${x}',
        ImageComments="%s %n '\" --",
        InstitutionName="\x00\x1b[31m",
        RequestingService="é\x00",
    )
    data = evil.data.replace(b"DS", b"DS")
    answer = await post(web, body([data, with_element(b"\x10\x00\x30\x10", b"DS", b"1e999   ")]))
    harmless(answer)
    for query in (
        "PatientWeight=5", "PatientComments=x*", "InstitutionName=*", "RequestingService=x", "ImageComments=%25",
        "includefield=all", "PatientSize=1",
    ):  # fmt: skip
        for path in ("/studies", "/series", "/instances"):
            found = await web.get(f"/dicomweb{path}?{query}")
            assert found.status_code == 200, (query, path, found.text)
            assert isinstance(found.json(), list)


def with_element(tag: bytes, vr: bytes, value: bytes) -> bytes:
    """An instance with one more element, written by hand: pydicom would not."""
    made = instance(PatientBirthDate="").data
    at = made.index(b"\x10\x00\x40\x00CS")  # behind Patient's Sex
    end = at + 8 + made[at + 6]
    return made[:end] + tag + vr + len(value).to_bytes(2, "little") + value + made[end:]


@pytest.mark.parametrize(
    "kind",
    [
        "", "x", "multipart/related", "multipart/related; boundary=", "multipart/related; boundary=" + "b" * 5000, "text/html",
        'multipart/related; type="application/dicom"; boundary="a\\"b"', "multipart/form-data; boundary=samples",
        "multipart/related; type=application/dicom; boundary=é", "application/json", "application/dicom+json",
        "multipart/related; type=text/html; boundary=samples", "multipart/related; boundary=other",
    ],
    ids=lambda kind: kind[:30],
)  # fmt: skip
async def test_stores_of_another_kind(web: httpx.AsyncClient, kind: str) -> None:
    """400 or 415, in a sentence; nothing is stored."""
    one = instance()
    headers = {"Content-Type": kind.encode("latin-1")}
    answer = await web.post("/dicomweb/studies", content=body([one.data]), headers=headers)
    refused(answer, kind[:60])
    assert answer.status_code in (400, 415)
    assert (await web.get(f"/dicomweb/studies/{one.study}/metadata")).status_code == 404


def part(headers: bytes, content: bytes = b"x") -> bytes:
    return f"--{BOUNDARY}\r\n".encode() + headers + b"\r\n\r\n" + content + f"\r\n--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\r\n", b"--", b"--samples--\r\n", b"--samples\r\n", b"--samples\r\n\r\n", b"--samples" * 5000, b"\0" * 100_000,
        part(b"Content-Type"), part(b": x"), part(b"A" * 100_000 + b": x"), part(b"A: " + b"x" * 100_000),
        part(b"\r\n".join(b"A%d: x" % n for n in range(1000))), part(b"A: x\r\n B: folded\0\x01\xff"),
        part(b"Content-Length: 99999999999", b"short"), part(b"Content-Transfer-Encoding: base64", b"QUJD"),
        b"--samples\r\nContent-Type: application/dicom\r\n\r\n" + instance().data,
    ],
    ids=range(17),
)  # fmt: skip
async def test_bodies_that_lie(web: httpx.AsyncClient, content: bytes) -> None:
    """RFC 2046, 5.1; PS3.18, 10.5.3: 400, or a data set that says what failed."""
    answer = await post(web, content)
    says_why(answer, content[:60])
    assert answer.status_code in (400, 409, 413), (content[:60], answer.status_code)


async def test_thousands_of_parts(web: httpx.AsyncClient) -> None:
    """Each gets its own reason; the good one among them is stored."""
    one = instance()
    answer = await post(web, body([b"x"] * 400 + [one.data]))
    assert answer.status_code == 202
    assert len(answer.json()["0008119A"]["Value"]) == 400
    assert (await web.get(f"/dicomweb{one.path}/metadata")).status_code == 200


@pytest.mark.parametrize(
    "uid",
    ["../../../etc/passwd", "1.2/../../3", "1" * 65, "1..2", "%2e%2e", "1.2\0", "\\..\\", "con", "1.2 3", "é", "-1", "a" * 200, ".", "..", "1.2\r\nX:y"],
    ids=lambda uid: uid.encode().hex()[:24],
)  # fmt: skip
@pytest.mark.parametrize("name", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
async def test_uids_with_path_characters(web: httpx.AsyncClient, name: str, uid: str) -> None:
    """PS3.5, 9.1: what is kept under a UID can be neither a path nor a header."""
    one = instance()
    old = {"StudyInstanceUID": one.study, "SeriesInstanceUID": one.series, "SOPInstanceUID": one.sop}[
        name
    ].encode()
    new = uid.encode()[: len(old)].ljust(len(old), b"\0") if len(uid) <= len(old) else uid.encode()
    data = one.data
    if len(new) == len(old):
        data = data.replace(old, new)
    answer = await post(web, body([data]))
    harmless(answer, uid)
    for stored in answer.json().get("00081199", {}).get("Value", []):
        url = stored["00081190"]["Value"][0]
        assert all(is_uid(each) for each in url.partition("/dicomweb/")[2].split("/")[1::2]), url
        assert ".." not in url


def nested(depth: int) -> bytes:
    return b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * depth


def deflated(data: bytes) -> bytes:
    """The same object in Deflated Explicit VR Little Endian."""
    from io import BytesIO

    from pydicom import dcmread

    made = dcmread(BytesIO(instance().data))
    head = written(made, DEFLATED)
    meta_end = 144 + int.from_bytes(head[140:144], "little")
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return head[:meta_end] + squeezer.compress(data) + squeezer.flush()


@pytest.mark.parametrize(
    ("what", "status"),
    [
        (lambda: instance().data[:600], (200, 202, 409)),
        (lambda: instance().data.replace(b"OW\0\0", b"OW\0\xff"), (200, 202, 409)),
        (lambda: instance().data[:-520] + nested(10_000), (200, 202, 409)),
        (lambda: deflated(b"\0" * 50_000_000), (409,)),
        (lambda: deflated(nested(50_000)), (409,)),
        (lambda: b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL\x04\0\xff\xff\xff\xff" + b"\0" * 500, (409,)),
        (lambda: instance().data.replace(b"\x28\x00\x10\x00US\x02\x00\x10\x00", b"\x28\x00\x10\x00US\x02\x00\xff\xff"), (200, 202, 409)),
        (lambda: instance(NumberOfFrames="2147483647").data, (200, 202, 409)),
        (lambda: instance(NumberOfFrames="-5").data, (200, 202, 409)),
        (lambda: instance(WindowWidth="0", RescaleSlope="1e308").data, (200, 202, 409)),
    ],
    ids=["cut", "length", "deep", "bomb", "deep bomb", "meta", "rows", "frames", "negative", "window"],
)  # fmt: skip
async def test_objects_that_lie(web: httpx.AsyncClient, what, status: tuple[int, ...]) -> None:
    """Kept byte for byte or refused with a reason; what is kept can be looked at without a 500 (issue 3)."""
    answer = await post(web, body([what()]))
    says_why(answer)
    assert answer.status_code in status, answer.text[:300]
    for stored in answer.json().get("00081199", {}).get("Value", []):
        url = stored["00081190"]["Value"][0]
        for below in ("/metadata", "/frames/1", "/rendered", "/thumbnail", "/pixeldata", "", "/bulkdata"):
            shown = await web.get(url + below, timeout=20)
            harmless(shown, below)


@pytest.mark.parametrize("kind", ["json", "xml"])
async def test_metadata_that_explode(web: httpx.AsyncClient, kind: str) -> None:
    """PS3.18, F; OWASP XXE: nesting, entities in any encoding, and what is no data set are 400 or a reason."""
    entities = (
        '<?xml version="1.0" encoding="{}"?><!DOCTYPE a [<!ENTITY b "0123456789"><!ENTITY c "&b;&b;&b;&b;">'
        '<!ENTITY x SYSTEM "file:///etc/passwd">]><NativeDicomModel><DicomAttribute tag="00100010" vr="LO">'
        "<Value>&c;</Value></DicomAttribute></NativeDicomModel>"
    )
    deep_xml = '<DicomAttribute tag="0040A730" vr="SQ"><Item>' * 5000 + "</Item></DicomAttribute>" * 5000
    ebcdic = b'<?xml version="1.0" encoding="cp037"?>' + entities[entities.index("<!") :].encode("cp037")
    documents = {
        "json": [
            b"", b"[" * 5000, b"5", b"[5]", b"null", b'{"x":1}', b'[{"00100010":5}]', b'[{"00100010":{"vr":"SQ","Value":[5]}}]',
            b'[{"zz":{"vr":"PN"}}]', b'[{"7FE00010":{"BulkDataURI":"x"}}]', b'[{"00020010":{"Value":[]}}]', b"\xff\xfe",
            b'[{"00080018":{"vr":"UI","Value":["\\u0000"]}}]', b'[{"00083002":5}]', b'[{"0040A730":{"vr":"SQ","Value":5}}]',
        ],
        "xml": [
            b"", b"<", b"<a/>", f"<NativeDicomModel>{deep_xml}</NativeDicomModel>".encode(), entities.format("utf-8").encode(),
            entities.format("utf-16").encode("utf-16"), ebcdic, b"<NativeDicomModel><DicomAttribute/></NativeDicomModel>",
            b'<NativeDicomModel><DicomAttribute tag="x" vr="US"><Value>' + b"9" * 5000 + b"</Value></DicomAttribute></NativeDicomModel>",
            b'<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file:///etc/passwd"/></a>',
        ],
    }  # fmt: skip
    for document in documents[kind]:
        content = body([document], f"application/dicom+{kind}")
        kind_of_all = MULTIPART.replace("application/dicom", f"application/dicom+{kind}")
        answer = await post(web, content, kind_of_all)
        says_why(answer, document[:60])
        assert answer.status_code in (400, 409), (document[:60], answer.status_code, answer.text[:200])
        assert "root:" not in answer.text


async def test_a_document_type_is_refused_in_every_encoding() -> None:
    """OWASP XXE: entities never come to be expanded, whatever the bytes of `<!DOCTYPE` are."""
    from server.dicomweb.dicom_xml import from_xml

    text = '<!DOCTYPE a [<!ENTITY b "x">]><NativeDicomModel>&b;</NativeDicomModel>'
    for encoding in ("utf-8", "utf-16", "utf-16-le", "cp037", "iso-8859-1"):
        head = f'<?xml version="1.0" encoding="{encoding}"?>'
        whole = (
            (head + text).encode(encoding)
            if encoding.startswith("utf-16")
            else head.encode() + text.encode(encoding)
        )
        with pytest.raises(ValueError):
            from_xml(whole)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_methods_that_are_not_there(web: httpx.AsyncClient, ada: Ada, method: str) -> None:
    """RFC 9110, 15.5.6: 405 with Allow; nothing happens."""
    for path in (f"{ada.study.path}/metadata", f"{ada.study.path}/frames/1", "/series", "/instances"):
        answer = await web.request(method, f"/dicomweb{path}")
        says_why(answer)
        assert answer.status_code == 405
        assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize(
    "given",
    [
        "bytes=",
        "bytes=-0",
        "bytes=5-1",
        "bytes=999999-",
        "bytes=-99999999999999999999",
        "x=1-2",
        "bytes=0-0,2-3",
        "bytes=a-b",
    ],
)
async def test_ranges_that_cannot_be(web: httpx.AsyncClient, ada: Ada, given: str) -> None:
    """RFC 9110, 14.2: ignored, or 416."""
    for below in ("/bulkdata/7FE00010", "/frames/1"):
        headers = {"Range": given, "Accept": "application/octet-stream"}
        answer = await web.get(f"/dicomweb{ada.study.path}{below}", headers=headers)
        harmless(answer, given)
        assert answer.status_code in (200, 206, 416)


@pytest.mark.parametrize(
    "line",
    [
        b"GET /dicomweb/studies/\0 HTTP/1.1", b"GET /dicomweb/studies/\xff HTTP/1.1", b"GET dicomweb HTTP/1.1",
        b"GET http://evil.example/dicomweb/studies HTTP/1.1", b"GET /dicomweb/studies/" + b"a" * 70_000 + b" HTTP/1.1",
        b"\0\0\0\0", b"GET /dicomweb/studies HTTP/9.9", b"POST /dicomweb/studies HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
        b"POST /dicomweb/studies HTTP/1.1\r\nContent-Length: -1", b"POST /dicomweb/studies HTTP/1.1\r\nContent-Length: 1e3",
        b"GET /dicomweb/studies HTTP/1.1\r\nAccept: a\0b", b"GET /dicomweb/studies HTTP/1.1\r\nX: " + b"y" * 100_000,
        b"GET /dicomweb/studies HTTP/1.1\r\nIf-None-Match: \xff\xfe,,,\"", b"GET /dicomweb/studies HTTP/1.1\r\nCookie: \xff=\xfe; =; ;",
    ],
    ids=range(14),
)  # fmt: skip
async def test_requests_that_are_not_http(server: RunningServer, ada: Ada, line: bytes) -> None:
    """RFC 9112, 2.2 and 3.2: refused by the server in front of everything, and the next caller is served."""
    rest = f"Host: x\r\nAuthorization: Bearer {ada.token}\r\nConnection: close\r\n\r\n".encode()
    harmless(await raw(server.url, line + b"\r\n" + rest), line[:60])
    async with httpx.AsyncClient(base_url=server.url, headers=ada.headers) as client:
        assert (await client.get("/dicomweb/studies?limit=1")).status_code == 200


def test_the_samples_are_what_they_say() -> None:
    """The checks above change bytes by hand: the plain object is a CT in the syntax they count on."""
    assert CT.encode() in instance().data
    assert DEEP.encode() in instance().data
