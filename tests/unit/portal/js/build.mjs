// Small DICOM objects, built element by element.

const LONG = new Set(["OB", "OW", "SQ", "UN", "UT"]);

export function element(tag, vr, value, { explicit = true, little = true, length } = {}) {
  const content = typeof value === "string" ? [...new TextEncoder().encode(value.length % 2 ? `${value} ` : value)] : [...value];
  const head = new DataView(new ArrayBuffer(explicit && LONG.has(vr) ? 12 : 8));
  head.setUint16(0, tag >>> 16, little);
  head.setUint16(2, tag & 0xffff, little);
  const size = length ?? content.length;
  if (!explicit) head.setUint32(4, size, little);
  else {
    head.setUint8(4, vr.charCodeAt(0));
    head.setUint8(5, vr.charCodeAt(1));
    if (LONG.has(vr)) head.setUint32(8, size, little);
    else head.setUint16(6, size, little);
  }
  return [...new Uint8Array(head.buffer), ...content];
}

export function file(syntax, elements, { sopClass = "1.2.840.10008.5.1.4.1.1.2", preamble = true } = {}) {
  const meta = [...element(0x00020002, "UI", sopClass), ...element(0x00020010, "UI", syntax)];
  const group = element(0x00020000, "UL", new Uint8Array(new Uint32Array([meta.length]).buffer));
  const start = preamble ? [...new Uint8Array(128), ...new TextEncoder().encode("DICM")] : [];
  return new Uint8Array([...start, ...group, ...meta, ...elements.flat()]);
}

export function header(options) {
  return [
    element(0x00080018, "UI", "1.2.3.9", options),
    element(0x00080020, "DA", "20240131", options),
    element(0x00080060, "CS", "CT", options),
    element(0x00081030, "LO", "Chest", options),
    element(0x0008103e, "LO", "Lung 1 mm", options),
    element(0x00100010, "PN", "Moor^Ada", options),
    element(0x00100030, "DA", "19800229", options),
    element(0x0020000d, "UI", "1.2.3", options),
    element(0x0020000e, "UI", "1.2.3.4", options),
    element(0x00200011, "IS", "2", options),
    element(0x7fe00010, options?.explicit === false ? "OW" : "OW", new Uint8Array(64), options),
  ];
}
