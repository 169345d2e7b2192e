// Reads and classifies files away from the page, which so stays quick.

import { NeedMore, classify } from "./classify.js";
import { filesInZip, ZipError } from "./zip.js";

const FIRST = 16 * 1024;
const MOST = 32 * 1024 * 1024; // a header longer than this is for the server to understand

async function examine(file) {
  let wanted = Math.min(file.size, FIRST);
  for (;;) {
    const bytes = new Uint8Array(await file.slice(0, wanted).arrayBuffer());
    try {
      return classify(bytes, file.size);
    } catch (error) {
      if (!(error instanceof NeedMore) || error.bytes > MOST || error.bytes <= wanted) return { kind: "dicom" };
      wanted = Math.min(file.size, error.bytes);
    }
  }
}

async function* withContents(file, found) {
  if (found.reason !== "zip") {
    yield { file, found };
    return;
  }
  try {
    for await (const inner of filesInZip(file)) yield { file: inner, found: await examine(inner) };
  } catch (error) {
    yield { file, found: { kind: "other", reason: error instanceof ZipError ? "broken-zip" : "unreadable" } };
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
