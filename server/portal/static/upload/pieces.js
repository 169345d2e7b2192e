// What images of discs have in common: pieces of the image that are files, with limits. Nothing is unpacked.

const MOST_FILES = 200_000;
const MOST_DEPTH = 64;
const MOST_DIRECTORY = 64 * 1024 ** 2;

/** The image is damaged, hostile, or written in a way that is not known. */
export class IsoError extends Error {}

/** Bytes of the image. */
export async function viewOf(image, at, size) {
  if (at < 0 || at + size > image.size) throw new IsoError("the image ends too soon");
  const view = new DataView(await image.slice(at, at + size).arrayBuffer());
  if (view.byteLength < size) throw new IsoError("the image ends too soon");
  return view;
}

export function latin(view, at, length) {
  return String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + at, length));
}

/** Makes files of pieces ({at, size}) and counts them. */
export class Content {
  constructor(image) {
    this.image = image;
    this.files = 0;
    this.bytes = 0;
  }

  file(name, parts) {
    for (const { at, size } of parts) if (at + size > this.image.size) throw new IsoError("the image ends too soon");
    this.files += 1;
    this.bytes += parts.reduce((sum, { size }) => sum + size, 0);
    // Two names may stand for the same bytes; a disc that holds much more than itself is made to do harm.
    if (this.files > MOST_FILES || this.bytes > 4 * this.image.size) throw new IsoError("too much inside");
    return new File(parts.map(({ at, size }) => this.image.slice(at, at + size)), name);
  }
}

/** A directory that can be meant. */
export function requireSane(size, depth, directories) {
  if (size > MOST_DIRECTORY || depth > MOST_DEPTH || directories > MOST_FILES) throw new IsoError("too large or too deep");
}
