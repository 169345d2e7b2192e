import assert from "node:assert/strict";
import { test } from "node:test";

import { IsoError, filesInIso, isIso } from "../../../../server/portal/static/upload/iso.js";

const SECTOR = 2048;

function record(name, at, size, flags = 0, joliet = false) {
  const raw = name.length === 1 && name.charCodeAt(0) < 2 ? [name.charCodeAt(0)]
    : joliet ? [...name].flatMap((each) => [each.charCodeAt(0) >> 8, each.charCodeAt(0) & 255])
      : [...name].map((each) => each.charCodeAt(0));
  const length = 33 + raw.length + ((33 + raw.length) % 2);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes[0] = length;
  view.setUint32(2, at, true);
  view.setUint32(10, size, true);
  bytes[25] = flags;
  bytes[32] = raw.length;
  bytes.set(raw, 33);
  return bytes;
}

// An image: sector 16 primary, 17 Joliet or the end, 18 end, 20 the root, 21 a directory below it, files from 22.
function disc({ records, below = [], joliet = false, sectors = 30, contents = {} }) {
  const bytes = new Uint8Array(sectors * SECTOR);
  const view = new DataView(bytes.buffer);
  const put = (at, text) => bytes.set(new TextEncoder().encode(text), at);
  for (const [sector, type] of [[16, 1], [17, joliet ? 2 : 255], [18, 255]]) {
    bytes[sector * SECTOR] = type;
    put(sector * SECTOR + 1, "CD001");
    view.setUint16(sector * SECTOR + 128, SECTOR, true);
    bytes.set(record("\0", 20, SECTOR, 2), sector * SECTOR + 156);
  }
  if (joliet) put(17 * SECTOR + 88, "%/E");
  const fill = (sector, list) => {
    let at = sector * SECTOR;
    for (const each of [record("\0", sector, SECTOR, 2), record("\x01", 20, SECTOR, 2), ...list]) {
      bytes.set(each, at);
      at += each.length;
    }
  };
  fill(20, records);
  fill(21, below);
  for (const [sector, text] of Object.entries(contents)) put(sector * SECTOR, text);
  return new Blob([bytes]);
}

async function all(blob) {
  const found = [];
  for await (const file of filesInIso(blob)) found.push([file.name, await file.text()]);
  return found;
}

test("files and directories below are found", async () => {
  const image = disc({
    records: [record("DICOMDIR;1", 22, 4), record("IMAGES", 21, SECTOR, 2)],
    below: [record("I0001.;1", 23, 5)],
    contents: { 22: "list", 23: "image" },
  });
  assert.equal(await isIso(image), true);
  assert.deepEqual(await all(image), [["DICOMDIR", "list"], ["I0001.", "image"]]);
});

test("Joliet names come first", async () => {
  const image = disc({ joliet: true, records: [record("Bild ü.dcm;1", 22, 3, 0, true)], contents: { 22: "abc" } });
  assert.deepEqual(await all(image), [["Bild ü.dcm", "abc"]]);
});

test("a file of several extents is one file", async () => {
  const image = disc({ records: [record("BIG", 22, 2, 0x80), record("BIG", 24, 3)], contents: { 22: "ab", 24: "cde" } });
  assert.deepEqual(await all(image), [["BIG", "abcde"]]);
});

test("a directory that leads back ends", async () => {
  const image = disc({ records: [record("LOOP", 21, SECTOR, 2)], below: [record("BACK", 20, SECTOR, 2), record("A", 22, 1)], contents: { 22: "a" } });
  assert.deepEqual(await all(image), [["A", "a"]]);
});

test("what lies about its size is refused", async () => {
  const beyond = disc({ records: [record("A", 29, 10 * SECTOR)] });
  await assert.rejects(all(beyond), IsoError);
  const same = Array.from({ length: 40 }, (_, i) => record(`F${i}`, 22, 8 * SECTOR));
  await assert.rejects(all(disc({ records: same })), IsoError);
  const broken = record("A", 22, 1);
  broken[32] = 200;
  await assert.rejects(all(disc({ records: [broken] })), IsoError);
});

test("other files are none", async () => {
  assert.equal(await isIso(new Blob([new Uint8Array(100_000)])), false);
  assert.equal(await isIso(new Blob(["CD001"])), false);
});

test("random bytes never hang or crash otherwise", async () => {
  for (let seed = 1; seed < 40; seed += 1) {
    const bytes = new Uint8Array(await disc({ records: [record("A", 22, 5), record("D", 21, SECTOR, 2)] }).arrayBuffer());
    let state = seed;
    for (let i = 0; i < 60; i += 1) {
      state = (state * 1103515245 + 12345) & 0x7fffffff;
      bytes[20 * SECTOR + (state % (2 * SECTOR))] = state >> 8;
    }
    await all(new Blob([bytes])).catch((error) => assert.ok(error instanceof IsoError, String(error)));
  }
});
