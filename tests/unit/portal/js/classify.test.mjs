import assert from "node:assert/strict";
import { test } from "node:test";

import { NeedMore, classify } from "../../../../server/portal/static/upload/classify.js";
import { element, file, header } from "./build.mjs";

const LITTLE = "1.2.840.10008.1.2.1";
const IMPLICIT = "1.2.840.10008.1.2";
const BIG = "1.2.840.10008.1.2.2";
const DEFLATED = "1.2.840.10008.1.2.1.99";

const looked = (bytes) => classify(bytes, bytes.length);

function assertChest(found) {
  assert.equal(found.kind, "dicom");
  assert.deepEqual([found.header.seriesDescription, found.header.seriesNumber], ["Lung 1 mm", "2"]);
  const { sop, study, series, name, birthDate, modality, description, date } = found.header;
  assert.deepEqual({ sop, study, series, name, birthDate, modality, description, date }, {
    sop: "1.2.3.9", study: "1.2.3", series: "1.2.3.4", name: "Moor^Ada", birthDate: "19800229", modality: "CT",
    description: "Chest", date: "20240131",
  });
}

test("explicit, implicit and big endian are read (PS3.5, 7.1)", () => {
  assertChest(looked(file(LITTLE, header())));
  assertChest(looked(file(IMPLICIT, header({ explicit: false }))));
  assertChest(looked(file(BIG, header({ little: false }))));
});

test("compressed pixels have an explicit little endian header", () => {
  assertChest(looked(file("1.2.840.10008.1.2.4.90", header())));
});

test("a file without preamble is known by its first tag", () => {
  assertChest(looked(new Uint8Array(header().flat())));
  assertChest(looked(new Uint8Array(header({ explicit: false }).flat())));
  assertChest(looked(new Uint8Array(header({ little: false }).flat())));
  assertChest(looked(file(LITTLE, header(), { preamble: false })));
});

test("a deflated data set is for the server to read", () => {
  const found = looked(file(DEFLATED, [[1, 2, 3, 4, 5, 6, 7, 8]]));
  assert.deepEqual(found, { kind: "dicom" });
});

test("a DICOMDIR is no image", () => {
  assert.equal(looked(file(LITTLE, [], { sopClass: "1.2.840.10008.1.3.10" })).kind, "directory");
});

test("sequences of undefined length before the names are passed over", () => {
  const item = [0xfe, 0xff, 0x00, 0xe0, 0xff, 0xff, 0xff, 0xff, ...element(0x00080100, "SH", "A1"), 0xfe, 0xff, 0x0d, 0xe0, 0, 0, 0, 0];
  const end = [0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0];
  const sequence = element(0x00081032, "SQ", new Uint8Array([...item, ...end]), { length: 0xffffffff });
  const all = header();
  assertChest(looked(file(LITTLE, [...all.slice(0, 4), sequence, ...all.slice(4)])));
});

test("a short beginning asks for more, and gets there", () => {
  const big = header();
  big.splice(5, 0, element(0x00091001, "OB", new Uint8Array(100_000)));
  const bytes = file(LITTLE, big);
  let length = 1024;
  for (let tries = 0; tries < 10; tries += 1) {
    try {
      assertChest(classify(bytes.subarray(0, length), bytes.length));
      return;
    } catch (error) {
      assert.ok(error instanceof NeedMore, error);
      assert.ok(error.bytes > length);
      length = Math.min(bytes.length, error.bytes);
    }
  }
  assert.fail("never enough");
});

test("names are read in their character set (PS3.5, 6.1)", () => {
  const named = (charset, bytes) => {
    const all = header();
    all.unshift(element(0x00080005, "CS", charset));
    all[6] = element(0x00100010, "PN", bytes);
    return looked(file(LITTLE, all)).header.name;
  };
  assert.equal(named("ISO_IR 100", [0x42, 0x75, 0x63, 0xfc, 0x5e, 0x4a]), "Bucü^J");
  assert.equal(named("ISO_IR 192", [...new TextEncoder().encode("王^小東")]), "王^小東");
  assert.equal(named("ISO_IR 144", [0xbb, 0xee]), "Лю");
});

test("other files are left out with a reason, whatever their name", () => {
  const reason = (start) => looked(new Uint8Array([...start, ...new Uint8Array(300)])).reason;
  assert.equal(reason([0xff, 0xd8, 0xff, 0xe0]), "picture");
  assert.equal(reason([0x4d, 0x5a, 0x90]), "program");
  assert.equal(reason([0x25, 0x50, 0x44, 0x46]), "document");
  assert.equal(reason([0x50, 0x4b, 3, 4]), "zip");
  assert.equal(reason([0x5b, 0x61, 0x75, 0x74]), "unknown");
  assert.equal(looked(new Uint8Array(0)).reason, "empty");
});

test("no bytes make it fail in any other way", () => {
  let seed = 1;
  const random = () => { seed = (seed * 48271) % 2147483647; return seed; };
  for (let round = 0; round < 3000; round += 1) {
    const whole = round % 2 ? file([LITTLE, IMPLICIT, BIG][round % 3], header({ explicit: round % 3 !== 1, little: round % 3 !== 2 }))
      : new Uint8Array(random() % 400).map(() => random());
    const bytes = whole.slice(0, whole.length - (random() % Math.max(1, whole.length)));
    for (let flips = random() % 4; flips > 0 && bytes.length; flips -= 1) bytes[random() % bytes.length] = random();
    try {
      assert.ok(["dicom", "directory", "other"].includes(classify(bytes, bytes.length).kind));
    } catch (error) {
      assert.ok(error instanceof NeedMore, error.stack);
    }
  }
});
