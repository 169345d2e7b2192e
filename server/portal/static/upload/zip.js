// The files inside a .zip, read by its central directory (PKWARE APPNOTE 4.3, with Zip64), with limits.

const MOST_FILES = 200_000;
const MOST_BYTES = 16 * 1024 ** 3; // of one file, unpacked
const MOST_RATIO = 200; // more is a bomb, not images

/** The archive is damaged, encrypted, or bigger inside than is sane. */
export class ZipError extends Error {}

/** Every file of the archive as a File; stored ones are slices of it, deflated ones are unpacked one by one. */
export async function* filesInZip(archive) {
  for (const entry of await directoryOf(archive)) {
    if (entry.name.endsWith("/")) continue;
    yield await unpack(archive, entry);
  }
}

async function viewOf(blob, start, end) {
  return new DataView(await blob.slice(Math.max(0, start), end).arrayBuffer());
}

async function directoryOf(archive) {
  const tail = await viewOf(archive, archive.size - 65_557, archive.size);
  const tailStart = Math.max(0, archive.size - 65_557);
  let at = tail.byteLength - 22;
  while (at >= 0 && tail.getUint32(at, true) !== 0x06054b50) at -= 1;
  if (at < 0) throw new ZipError("no end of central directory");
  let count = tail.getUint16(at + 10, true);
  let size = tail.getUint32(at + 12, true);
  let offset = tail.getUint32(at + 16, true);
  if (offset === 0xffffffff || count === 0xffff) {
    ({ count, size, offset } = await zip64(archive, tail, at, tailStart));
  }
  if (count > MOST_FILES || offset + size > archive.size) throw new ZipError("central directory out of bounds");
  return entriesOf(await viewOf(archive, offset, offset + size), count);
}

async function zip64(archive, tail, at, tailStart) {
  const locator = at - 20;
  if (locator < 0 || tail.getUint32(locator, true) !== 0x07064b50) throw new ZipError("no Zip64 locator");
  const start = Number(tail.getBigUint64(locator + 8, true));
  const record = start >= tailStart ? new DataView(tail.buffer, start - tailStart) : await viewOf(archive, start, start + 56);
  if (record.byteLength < 56 || record.getUint32(0, true) !== 0x06064b50) throw new ZipError("no Zip64 record");
  return {
    count: Number(record.getBigUint64(32, true)),
    size: Number(record.getBigUint64(40, true)),
    offset: Number(record.getBigUint64(48, true)),
  };
}

function entriesOf(view, count) {
  const entries = [];
  let at = 0;
  for (let i = 0; i < count; i += 1) {
    if (at + 46 > view.byteLength || view.getUint32(at, true) !== 0x02014b50) throw new ZipError("broken central directory");
    const lengths = [28, 30, 32].map((place) => view.getUint16(at + place, true));
    const entry = {
      flags: view.getUint16(at + 8, true),
      method: view.getUint16(at + 10, true),
      packed: view.getUint32(at + 20, true),
      size: view.getUint32(at + 24, true),
      offset: view.getUint32(at + 42, true),
      name: new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at + 46, lengths[0])),
    };
    widen(entry, view, at + 46 + lengths[0], lengths[1]);
    entries.push(entry);
    at += 46 + lengths[0] + lengths[1] + lengths[2];
  }
  return entries;
}

// Zip64 extra field (0x0001): the values that did not fit, in this order.
function widen(entry, view, start, length) {
  for (let at = start; at + 4 <= start + length;) {
    const id = view.getUint16(at, true);
    const size = view.getUint16(at + 2, true);
    if (id === 1) {
      let place = at + 4;
      for (const key of ["size", "packed", "offset"]) {
        if (entry[key] !== 0xffffffff || place + 8 > at + 4 + size) continue;
        entry[key] = Number(view.getBigUint64(place, true));
        place += 8;
      }
    }
    at += 4 + size;
  }
}

async function unpack(archive, entry) {
  if (entry.flags & 1) throw new ZipError("encrypted");
  if (entry.size > MOST_BYTES || entry.size > MOST_RATIO * Math.max(entry.packed, 1024)) throw new ZipError("too large inside");
  const head = await viewOf(archive, entry.offset, entry.offset + 30);
  if (head.byteLength < 30 || head.getUint32(0, true) !== 0x04034b50) throw new ZipError("broken entry");
  const start = entry.offset + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const packed = archive.slice(start, start + entry.packed);
  const name = entry.name.split("/").pop();
  if (entry.method === 0) return new File([packed], name);
  if (entry.method !== 8) throw new ZipError("unknown compression");
  const stream = packed.stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const content = await new Response(stream.pipeThrough(upTo(entry.size))).blob();
  return new File([content], name);
}

// The directory may lie about the size; the stream must not be believed further than it.
function upTo(most) {
  let seen = 0;
  return new TransformStream({
    transform(chunk, controller) {
      seen += chunk.byteLength;
      if (seen > most) controller.error(new ZipError("larger than it says"));
      else controller.enqueue(chunk);
    },
  });
}
