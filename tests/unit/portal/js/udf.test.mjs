import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { IsoError, filesInIso, isIso } from "../../../../server/portal/static/upload/iso.js";

// Made by tests/discs.py: files in pieces, with long addresses, within their entries.
const whole = new Uint8Array(await readFile(process.env.UDF_DISC));

async function all(blob) {
  const found = [];
  for await (const file of filesInIso(blob)) found.push([file.name, await file.text()]);
  return found;
}

test("a disc in UDF alone", async () => {
  assert.equal(await isIso(new Blob([whole])), true);
  const found = await all(new Blob([whole]));
  assert.deepEqual(found.map(([name, text]) => [name, text.length]), [["Bild 1", 9000], ["Bild 2", 5000], ["Bild 3", 700]]);
  assert.deepEqual(found.map(([, text]) => new Set(text).size), [1, 1, 1]);
});

test("cut off or damaged: refused, never hanging", async () => {
  for (let seed = 1; seed < 60; seed += 1) {
    const bytes = whole.slice(0, seed % 3 ? whole.length : 17 * 2048 + seed * 9000);
    let state = seed;
    for (let i = 0; i < 12; i += 1) {
      state = (state * 1103515245 + 12345) & 0x7fffffff;
      const at = 256 * 2048 + (state % (whole.length - 256 * 2048));
      if (at < bytes.length) bytes[at] = state >> 8;
    }
    await all(new Blob([bytes])).catch((error) => assert.ok(error instanceof IsoError, String(error.stack)));
  }
});

test("names that cost work and give no file are counted, and so are the bytes of directories", async () => {
  const hostile = await readFile(process.env.UDF_HOSTILE);
  const large = new Blob([hostile, new Uint8Array(8 * 1024 ** 2)]); // room for the bytes, not for the names
  for (const image of [new Blob([hostile]), large]) {
    await assert.rejects(all(image), (error) => error instanceof IsoError && error.message === "too much inside");
  }
});
