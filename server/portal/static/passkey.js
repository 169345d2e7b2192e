// Passkeys: every [data-passkey] button begins a ceremony with the browser and tells the server how it ended.
// Without JavaScript, or where the browser has no passkeys, the buttons stay hidden and the codes do.

const bytes = (text) => {
  const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(plain, (each) => each.charCodeAt(0));
};
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\+/g, "-")
    .replace(/\//g, "_")
    .replace(/=+$/, "");

const withBytes = (options) => {
  const list = (found) => (found ?? []).map((each) => ({ ...each, id: bytes(each.id) }));
  return {
    ...options,
    challenge: bytes(options.challenge),
    ...(options.user ? { user: { ...options.user, id: bytes(options.user.id) } } : {}),
    ...(options.allowCredentials ? { allowCredentials: list(options.allowCredentials) } : {}),
    ...(options.excludeCredentials ? { excludeCredentials: list(options.excludeCredentials) } : {}),
  };
};

const withText = (credential) => {
  const response = { clientDataJSON: text(credential.response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = text(credential.response[name]);
  }
  return { id: credential.id, rawId: text(credential.rawId), type: credential.type, response, clientExtensionResults: {} };
};

class Refused extends Error {}

const ask = async (address, token, body) => {
  const answer = await fetch(address, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json", "x-csrf-token": token },
    body: JSON.stringify(body),
  });
  const found = await answer.json().catch(() => ({}));
  if (answer.status === 403 && found.confirm) {
    location.assign(`${found.confirm}?next=${encodeURIComponent(location.pathname + location.search)}`);
    await new Promise(() => {});
  }
  if (!answer.ok) throw new Refused(found.error ?? "");
  return found;
};

const run = async (button) => {
  const { passkey, begin, answer, token, next } = button.dataset;
  const options = withBytes(await ask(begin, token, {}));
  const ceremony = passkey === "create" ? "create" : "get";
  const credential = await navigator.credentials[ceremony]({ publicKey: options });
  const name = document.getElementById(button.dataset.name ?? "")?.value ?? "";
  const { go } = await ask(answer, token, { credential: withText(credential), name, next });
  if (button.dataset.then === "submit") button.closest("form").submit();
  else location.assign(go);
};

const say = (button, sentence) => {
  const place = document.getElementById(button.dataset.says);
  place.textContent = sentence;
  place.hidden = false;
};

for (const button of document.querySelectorAll("[data-passkey]")) {
  const here = location.hostname === button.dataset.domain && window.PublicKeyCredential && window.isSecureContext;
  const elsewhere = document.getElementById(button.dataset.elsewhere ?? "");
  if (!here) {
    if (elsewhere && location.hostname !== button.dataset.domain) elsewhere.hidden = false;
    continue;
  }
  for (const part of document.querySelectorAll(`[data-with-passkey="${button.id}"]`)) part.hidden = false;
  button.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await run(button);
    } catch (error) {
      const ours = error instanceof Refused && error.message;
      say(button, ours || button.dataset.failed);
    } finally {
      button.disabled = false;
    }
  });
}
