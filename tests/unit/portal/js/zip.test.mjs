import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateRawSync } from "node:zlib";

import { ZipError, filesInZip } from "../../../../server/portal/static/upload/zip.js";

function archive(entries, { lie = 0, flags = 0 } = {}) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, content, deflate = true } of entries) {
    const packed = deflate ? deflateRawSync(content) : content;
    const label = new TextEncoder().encode(name);
    const local = new DataView(new ArrayBuffer(30));
    local.setUint32(0, 0x04034b50, true);
    local.setUint16(26, label.length, true);
    parts.push(local, label, packed);
    const central = new DataView(new ArrayBuffer(46));
    central.setUint32(0, 0x02014b50, true);
    central.setUint16(8, flags, true);
    central.setUint16(10, deflate ? 8 : 0, true);
    central.setUint32(20, packed.length, true);
    central.setUint32(24, content.length - lie, true);
    central.setUint16(28, label.length, true);
    central.setUint32(42, offset, true);
    directory.push(central, label);
    offset += 30 + label.length + packed.length;
  }
  const size = directory.reduce((sum, part) => sum + part.byteLength, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(10, entries.length, true);
  end.setUint32(12, size, true);
  end.setUint32(16, offset, true);
  return new Blob([...parts, ...directory, end]);
}

async function all(blob) {
  const found = [];
  for await (const file of filesInZip(blob)) found.push([file.name, Buffer.from(await file.arrayBuffer()).toString()]);
  return found;
}

test("stored and deflated files come out as they went in", async () => {
  const blob = archive([
    { name: "DICOM/", content: Buffer.alloc(0), deflate: false },
    { name: "DICOM/IM1", content: Buffer.from("one ".repeat(500)) },
    { name: "IM2", content: Buffer.from("two"), deflate: false },
  ]);
  assert.deepEqual(await all(blob), [["IM1", "one ".repeat(500)], ["IM2", "two"]]);
});

test("an archive that is more inside than it says is refused", async () => {
  await assert.rejects(all(archive([{ name: "a", content: Buffer.alloc(5000, 7) }], { lie: 4000 })), ZipError);
});

test("a bomb, an encrypted and a broken archive are refused", async () => {
  await assert.rejects(all(archive([{ name: "a", content: Buffer.alloc(20_000_000) }])), ZipError);
  await assert.rejects(all(archive([{ name: "a", content: Buffer.from("x") }], { flags: 1 })), ZipError);
  await assert.rejects(all(new Blob(["PK\x03\x04 nothing"])), ZipError);
});
