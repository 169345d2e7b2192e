import assert from "node:assert/strict";
import { test } from "node:test";

import { MOST_BYTES, Rate, Sender, batches, body, outcome, waitBefore } from "../../../../server/portal/static/upload/send.js";

const items = (count, size = 10, confirmed = false) => Array.from({ length: count }, () => ({ file: new File([new Uint8Array(size)], "x"), confirmed }));
const quick = { wait: async () => {} };
const allStored = { status: 200, answer: null };

test("batches hold at most 50 files or 32 MiB, and never mix answers", () => {
  assert.deepEqual(batches(items(120)).map((batch) => batch.items.length), [50, 50, 20]);
  const large = [{ file: { size: MOST_BYTES + 1 }, confirmed: false }, ...items(2)];
  assert.deepEqual(batches(large).map((batch) => batch.items.length), [1, 2]);
  assert.deepEqual(batches([...items(2), ...items(3, 10, true)]).map((batch) => batch.confirmed), [false, true]);
});

test("the body is multipart/related with each file as it is (PS3.18, 10.5.1)", async () => {
  const file = new File([new Uint8Array([1, 13, 10, 2])], "a");
  const bytes = new Uint8Array(await body([{ file }], "b1").arrayBuffer());
  const text = String.fromCharCode(...bytes);
  assert.equal(text, "--b1\r\nContent-Type: application/dicom\r\n\r\n\x01\r\n\x02\r\n--b1--\r\n");
});

test("everything is sent once, three at a time", async () => {
  let now = 0;
  let most = 0;
  let got = 0;
  const sender = new Sender(items(500), async ({ blob }) => {
    now += 1;
    most = Math.max(most, now);
    await new Promise((resolve) => { setTimeout(resolve, 1); });
    got += blob.size > 0;
    now -= 1;
    return allStored;
  }, quick);
  await sender.run();
  assert.deepEqual([sender.state, sender.stored, sender.failed, got, most], ["done", 500, 0, 10, 3]);
  assert.equal(sender.sent, sender.total);
});

test("a busy server and a broken line are tried again", async () => {
  const replies = [{ status: 503, retryAfter: "2" }, null, { status: 429 }, allStored];
  const waits = [];
  const sender = new Sender(items(3), async () => {
    const reply = replies.shift();
    if (!reply) throw new Error("broken");
    return reply;
  }, { wait: async (time) => { waits.push(time); } });
  await sender.run();
  assert.equal(sender.stored, 3);
  assert.equal(waits.length, 3);
  assert.ok(waits[0] >= 2_000);
});

test("full jitter stays below its bound and obeys Retry-After", () => {
  assert.equal(waitBefore(3, null, () => 0), 0);
  assert.equal(waitBefore(3, null, () => 1), 8_000);
  assert.equal(waitBefore(20, null, () => 1), 60_000);
  assert.equal(waitBefore(0, "5", () => 0), 5_000);
});

test("what never arrives can be tried again by hand", async () => {
  const sender = new Sender(items(2), async () => ({ status: 503 }), quick);
  await sender.run();
  assert.deepEqual([sender.state, sender.failed, sender.unsent.length], ["done", 2, 2]);
  assert.deepEqual([...sender.reasons], [[503, 2]]);
});

test("one bad file does not fail the others (202, FailedSOPSequence)", () => {
  const answer = {
    "00081199": { vr: "SQ", Value: [{}, {}] },
    "00081198": { vr: "SQ", Value: [{ "00081197": { vr: "US", Value: [273] } }] },
    "0008119A": { vr: "SQ", Value: [{ "00081197": { vr: "US", Value: [49152] } }] },
  };
  const result = outcome(202, answer, 4);
  assert.deepEqual([result.stored, result.failed, [...result.reasons]], [2, 2, [[273, 1], [49152, 1]]]);
  assert.deepEqual([...outcome(413, null, 2).reasons], [[413, 2]]);
});

test("paused, nothing begins; resumed, it goes on; stopped, it ends", async () => {
  let posts = 0;
  const sender = new Sender(items(400), async () => {
    posts += 1;
    if (posts === 2) sender.pause();
    return allStored;
  }, quick);
  const run = sender.run();
  await new Promise((resolve) => { setTimeout(resolve, 20); });
  assert.equal(sender.state, "paused");
  assert.ok(posts < 8);
  sender.resume();
  await run;
  assert.equal(sender.stored, 400);
});

test("signed out, it waits for the person and loses nothing", async () => {
  let out = true;
  const sender = new Sender(items(10), async () => (out ? { status: 401 } : allStored), quick);
  const run = sender.run();
  await new Promise((resolve) => { setTimeout(resolve, 10); });
  assert.equal(sender.state, "signed-out");
  out = false;
  sender.resume();
  await run;
  assert.deepEqual([sender.stored, sender.failed], [10, 0]);
});

test("the rate is that of the last ten seconds", () => {
  let now = 0;
  const rate = new Rate(() => now);
  for (; now <= 30_000; now += 1_000) rate.note(now * 5);
  assert.equal(rate.perSecond(), 5_000);
  assert.equal(rate.secondsLeft(200_000), 10);
});
