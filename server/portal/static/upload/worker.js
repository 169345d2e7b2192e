// Reads and classifies files away from the page, which so stays quick.

import { NeedMore, classify } from "./classify.js";
import { filesInIso, IsoError, isIso } from "./iso.js";
import { filesInZip, ZipError } from "./zip.js";

const FIRST = 16 * 1024;
const MOST = 32 * 1024 * 1024; // a header longer than this is for the server to understand

async function examine(file) {
  let wanted = Math.min(file.size, FIRST);
  for (;;) {
    const bytes = new Uint8Array(await file.slice(0, wanted).arrayBuffer());
    try {
      const found = classify(bytes, file.size);
      return found.kind === "directory" ? { ...found, listed: await listedIn(file) } : found;
    } catch (error) {
      if (!(error instanceof NeedMore) || error.bytes > MOST || error.bytes <= wanted) return { kind: "dicom" };
      wanted = Math.min(file.size, error.bytes);
    }
  }
}

// How many files a DICOMDIR names: its Referenced File IDs (0004,1500), explicit little endian always (PS3.10, 8.6).
async function listedIn(file) {
  if (file.size > MOST) return 0;
  const bytes = new Uint8Array(await file.arrayBuffer());
  let count = 0;
  for (let at = bytes.indexOf(4); at >= 0; at = bytes.indexOf(4, at + 1)) {
    if (!bytes[at + 1] && !bytes[at + 2] && bytes[at + 3] === 0x15 && bytes[at + 4] === 0x43 && bytes[at + 5] === 0x53) count += 1;
  }
  return count;
}

async function* withContents(file, found) {
  const iso = found.kind === "other" && await isIso(file);
  if (found.reason !== "zip" && !iso) {
    yield { file, found };
    return;
  }
  try {
    for await (const inner of iso ? filesInIso(file) : filesInZip(file)) yield { file: inner, found: await examine(inner) };
  } catch (error) {
    const broken = error instanceof ZipError ? "broken-zip" : error instanceof IsoError ? "broken-iso" : "unreadable";
    yield { file, found: { kind: "other", reason: broken } };
  }
}

self.onmessage = async ({ data: { batch, files } }) => {
  const results = [];
  for (const file of files) {
    try {
      for await (const result of withContents(file, await examine(file))) results.push(result);
    } catch {
      results.push({ file, found: { kind: "other", reason: "unreadable" } });
    }
  }
  self.postMessage({ batch, results });
};
