// The calls of the uploader to its own server.

/** A store over XMLHttpRequest, because fetch tells nothing of a body on its way. */
export function storeWith(address, tokenNow) {
  return ({ blob, type, confirmed, progress, signal }) => new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open("POST", confirmed ? `${address}?mine=true` : address);
    call.setRequestHeader("Content-Type", type);
    call.setRequestHeader("Accept", "application/dicom+json");
    call.setRequestHeader("X-CSRF-Token", tokenNow());
    call.responseType = "text";
    call.upload.onprogress = (event) => progress(event.loaded);
    call.onload = () => resolve({
      status: call.status, retryAfter: call.getResponseHeader("Retry-After"), answer: json(call.responseText),
    });
    call.onerror = () => reject(new Error("the connection broke"));
    call.onabort = call.onerror;
    signal.addEventListener("abort", () => call.abort(), { once: true });
    call.send(blob);
  });
}

function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Which of the SOP Instance UIDs this record holds already; asked a thousand at a time. */
export async function heldOf(address, csrf, uids) {
  const held = new Set();
  for (let start = 0; start < uids.length; start += 1_000) {
    const reply = await fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
      body: JSON.stringify({ uids: uids.slice(start, start + 1_000) }),
    });
    if (!reply.ok) return held; // sending twice is harmless; not sending is not
    for (const uid of (await reply.json()).held) held.add(uid);
  }
  return held;
}

/** The session's token after somebody signed in again: null while nobody has, or when it is another person. */
export async function freshToken(address, owner) {
  const reply = await fetch(address, { headers: { Accept: "application/json" } }).catch(() => null);
  if (!reply?.ok) return null;
  const facts = await reply.json();
  return facts.owner === owner ? facts.csrf : null;
}

function asked(address, csrf, body) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrf };
  return fetch(address, { method: "POST", headers, body: JSON.stringify(body) });
}

/** The row of an upload that begins; null where it cannot be kept: the upload goes on all the same. */
export async function beginUpload(address, csrf, facts) {
  if (!address) return null;
  const reply = await asked(address, csrf, facts).catch(() => null);
  return reply?.ok ? (await reply.json()).id : null;
}

/** Everything of it was sent. */
export function doneUpload(address, csrf, id) {
  return asked(`${address}/${id}/done`, csrf, {}).catch(() => null);
}

/** Where each of these studies stands: "cataloguing" or "available". */
export async function statesOf(address, csrf, uids) {
  const reply = await asked(address, csrf, { uids }).catch(() => null);
  return reply?.ok ? (await reply.json()).states : {};
}
