// Sends files in STOW-RS batches (DICOM PS3.18, 10.5): three at once, again with full jitter when the way is bad.

export const MOST_FILES = 50;
export const MOST_BYTES = 32 * 1024 * 1024;
const AT_ONCE = 3;
const TRIES = 8;
const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 60_000;
const AGAIN = new Set([0, 408, 425, 429, 500, 502, 503, 504]);

/** Files in batches of at most 50 or 32 MiB; a larger file goes alone. Items are {file, confirmed}. */
export function batches(items) {
  const result = [];
  let current = null;
  for (const item of items) {
    const full = current && (current.items.length >= MOST_FILES || current.bytes + item.file.size > MOST_BYTES
      || current.confirmed !== item.confirmed);
    if (!current || full) {
      current = { items: [], bytes: 0, confirmed: item.confirmed, sent: 0 };
      result.push(current);
    }
    current.items.push(item);
    current.bytes += item.file.size;
  }
  return result;
}

/** The body of a store: a Blob of parts, so that no file is read into memory by us. */
export function body(items, boundary) {
  const head = `--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`;
  const parts = items.flatMap(({ file }) => [head, file, "\r\n"]);
  return new Blob([...parts, `--${boundary}--\r\n`]);
}

/** Milliseconds before the next try: anywhere up to a doubling bound, or what the server asked for. */
export function waitBefore(attempt, retryAfter, random = Math.random) {
  const asked = Number.parseFloat(retryAfter);
  const bound = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** attempt);
  return random() * bound + (Number.isFinite(asked) ? Math.min(asked, 600) * 1_000 : 0);
}

/** What the server said of a batch: how many are stored, and the reasons of the others by code. */
export function outcome(status, answer, count) {
  const sequence = (tag) => (answer?.[tag]?.Value ?? []);
  const failed = [...sequence("00081198"), ...sequence("0008119A")];
  const reasons = new Map();
  const note = (reason) => reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  for (const item of failed) note(item["00081197"]?.Value?.[0] ?? "unknown");
  const stored = sequence("00081199").length;
  if (!failed.length && !stored) {
    if (status >= 200 && status < 300) return { stored: count, failed: 0, reasons };
    for (let i = 0; i < count; i += 1) note(status);
  }
  return { stored, failed: count - stored, reasons };
}

const sleep = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

/** One upload. `post({blob, type, confirmed, progress, signal})` gives {status, retryAfter, answer}. */
export class Sender {
  constructor(items, post, { onChange = () => {}, online = () => true, wait = sleep } = {}) {
    this.waiting = batches(items);
    this.all = [...this.waiting];
    this.post = post;
    this.onChange = onChange;
    this.online = online;
    this.wait = wait;
    this.total = this.all.reduce((sum, batch) => sum + batch.bytes, 0);
    this.stored = 0;
    this.failed = 0;
    this.reasons = new Map();
    this.unsent = [];
    this.state = "ready"; // sending | paused | offline | signed-out | stopped | done
    this.controller = new AbortController();
    this.wake = [];
  }

  get sent() {
    return this.all.reduce((sum, batch) => sum + Math.min(batch.sent, batch.bytes), 0);
  }

  async run() {
    this.change("sending");
    await Promise.all(Array.from({ length: AT_ONCE }, () => this.work()));
    if (this.state !== "stopped") this.change("done");
    return this;
  }

  pause() {
    if (this.state === "sending") this.change("paused");
  }

  resume() {
    if (["paused", "offline", "signed-out"].includes(this.state)) this.change("sending");
    this.wake.splice(0).forEach((go) => go());
  }

  stop() {
    this.change("stopped");
    this.controller.abort();
    this.wake.splice(0).forEach((go) => go());
  }

  change(state) {
    this.state = state;
    this.onChange(this);
  }

  async work() {
    for (;;) {
      await this.mayGoOn();
      const batch = this.state === "stopped" ? null : this.waiting.shift();
      if (!batch) return;
      await this.send(batch);
    }
  }

  async mayGoOn() {
    if (this.state === "sending" && !this.online()) this.change("offline");
    while (["paused", "offline", "signed-out"].includes(this.state)) {
      await new Promise((resolve) => { this.wake.push(resolve); });
    }
  }

  async send(batch) {
    for (let attempt = 0; this.state !== "stopped"; attempt += 1) {
      const reply = await this.try(batch);
      if (reply.status === 401 || reply.status === 403) { // 403: signed in anew elsewhere, with another token
        this.change("signed-out");
        attempt = -1;
      } else if (!AGAIN.has(reply.status) || attempt + 1 >= TRIES) {
        this.note(batch, reply);
        return;
      } else if (this.online()) {
        await this.wait(waitBefore(attempt, reply.retryAfter));
      } else attempt = -1; // the line is gone: that is not a try
      await this.mayGoOn();
    }
  }

  async try(batch) {
    const boundary = `lightbox-${crypto.randomUUID()}`;
    const progress = (bytes) => {
      batch.sent = bytes;
      this.onChange(this);
    };
    try {
      return await this.post({
        blob: body(batch.items, boundary), type: `multipart/related; type="application/dicom"; boundary=${boundary}`,
        confirmed: batch.confirmed, progress, signal: this.controller.signal,
      });
    } catch {
      batch.sent = 0;
      return { status: 0 };
    }
  }

  note(batch, { status, answer }) {
    const result = outcome(status, answer, batch.items.length);
    batch.sent = batch.bytes;
    this.stored += result.stored;
    this.failed += result.failed;
    for (const [reason, count] of result.reasons) this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + count);
    if (result.failed && AGAIN.has(status)) this.unsent.push(...batch.items);
    this.onChange(this);
  }
}

/** Bytes a second over the last ten seconds, and from it the seconds left. */
export class Rate {
  constructor(now = () => performance.now()) {
    this.now = now;
    this.points = [];
  }

  note(bytes) {
    const at = this.now();
    this.points.push([at, bytes]);
    while (this.points.length > 2 && at - this.points[0][0] > 10_000) this.points.shift();
  }

  perSecond() {
    if (this.points.length < 2) return 0;
    const [[from, first], [to, last]] = [this.points[0], this.points[this.points.length - 1]];
    return to > from ? Math.max(0, ((last - first) * 1_000) / (to - from)) : 0;
  }

  secondsLeft(total) {
    const rate = this.perSecond();
    return rate > 0 ? (total - this.points[this.points.length - 1][1]) / rate : null;
  }
}
