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

/** Makes files of pieces ({at, size}) and counts all that is looked at: a hostile disc says the same a thousand times. */
export class Content {
  constructor(image) {
    this.image = image;
    this.names = 0;
    this.bytes = 0;
  }

  /** A name in a directory, whatever it stands for and whether it was deleted. */
  name() {
    this.names += 1;
    if (this.names > MOST_FILES) throw new IsoError("too much inside");
  }

  /** Pieces that are to be read. Two names may stand for the same bytes; far more than the disc holds is meant to harm. */
  count(parts) {
    this.bytes += parts.reduce((sum, { size }) => sum + size, 0);
    if (this.bytes > 4 * this.image.size) throw new IsoError("too much inside");
  }

  /** The pieces of a directory. */
  directory(parts, depth) {
    const size = parts.reduce((sum, part) => sum + part.size, 0);
    if (size > MOST_DIRECTORY || depth > MOST_DEPTH) throw new IsoError("too large or too deep");
    this.count(parts);
  }

  file(name, parts) {
    for (const { at, size } of parts) if (at + size > this.image.size) throw new IsoError("the image ends too soon");
    this.count(parts);
    return new File(parts.map(({ at, size }) => this.image.slice(at, at + size)), name);
  }
}
