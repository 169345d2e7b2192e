// The files inside a disc written in UDF alone (ECMA-167; OSTA UDF 2.01), read like the server does (disc_image.py):
// plain partitions, files in pieces or inside their entry; no virtual, sparable or metadata partitions.

import { IsoError, viewOf } from "./pieces.js";

const BLOCKS = [2048, 512, 4096];
const MOST_DESCRIPTORS = 64;
const DESCRIPTOR = 512;
const ORDINARY = 5; // kinds of file (ECMA-167 4/14.6.6)
const [ANCHOR, PARTITION, VOLUME, TERMINATOR] = [2, 5, 6, 8];
const [FILE_SET, IDENTIFIER, ALLOCATION, ENTRY, LONG_ENTRY] = [256, 257, 258, 261, 266];

/** Every file of the disc, as a File. */
export async function* filesInUdf(image, content) {
  const volume = await new Volume(image).open();
  const seen = new Set();
  const waiting = [{ ...await volume.root(), depth: 0 }];
  while (waiting.length) {
    const { block, reference, depth } = waiting.shift();
    if (seen.has(`${reference} ${block}`)) continue; // a directory that leads back to itself
    seen.add(`${reference} ${block}`);
    const { parts } = await volume.entry(block, reference);
    content.directory(parts, depth);
    const bytes = await new Blob(parts.map(({ at, size }) => image.slice(at, at + size))).arrayBuffer();
    for (const { name, directory, address } of namesIn(new DataView(bytes), content)) {
      if (directory) waiting.push({ ...address, depth: depth + 1 });
      else {
        const found = await volume.entry(address.block, address.reference);
        if (found.kind === ORDINARY) yield content.file(name, found.parts);
        else content.count(found.parts);
      }
    }
  }
}

class Volume {
  constructor(image) {
    this.image = image;
    this.starts = new Map(); // partition: its first block
    this.maps = []; // references of addresses: the partition each means
    this.fileSet = null;
  }

  async open() {
    const { at, length } = await this.anchor();
    for (let place = at; place < at + Math.min(length, MOST_DESCRIPTORS * this.block); place += this.block) {
      const view = await viewOf(this.image, place, this.block);
      if (isDescriptor(view, PARTITION)) this.starts.set(view.getUint16(22, true), view.getUint32(188, true));
      else if (isDescriptor(view, VOLUME)) this.describe(view);
      else if (isDescriptor(view, TERMINATOR)) break;
    }
    return this;
  }

  /** The size of a block, and where the volume is described (ECMA-167 3/10.2). */
  async anchor() {
    for (const block of BLOCKS) {
      for (const place of [256 * block, this.image.size - block, this.image.size - 257 * block]) {
        if (place < 0 || place + DESCRIPTOR > this.image.size) continue;
        const view = await viewOf(this.image, place, DESCRIPTOR);
        if (!isDescriptor(view, ANCHOR)) continue;
        this.block = block;
        return { at: view.getUint32(20, true) * block, length: view.getUint32(16, true) };
      }
    }
    throw new IsoError("neither ISO 9660 nor a UDF that is known");
  }

  describe(view) {
    this.fileSet = { block: view.getUint32(252, true), reference: view.getUint16(256, true) };
    this.maps = [];
    let place = 440;
    for (let left = Math.min(view.getUint32(268, true), 16); left > 0; left -= 1) {
      if (place + 6 > view.byteLength || view.getUint8(place) !== 1) throw new IsoError("a partition that is not plain");
      this.maps.push(view.getUint16(place + 4, true));
      place += Math.max(6, view.getUint8(place + 1));
    }
  }

  async root() {
    if (!this.fileSet) throw new IsoError("no file set");
    const view = await this.descriptor(this.at(this.fileSet.block, this.fileSet.reference), FILE_SET);
    return { block: view.getUint32(404, true), reference: view.getUint16(408, true) };
  }

  at(block, reference) {
    const start = this.starts.get(this.maps[reference]);
    if (start === undefined) throw new IsoError("a partition that is not there");
    return (start + block) * this.block;
  }

  async descriptor(at, ...kinds) {
    const view = await viewOf(this.image, at, this.block);
    if (!kinds.some((kind) => isDescriptor(view, kind))) throw new IsoError("damaged");
    return view;
  }

  /** What kind of file an entry is, and its pieces (ECMA-167 4/14.9 and 4/14.17). */
  async entry(block, reference) {
    const at = this.at(block, reference);
    const view = await this.descriptor(at, ENTRY, LONG_ENTRY);
    const header = isDescriptor(view, ENTRY) ? 176 : 216;
    const begin = header + view.getUint32(header - 8, true);
    const allocated = view.getUint32(header - 4, true);
    if (begin + allocated > this.block) throw new IsoError("damaged");
    const size = Number(view.getBigUint64(56, true));
    const kind = view.getUint8(27);
    const how = view.getUint16(34, true) & 7;
    if (how === 3) return { kind, parts: [{ at: at + begin, size: Math.min(size, allocated) }] }; // in the entry itself
    if (how > 1) throw new IsoError("files kept in a way that is not known");
    return { kind, parts: await this.pieces({ view, place: begin, end: begin + allocated }, how, reference, size) };
  }

  async pieces({ view, place, end }, how, reference, size) {
    const parts = [];
    const width = how === 0 ? 8 : 16;
    let turns = 0;
    for (let left = size; left > 0;) {
      if (place + width > end) throw new IsoError("the image ends too soon");
      const length = view.getUint32(place, true);
      const block = view.getUint32(place + 4, true);
      const partition = how === 1 ? view.getUint16(place + 8, true) : reference;
      const [kind, bytes] = [length >>> 30, length & 0x3fffffff];
      place += width;
      if (kind === 3) { // the list goes on elsewhere (ECMA-167 4/14.5)
        turns += 1;
        if (turns > MOST_DESCRIPTORS) throw new IsoError("damaged");
        view = await this.descriptor(this.at(block, partition), ALLOCATION);
        place = 24;
        end = Math.min(24 + view.getUint32(20, true), view.byteLength);
      } else {
        if (bytes === 0 || kind !== 0) throw new IsoError("a file with parts that were never written");
        const taken = Math.min(bytes, left);
        parts.push({ at: this.at(block, partition), size: taken });
        left -= taken;
      }
    }
    return parts;
  }
}

// What a directory holds, without what was deleted (ECMA-167 4/14.4).
function* namesIn(view, content) {
  for (let place = 0; place + 38 <= view.byteLength;) {
    if (!isDescriptor(new DataView(view.buffer, view.byteOffset + place), IDENTIFIER)) throw new IsoError("broken directory");
    content.name();
    const marks = view.getUint8(place + 18);
    const named = view.getUint8(place + 19);
    const begin = place + 38 + view.getUint16(place + 36, true);
    if (begin + named > view.byteLength) throw new IsoError("broken directory");
    if (!(marks & 0b1100)) { // neither deleted nor the directory above
      const address = { block: view.getUint32(place + 24, true), reference: view.getUint16(place + 28, true) };
      yield { name: nameOf(view, begin, named), directory: Boolean(marks & 2), address };
    }
    place += Math.ceil((begin - place + named) / 4) * 4;
  }
}

function nameOf(view, at, length) {
  if (length < 2) return "";
  const raw = new Uint8Array(view.buffer, view.byteOffset + at + 1, length - 1);
  return new TextDecoder(view.getUint8(at) === 16 ? "utf-16be" : "windows-1252").decode(raw);
}

// A descriptor tag of this kind, with its check sum (ECMA-167 3/7.2).
function isDescriptor(view, kind) {
  if (view.byteLength < 16 || view.getUint16(0, true) !== kind) return false;
  let sum = 0;
  for (let at = 0; at < 16; at += 1) if (at !== 4) sum += view.getUint8(at);
  return (sum & 0xff) === view.getUint8(4);
}
