// What a file is, by its content and never by its name, and what its DICOM header says.
//
// DICOM PS3.10 7.1 (preamble and prefix), PS3.5 7.1 (data elements), 6.1.2 (character sets). Pure functions over bytes:
// no DOM, no network; used by the worker and by the tests.

const EXPLICIT_LITTLE = "1.2.840.10008.1.2.1";
const IMPLICIT_LITTLE = "1.2.840.10008.1.2";
const EXPLICIT_BIG = "1.2.840.10008.1.2.2";
const DEFLATED = "1.2.840.10008.1.2.1.99";
const DIRECTORY_STORAGE = "1.2.840.10008.1.3.10";

const META = { little: true, explicit: true, metaOnly: true };

const LONG = new Set(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]);
const SHORT = new Set([
  "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US",
]);

const WANTED = {
  0x00080005: "charset", 0x00080016: "sopClass", 0x00080018: "sop", 0x00080020: "date", 0x00080060: "modality",
  0x00080080: "place", 0x00081030: "description", 0x00100010: "name", 0x00100030: "birthDate", 0x0020000d: "study",
  0x0008103e: "seriesDescription", 0x0020000e: "series", 0x00200011: "seriesNumber",
};
const LAST_WANTED = 0x00200011;
const WORDED = new Set(["name", "description", "place", "seriesDescription"]); // in the Specific Character Set

// Specific Character Set (0008,0005) -> WHATWG encoding label; what is missing is read as Latin-1.
const CHARSETS = {
  "ISO_IR 100": "windows-1252", "ISO_IR 101": "iso-8859-2", "ISO_IR 109": "iso-8859-3", "ISO_IR 110": "iso-8859-4",
  "ISO_IR 144": "iso-8859-5", "ISO_IR 127": "iso-8859-6", "ISO_IR 126": "iso-8859-7", "ISO_IR 138": "iso-8859-8",
  "ISO_IR 148": "windows-1254", "ISO_IR 203": "iso-8859-15", "ISO_IR 13": "shift_jis", "ISO_IR 166": "windows-874",
  "ISO_IR 192": "utf-8", GB18030: "gb18030", GBK: "gbk", "ISO 2022 IR 87": "iso-2022-jp", "ISO 2022 IR 159": "iso-2022-jp",
  "ISO 2022 IR 13": "shift_jis", "ISO 2022 IR 149": "euc-kr", "ISO 2022 IR 58": "gb18030",
};

/** The bytes given end before the header does; the caller reads on to `bytes`. */
export class NeedMore extends Error {
  constructor(bytes) {
    super(`${bytes} bytes are needed`);
    this.bytes = bytes;
  }
}

/**
 * What a file's first bytes say: {kind: "dicom" | "directory" | "other", reason?, header?}.
 * Unsure is "dicom" without a header: the server decides. Raises NeedMore.
 */
export function classify(bytes, size) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const short = size < 16 || (size >= 132 && bytes.length < 132);
  if (short) return size < 16 ? other("empty") : need(132);
  if (bytes.length >= 132 && text(bytes, 128, 4) === "DICM") return withPreamble(view, size);
  const encoding = looksLikeDataSet(view);
  if (encoding) return withoutPreamble(view, encoding, size);
  return other(familiar(bytes));
}

function other(reason) {
  return { kind: "other", reason };
}

function need(bytes) {
  throw new NeedMore(bytes);
}

function text(bytes, start, length) {
  let result = "";
  for (let i = start; i < start + length; i += 1) result += String.fromCharCode(bytes[i]);
  return result;
}

// Why a file was left out, in kinds a person knows.
function familiar(bytes) {
  const start = text(bytes, 0, Math.min(12, bytes.length));
  if (start.startsWith("MZ") || start.startsWith("\x7fELF")) return "program";
  if (start.startsWith("\xff\xd8\xff") || start.startsWith("\x89PNG") || start.startsWith("GIF8") || start.startsWith("BM")
    || start.startsWith("II*\0") || start.startsWith("MM\0*")) return "picture";
  if (start.startsWith("%PDF") || start.startsWith("{\\rtf")) return "document";
  if (start.startsWith("PK\x03\x04")) return "zip";
  return "unknown";
}

// Old scanners write the data set without preamble: the first tag is in group 0002 or 0008 (PS3.10 asks for more).
function looksLikeDataSet(view) {
  for (const little of [true, false]) {
    const group = view.getUint16(0, little);
    const element = view.getUint16(2, little);
    if ((group !== 2 && group !== 8) || element > 0x0100) continue;
    const vr = String.fromCharCode(view.getUint8(4), view.getUint8(5));
    if (LONG.has(vr) || SHORT.has(vr)) return { little, explicit: true };
    const length = view.getUint32(4, little);
    if (little && length % 2 === 0 && length > 0 && length < 256) return { little, explicit: false };
  }
  return null;
}

function withPreamble(view, size) {
  const meta = {};
  const end = readElements(view, 132, META, size, (tag, at, length) => {
    if (tag === 0x00020002) meta.sopClass = plain(view, at, length);
    if (tag === 0x00020010) meta.syntax = plain(view, at, length);
    return true;
  });
  if (meta.sopClass === DIRECTORY_STORAGE) return { kind: "directory" };
  if (meta.syntax === DEFLATED || end === null) return { kind: "dicom" };
  const encoding = {
    [EXPLICIT_BIG]: { little: false, explicit: true },
    [IMPLICIT_LITTLE]: { little: true, explicit: false },
  }[meta.syntax ?? EXPLICIT_LITTLE] ?? { little: true, explicit: true };
  return { kind: "dicom", header: readHeader(view, end, encoding, size) };
}

function withoutPreamble(view, encoding, size) {
  let start = 0;
  if (view.getUint16(0, encoding.little) === 2) {
    // A file meta group without preamble: the data set follows it in the syntax it names, mostly like the group itself.
    const end = readElements(view, 0, META, size, () => true);
    if (end === null) return { kind: "dicom" };
    start = end;
  }
  const header = readHeader(view, start, encoding, size);
  return header?.study ? { kind: "dicom", header } : { kind: "dicom" };
}

function readHeader(view, start, encoding, size) {
  const found = {};
  const end = readElements(view, start, encoding, size, (tag, at, length) => {
    if (tag > LAST_WANTED) return false;
    const key = WANTED[tag];
    if (key && length < 65536) found[key] = new Uint8Array(view.buffer, view.byteOffset + at, length);
    return true;
  });
  if (end === null || !found.sop || !found.study) return null;
  return decoded(found);
}

function decoded(found) {
  const charset = found.charset ? ascii(found.charset) : "";
  const header = {};
  for (const [key, bytes] of Object.entries(found)) {
    header[key] = WORDED.has(key) ? decode(bytes, charset) : ascii(bytes);
  }
  return header;
}

/**
 * Walk the data elements from `at` on; `visit` answers false where to stop. Gives the place of the element that was
 * not wanted (or the end), null where the bytes make no sense. Raises NeedMore.
 */
function readElements(view, at, encoding, size, visit) {
  let before = -1;
  while (at + 8 <= size) {
    if (at + 12 > view.byteLength && view.byteLength < size) need(Math.min(size, at + 65536));
    // After the file meta group comes another encoding: its first element must not be read in this one.
    if (encoding.metaOnly && view.getUint16(at, true) !== 2) return at;
    const { tag, start, length } = element(view, at, encoding);
    if (tag < before || length === null) return null; // tags only rise (PS3.5, 7.1)
    before = tag;
    const end = length === 0xffffffff ? start : start + length;
    const inside = length !== 0xffffffff;
    if (inside && end > view.byteLength && view.byteLength < size && tag <= LAST_WANTED && length < 65536) {
      need(Math.min(size, end + 65536));
    }
    if (inside && end > size) return tag <= LAST_WANTED ? null : at;
    if (!visit(tag, start, inside ? length : 0)) return at;
    at = inside ? end : skipSequence(view, start, encoding, size);
    if (at === null) return null;
    if (at + 8 <= size && at + 12 > view.byteLength && view.byteLength < size) need(Math.min(size, at + 65536));
  }
  return at;
}

function element(view, at, { little, explicit }) {
  const tag = view.getUint16(at, little) * 65536 + view.getUint16(at + 2, little);
  const group = Math.floor(tag / 65536);
  const asExplicit = group === 2 ? true : explicit;
  const readLittle = group === 2 ? true : little;
  if (group === 0xfffe || !asExplicit) return { tag, start: at + 8, length: view.getUint32(at + 4, readLittle) };
  const vr = String.fromCharCode(view.getUint8(at + 4), view.getUint8(at + 5));
  if (LONG.has(vr)) {
    return at + 12 <= view.byteLength ? { tag, start: at + 12, length: view.getUint32(at + 8, readLittle) } : { tag, length: null };
  }
  if (SHORT.has(vr)) return { tag, start: at + 8, length: view.getUint16(at + 6, readLittle) };
  return { tag, length: null };
}

// Past a sequence of undefined length: items inside are walked until its delimiter (FFFE,E0DD).
function skipSequence(view, at, encoding, size) {
  let depth = 1;
  while (depth > 0) {
    if (at + 8 > size) return null;
    if (at + 12 > view.byteLength && view.byteLength < size) need(Math.min(size, at + 65536));
    const { tag, start, length } = element(view, at, encoding);
    if (length === null) return null;
    if (tag === 0xfffee0dd || tag === 0xfffee00d) {
      depth -= 1;
      at = start;
    } else if (length === 0xffffffff) {
      depth += 1;
      at = start;
    } else {
      // A defined length is skipped whole, an item's content too.
      at = start + length;
    }
    if (at > size) return null;
  }
  return at;
}

function plain(view, at, length) {
  return ascii(new Uint8Array(view.buffer, view.byteOffset + at, length));
}

function ascii(bytes) {
  return text(bytes, 0, bytes.length).replace(/[\0 ]+$/, "").trim();
}

function decode(bytes, charset) {
  const names = charset.split("\\").map((name) => name.trim());
  const label = CHARSETS[names.find((name) => CHARSETS[name]) ?? ""] ?? "windows-1252";
  return new TextDecoder(label).decode(bytes).replace(/\0/g, "").trim();
}
