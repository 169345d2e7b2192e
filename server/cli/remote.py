"""Another DICOMweb server, for `lightbox pull` and `lightbox push`: searched through dicomweb-client, read and
written byte for byte through the same session.

The operator who types the address allows that host, private or not, and no other: redirects elsewhere are refused,
and addresses that its answers name are never followed (decision 21). Everything here blocks, for worker threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from server.core.errors import ServerError

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

T = TypeVar("T")

SECONDS = (10.0, 300.0)  # to connect, and between two pieces of an answer
PAGE = 1000
PIECE = 1 << 20
_PARTS = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_BOUNDARY = "lightbox-4f1c0e6a9d3b4f0c8b7e2d5a61c3f9e0"

Item = dict[str, Any]


class RemoteTrouble(ServerError):
    """The other server did not answer as it should."""


@dataclass(frozen=True)
class Login:
    """What the other server is shown: a bearer token, or a name and a password."""

    token: str | None = None
    user: str | None = None
    password: str | None = None


@dataclass(frozen=True)
class Posted:
    """What the other server said of one store."""

    stored: frozenset[str]
    failed: dict[str, str]  # SOP Instance UID: why


class Remote:
    """The other server."""

    def __init__(self, url: str, login: Login) -> None:
        from dicomweb_client import DICOMwebClient  # takes a second to import: only these commands pay for it

        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or parts.password:
            raise RemoteTrouble(
                "The address wants to be https://host/path, without a name or password in it."
            )
        self.url = url.rstrip("/")
        self._session = _session(parts.scheme, parts.netloc, login)
        self._client: DICOMwebClient = DICOMwebClient(
            self.url, session=self._session, timeout=SECONDS, permissive_uid=True
        )
        self._client.set_http_retry_params(
            retry=False
        )  # it would try again what cannot change; the session does

    def studies(self, filters: dict[str, str]) -> list[str]:
        """The Study Instance UIDs that match."""
        found = self._all(
            lambda page: self._client.search_for_studies(search_filters=filters, **page), "0020000D"
        )
        return list(found)

    def instances(self, study: str) -> dict[str, str]:
        """SOP Instance UIDs of a study and the series they are in; none when it is not there."""
        search = self._client.search_for_instances
        found = self._all(lambda page: search(study, fields=["SeriesInstanceUID"], **page), "00080018")
        return {uid: value(item, "0020000E") for uid, item in found.items()}

    def _all(self, search: Callable[[dict[str, int]], list[Item]], key: str) -> dict[str, Item]:
        """Every page of a search, until one brings nothing new: some servers do not know `offset`."""
        found: dict[str, Item] = {}
        while True:
            try:
                items = _asked(lambda: search({"limit": PAGE, "offset": len(found)}))
            except _NotThere:
                return found
            fresh = {value(item, key): item for item in items if value(item, key) not in found}
            found.update(fresh)
            if not fresh or len(items) < PAGE:
                return found

    def retrieve(self, study: str, series: str, sop: str | None = None) -> tuple[str, Iterator[bytes]]:
        """A series or an instance as it is stored there: the Content-Type, and the body in pieces."""
        path = f"{self.url}/studies/{study}/series/{series}" + (f"/instances/{sop}" if sop else "")
        # Some servers answer one instance without parts, whatever is asked for.
        accept = f"{_PARTS}, application/dicom; transfer-syntax=*; q=0.5" if sop else _PARTS
        answer = _asked(lambda: self._get(path, accept))
        return answer.headers.get("Content-Type", ""), answer.iter_content(PIECE)

    def _get(self, path: str, accept: str) -> requests.Response:
        answer = self._session.get(path, headers={"Accept": accept}, stream=True, timeout=SECONDS)
        answer.raise_for_status()
        return answer

    def store(self, objects: Iterable[tuple[str, Iterator[bytes]]]) -> Posted:
        """Store these instances in one request, streamed."""
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}',
            "Accept": "application/dicom+json",
        }
        sent: list[str] = []
        body = _body(objects, sent)
        answer = _asked(
            lambda: self._session.post(f"{self.url}/studies", data=body, headers=headers, timeout=SECONDS)
        )
        if answer.status_code not in (200, 202, 409):
            _asked(answer.raise_for_status)
        return _posted(answer, sent)


class _NotThere(RemoteTrouble):
    """The other server does not hold it."""


class _OneHost(HTTPAdapter):  # type: ignore[misc]  # requests comes without types
    """Sends to one host only, whatever a redirect says."""

    def __init__(self, allowed: tuple[str, str]) -> None:
        retry = Retry(
            total=4,
            connect=2,
            backoff_factor=0.5,
            status_forcelist=(429, 502, 503, 504),
            allowed_methods=("GET",),
        )
        super().__init__(max_retries=retry)
        self._allowed = allowed

    def send(self, request: Any, *args: Any, **named: Any) -> Any:
        if urlsplit(request.url)[:2] != self._allowed:
            raise RemoteTrouble("The other server leads elsewhere; give the address that it leads to.")
        return super().send(request, *args, **named)


def _session(scheme: str, netloc: str, login: Login) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxy and no password file of the environment
    session.max_redirects = 3
    session.headers["User-Agent"] = "Lightbox"
    for prefix in ("https://", "http://"):
        session.mount(prefix, _OneHost((scheme, netloc)))
    if login.token:
        session.headers["Authorization"] = f"Bearer {login.token}"
    elif login.user:
        session.auth = (login.user, login.password or "")
    return session


def _asked(call: Callable[[], T]) -> T:
    """Errors of the library as sentences, without what the other server said in them."""
    try:
        return call()
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status == 404:
            raise _NotThere("The other server does not hold this.") from error
        reasons = {401: " (it wants a token or a password)", 403: " (this login may not do that)"}
        raise RemoteTrouble(f"The other server answered {status}{reasons.get(status, '')}.") from error
    except (requests.RequestException, OSError) as error:
        raise RemoteTrouble(f"The other server did not answer ({type(error).__name__}).") from error
    except ValueError as error:
        raise RemoteTrouble("The other server's answer cannot be read.") from error


def _body(objects: Iterable[tuple[str, Iterator[bytes]]], sent: list[str]) -> Iterator[bytes]:
    for uid, pieces in objects:
        sent.append(uid)
        yield f"\r\n--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        yield from pieces
    yield f"\r\n--{_BOUNDARY}--\r\n".encode()


def _posted(answer: requests.Response, sent: Sequence[str]) -> Posted:
    """Read the Store Instances Response (PS3.18, I.2); without one, the status alone tells."""
    try:
        model = answer.json()
        model = model[0] if isinstance(model, list) else model
        failed = {
            value(
                item, "00081155"
            ): f"0x{int(value(item, '00081197') or 0):04X} {value(item, '00000902')}".strip()
            for item in model.get("00081198", {}).get("Value", [])
        }
        stored = {value(item, "00081155") for item in model.get("00081199", {}).get("Value", [])}
    except (ValueError, AttributeError, TypeError, IndexError):
        failed, stored = {}, set(sent) if answer.status_code == 200 else set()
    lost = set(sent) - stored - failed.keys()
    failed |= dict.fromkeys(lost, f"not among what was stored (status {answer.status_code})")
    return Posted(frozenset(stored & set(sent)), {uid: why for uid, why in failed.items() if uid in sent})


def value(item: Item, tag: str) -> str:
    """The first value of an attribute of DICOM JSON; empty when there is none."""
    element = item.get(tag) if isinstance(item, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]) if isinstance(values, list) and values else ""


__all__ = ["Login", "Posted", "Remote", "RemoteTrouble"]
