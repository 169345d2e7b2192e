"""The JavaScript dicomweb-client (npm), unchanged, in a real browser: search, retrieve, frames, bulk data, store."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser import chromium, visiting
from tests.conformance.dicomweb.conftest import Owner
from tests.conformance.dicomweb.samples import instance, multiframe, store
from tests.conftest import RunningServer

CLIENT = Path(__file__).parents[2] / "assets" / "dicomweb-client" / "build" / "dicomweb-client.js"
CALLS = """async ({url, token, study, series, instance, other}) => {
  const client = new DICOMwebClient.api.DICOMwebClient({ url, headers: { Authorization: `Bearer ${token}` } });
  const of = { studyInstanceUID: study, seriesInstanceUID: series, sopInstanceUID: instance };
  const bytes = data => Array.from(new Uint8Array(Array.isArray(data) ? data[0] : data).slice(0, 4));
  const found = {};
  const uid = (item, tag) => item[tag].Value[0];
  found.studies = (await client.searchForStudies({ queryParams: { PatientID: "P-1" } })).map(x => uid(x, "0020000D"));
  found.series = (await client.searchForSeries(of)).map(x => uid(x, "0020000E"));
  found.instances = (await client.searchForInstances(of)).map(x => uid(x, "00080018"));
  found.metadata = (await client.retrieveStudyMetadata(of)).length;
  found.seriesMetadata = (await client.retrieveSeriesMetadata(of)).length;
  const metadata = await client.retrieveInstanceMetadata(of);
  found.frames = (await client.retrieveInstanceFrames({ ...of, frameNumbers: [1, 3] })).map(bytes);
  found.bulk = (await client.retrieveBulkData({ BulkDataURI: metadata["7FE00010"] ?
    metadata["7FE00010"].BulkDataURI : metadata[0]["7FE00010"].BulkDataURI })).map(bytes);
  found.rendered = bytes(await client.retrieveInstanceRendered({ ...of, mediaTypes: [{ mediaType: "image/png" }] }));
  found.frameRendered = bytes(await client.retrieveInstanceFramesRendered(
    { ...of, frameNumbers: [2], mediaTypes: [{ mediaType: "image/jpeg" }] }));
  found.thumbnail = bytes(await client.retrieveInstanceThumbnail(of));
  found.instance = (await client.retrieveInstance(of)).byteLength;
  found.whole = (await client.retrieveStudy(of)).map(x => x.byteLength);
  found.wholeSeries = (await client.retrieveSeries(of)).length;
  found.uri = client.buildInstanceWadoURIUrl(of).includes("requestType=WADO");
  const dataset = Uint8Array.from(atob(other), each => each.charCodeAt(0)).buffer;
  await client.storeInstances({ datasets: [dataset] });
  found.after = (await client.searchForStudies()).length;
  return found;
}"""


@pytest.mark.browser
async def test_its_own_calls(server: RunningServer, web: httpx.AsyncClient, owner: Owner) -> None:
    if not CLIENT.exists():
        pytest.skip("the JavaScript dicomweb-client was not fetched (scripts/test does)")
    sample, other = multiframe(5), instance()
    assert (await store(web, sample)).status_code == 200
    given = {
        "url": f"{server.url}/dicomweb",
        "token": owner.token,
        "study": sample.study,
        "series": sample.series,
        "instance": sample.sop,
        "other": base64.b64encode(other.data).decode(),
    }
    async with chromium() as browser, visiting(browser, server.url, bypass_csp=True) as visitor:
        await visitor.open("/sign-in")
        await visitor.page.add_script_tag(content=CLIENT.read_text())
        found: dict[str, Any] = await visitor.page.evaluate(CALLS, given)
    assert found["studies"] == [sample.study]
    assert (found["series"], found["instances"]) == ([sample.series], [sample.sop])
    assert (found["metadata"], found["seriesMetadata"], found["wholeSeries"]) == (1, 1, 1)
    assert found["frames"] == [[1, 1, 1, 1], [3, 3, 3, 3]]
    assert found["bulk"] == [[1, 1, 1, 1]]
    assert found["rendered"] == [0x89, 0x50, 0x4E, 0x47]
    assert found["frameRendered"][:2] == found["thumbnail"][:2] == [0xFF, 0xD8]
    assert found["instance"] == found["whole"][0] > 5 * 256
    assert found["uri"] is True
    assert found["after"] == 2
