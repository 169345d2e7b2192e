// Files out of a drop, a folder picker or a file picker.

/** The entries of a drop. Must run before anything is awaited: the DataTransfer is emptied after the event. */
export function entriesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  return entries.length ? entries : [...transfer.files];
}

/** Every file below the entries, one after another, as an async generator; what cannot be read is given as null. */
export async function* filesBelow(entries) {
  const waiting = [...entries];
  while (waiting.length) {
    const entry = waiting.shift();
    if (entry instanceof File) yield entry;
    else if (entry.isFile) yield await fileOf(entry);
    else waiting.push(...await childrenOf(entry));
  }
}

function fileOf(entry) {
  return new Promise((resolve) => entry.file(resolve, () => resolve(null)));
}

// readEntries gives at most 100 at a time: ask until it gives none.
async function childrenOf(directory) {
  const reader = directory.createReader();
  const all = [];
  for (;;) {
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) return all;
    all.push(...some);
  }
}
