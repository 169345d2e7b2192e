// The files inside an image of a disc (.iso): ISO 9660 (ECMA-119) and its Joliet names, else UDF; with limits.
//
// Nothing is unpacked: a file of the disc is a slice of the image.

import { Content, IsoError, latin, viewOf } from "./pieces.js";
import { filesInUdf } from "./udf.js";

export { IsoError };

const SECTOR = 2048;
const FIRST_DESCRIPTOR = 16;
const MOST_DESCRIPTORS = 64;
const HIDDEN = new Set(["\0", "\x01"]); // a directory itself, and the one above it

/** Whether a file is an image of a disc. */
export async function isIso(file) {
  if (file.size < (FIRST_DESCRIPTOR + 2) * SECTOR) return false;
  const at = FIRST_DESCRIPTOR * SECTOR;
  const name = await file.slice(at + 1, at + 6).text();
  return name === "CD001" || name === "BEA01"; // the second: UDF, maybe with ISO 9660 beside it
}

/** Every file of the disc as a File. */
export async function* filesInIso(image) {
  const content = new Content(image);
  const volume = await volumeOf(image);
  if (!volume) {
    yield* filesInUdf(image, content);
    return;
  }
  const { root, joliet } = volume;
  const seen = new Set();
  const waiting = [{ ...root, depth: 0 }];
  while (waiting.length) {
    const directory = waiting.shift();
    if (seen.has(directory.at)) continue; // a directory that leads back to itself
    seen.add(directory.at);
    content.directory([directory], directory.depth);
    for (const record of await recordsOf(image, directory, joliet, content)) {
      if (record.directory) waiting.push({ ...record.parts[0], depth: directory.depth + 1 });
      else yield content.file(record.name, record.parts);
    }
  }
}

async function volumeOf(image) {
  let primary = null;
  for (let number = 0; number < MOST_DESCRIPTORS; number += 1) {
    const at = (FIRST_DESCRIPTOR + number) * SECTOR;
    const view = await viewOf(image, at, SECTOR);
    const name = latin(view, 1, 5);
    if (name === "CD001" && view.getUint8(0) === 255) break;
    if (name === "CD001" && view.getUint8(0) === 1) primary ??= { root: rootOf(image, view), joliet: false };
    if (name === "CD001" && view.getUint8(0) === 2 && /^%\/[@CE]/.test(latin(view, 88, 3))) {
      return { root: rootOf(image, view), joliet: true };
    }
    if (name !== "CD001" && !["BEA01", "NSR02", "NSR03", "TEA01", "BOOT2"].includes(name)) break;
  }
  return primary; // null: UDF alone
}

function rootOf(image, view) {
  if (view.getUint16(128, true) !== SECTOR) throw new IsoError("unusual block size");
  return extentOf(image, view, 156);
}

// ECMA-119, 9.1: where a file or directory lies.
function extentOf(image, view, at) {
  const extent = { at: (view.getUint32(at + 2, true) + view.getUint8(at + 1)) * SECTOR, size: view.getUint32(at + 10, true) };
  if (extent.at + extent.size > image.size) throw new IsoError("the image ends too soon");
  return extent;
}

async function recordsOf(image, { at, size }, joliet, content) {
  const view = await viewOf(image, at, size);
  const records = [];
  let unfinished = null; // a file of several extents: all but its last record say so
  for (let place = 0; place + 34 <= view.byteLength;) {
    const length = view.getUint8(place);
    if (length === 0) { // records do not cross sectors: the rest of this one is empty
      place = (Math.floor(place / SECTOR) + 1) * SECTOR;
      continue;
    }
    content.name();
    const nameLength = view.getUint8(place + 32);
    if (length < 33 + nameLength || place + length > view.byteLength) throw new IsoError("broken directory");
    const flags = view.getUint8(place + 25);
    const name = nameOf(view, place + 33, nameLength, joliet);
    if (view.getUint8(place + 26) || view.getUint8(place + 27)) throw new IsoError("interleaved file");
    if (!HIDDEN.has(name)) {
      const part = extentOf(image, view, place);
      const record = unfinished ?? { name, directory: Boolean(flags & 2), parts: [] };
      record.parts.push(part);
      unfinished = flags & 0x80 ? record : null;
      if (!unfinished) records.push(record);
    }
    place += length;
  }
  return records;
}

function nameOf(view, at, length, joliet) {
  const raw = new Uint8Array(view.buffer, view.byteOffset + at, length);
  if (length === 1 && raw[0] < 2) return String.fromCharCode(raw[0]);
  return new TextDecoder(joliet ? "utf-16be" : "windows-1252").decode(raw).replace(/;\d+$/, "");
}
