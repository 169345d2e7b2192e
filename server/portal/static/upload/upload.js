// Add imaging: choose -> look -> decide -> send -> done. The page's one conductor; the work is in the modules beside it.

import { entriesOf, filesBelow } from "./collect.js";
import { ReviewTable } from "./review.js";
import { Rate, Sender } from "./send.js";
import { Disc } from "./studies.js";
import { beginUpload, doneUpload, freshToken, heldOf, statesOf, storeWith } from "./transport.js";
import { Words } from "./words.js";

const $ = (id) => document.getElementById(id);
const setup = JSON.parse($("setup").textContent);
const words = new Words(setup.words, document.documentElement.lang === "en" ? "en-GB" : document.documentElement.lang);
const BATCH = 32; // files a message to the worker
const AHEAD = 8; // messages under way

let disc = null;
let review = null;
let sender = null;
let rate = null;
let scan = 0; // number of the running scan; an older one stops when it sees that it is not its own
let wakeLock = null;
let running = null; // the upload's row on the server: what a reload or a crash leaves unsent is told from it

function show(stage) {
  for (const section of document.querySelectorAll("[data-stage]")) section.hidden = section.dataset.stage !== stage;
  const heading = document.querySelector(`[data-stage="${stage}"] h2`);
  heading?.focus();
}

function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

// What the page has to draw or to answer comes first.
function breath() {
  return new Promise((resolve) => { setTimeout(resolve); });
}

// ---- choose ----

function takeDrop(event) {
  event.preventDefault();
  $("drop").classList.remove("over");
  const entries = entriesOf(event.dataTransfer);
  if (entries.length) look(entries);
}

function takeInput(event) {
  const files = [...event.target.files]; // a copy: resetting the input empties its list
  event.target.value = "";
  if (files.length) look(files);
}

$("folder-button").addEventListener("click", () => $("folder").click());
$("files-button").addEventListener("click", () => $("files").click());
$("folder").addEventListener("change", takeInput);
$("files").addEventListener("change", takeInput);
$("drop").addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
$("drop").addEventListener("dragleave", () => $("drop").classList.remove("over"));
$("drop").addEventListener("drop", takeDrop);
// A file dropped beside the area must not replace the page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());

// ---- look ----

async function look(entries) {
  const mine = (scan += 1);
  disc = new Disc(setup.profile);
  show("looking");
  await breath();
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const shown = setInterval(showScan, 150);
  try {
    await classifyAll(worker, entries, () => mine === scan);
  } finally {
    clearInterval(shown);
    worker.terminate();
  }
  if (mine !== scan) return;
  showScan();
  if (disc.images() || disc.unsure.length) await decide(mine);
  else nothingFound();
}

function showScan() {
  say("scanned", words.shown(disc.scanned));
  say("found-images", words.shown(disc.images() + disc.unsure.length));
  say("found-studies", words.shown(disc.byStudy.size));
  const left = [...disc.left.values()].reduce((sum, count) => sum + count, 0);
  say("left-count", words.shown(left));
}

async function classifyAll(worker, entries, current) {
  const underWay = new Map();
  let number = 0;
  worker.onmessage = ({ data }) => {
    for (const { file, found } of data.results) disc.add(file, found);
    underWay.get(data.batch)?.();
    underWay.delete(data.batch);
  };
  worker.onerror = () => {
    for (const finish of underWay.values()) finish();
    underWay.clear();
  };
  const running = new Set();
  const hand = async (files) => {
    number += 1;
    const batch = number;
    const done = new Promise((resolve) => { underWay.set(batch, resolve); });
    running.add(done);
    done.then(() => running.delete(done));
    worker.postMessage({ batch, files });
    await breath(); // handing files over makes the browser ask the disk about each: not thousands in one go
    if (running.size >= AHEAD) await Promise.race(running);
  };
  let files = [];
  for await (const file of filesBelow(entries)) {
    if (!current()) return;
    if (!file) disc.add(null, { kind: "other", reason: "unreadable" });
    else if (files.push(file) >= BATCH) await hand(files.splice(0));
  }
  if (files.length) await hand(files);
  await Promise.all(running);
}

$("stop-looking").addEventListener("click", () => {
  scan += 1;
  show("choose");
});

function nothingFound() {
  $("nothing").hidden = false;
  listLeft($("nothing-left"));
  show("choose");
}

// ---- decide ----

async function decide(mine) {
  const uids = [...disc.byStudy.values()].flatMap((study) => study.files.map(({ sop }) => sop));
  const held = await heldOf(setup.held, setup.csrf, uids).catch(() => new Set());
  if (mine !== scan) return;
  for (const study of disc.byStudy.values()) {
    study.held = study.files.filter(({ sop }) => held.has(sop)).length;
    study.fresh = study.files.filter(({ sop }) => !held.has(sop));
  }
  review = new ReviewTable($("studies"), disc, words, showChoice);
  review.draw();
  listLeft($("left-out"));
  say("unsure", disc.unsure.length ? words.say("unsure", { n: disc.unsure.length }) : "");
  showList();
  showChoice();
  show("decide");
}

// The disc's own list (DICOMDIR) against what was found on it.
function showList() {
  const found = disc.onDisc();
  const missing = disc.listed > found;
  $("disc-list").hidden = !disc.listed;
  $("disc-list").classList.toggle("amber", missing);
  say("disc-list", disc.listed ? words.say(missing ? "listedMissing" : "listedAll", { n: disc.listed, found: words.shown(found) }) : "");
}

function chosen() {
  const studies = disc.studies().filter((study) => study.choice === "mine" && study.fresh.length);
  const items = studies.flatMap((study) => study.fresh.map(({ file }) => ({ file, confirmed: study.differs.length > 0 })));
  items.push(...disc.unsure.map(({ file }) => ({ file, confirmed: false })));
  items.sort((one, two) => Number(one.confirmed) - Number(two.confirmed));
  return { studies, items };
}

function showChoice() {
  const { studies, items } = chosen();
  const asking = disc.studies().filter((study) => study.differs.length && study.fresh.length);
  const open = asking.filter((study) => study.choice === null).length;
  const size = items.reduce((sum, { file }) => sum + file.size, 0);
  $("upload").disabled = items.length === 0;
  const images = words.say("images", { n: items.length });
  const inStudies = { images, studies: words.say("studies", { n: studies.length }) };
  say("upload", items.length ? words.say(studies.length ? "upload" : "uploadUnsure", inStudies) : words.say("nothingToUpload"));
  say("upload-size", items.length ? words.size(size) : "");
  say("open-questions", open ? words.say("openQuestions", { n: open }) : "");
  $("open-questions").hidden = !open;
  $("answer-all").hidden = asking.length < 2;
}

function listLeft(list) {
  list.replaceChildren(...[...disc.left].map(([reason, count]) => {
    const item = document.createElement("li");
    item.textContent = words.say(`left-${reason}`, { n: count });
    return item;
  }));
  const box = list.closest("[data-left]");
  if (box) box.hidden = disc.left.size === 0;
}

for (const button of document.querySelectorAll("[data-all]")) {
  button.addEventListener("click", () => review.answerAll(button.dataset.all));
}

for (const button of document.querySelectorAll("[data-again]")) {
  button.addEventListener("click", () => {
    $("nothing").hidden = true;
    show("choose");
  });
}

// ---- send ----

$("upload").addEventListener("click", async () => {
  const { studies, items } = chosen();
  $("upload").disabled = true;
  const uids = studies.flatMap((study) => study.fresh.map(({ sop }) => sop));
  running = await beginUpload(setup.begin, setup.csrf, { uids, studies: studies.length, listed: disc.listed || null });
  await send(items);
});

async function send(items) {
  sender = new Sender(items, storeWith(setup.store, () => setup.csrf), { onChange: progressed, online: () => navigator.onLine });
  rate = new Rate();
  show("sending");
  window.addEventListener("beforeunload", warn);
  const shown = setInterval(showSending, 250);
  await stayAwake();
  await sender.run();
  clearInterval(shown);
  window.removeEventListener("beforeunload", warn);
  wakeLock?.release().catch(() => {});
  if (running && sender.state === "done" && !sender.unsent.length) doneUpload(setup.begin, setup.csrf, running);
  finished();
}

function warn(event) {
  event.preventDefault();
}

async function stayAwake() {
  wakeLock = await navigator.wakeLock?.request("screen").catch(() => null);
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && sender?.state === "sending") stayAwake();
});

function progressed() {
  if (sender.state !== "sending") showSending();
}

function showSending() {
  const { sent, total, state } = sender;
  if (state === "sending") rate.note(sent);
  const percent = total ? Math.floor((sent / total) * 100) : 100;
  $("bar").value = percent;
  say("percent", `${percent} %`);
  say("sent", words.say("sentOf", { sent: words.size(sent), total: words.size(total) }));
  say("rate", state === "sending" ? words.say("perSecond", { size: words.size(rate.perSecond()) }) : "–");
  say("time-left", state === "sending" ? words.timeLeft(rate.secondsLeft(total)) : words.say(state));
  say("state", state === "sending" ? "" : words.say(`${state}-more`));
  say("pause", state === "sending" ? words.say("pause") : words.say("continue"));
}

$("pause").addEventListener("click", async () => {
  if (sender.state === "sending") sender.pause();
  else if (sender.state !== "signed-out") sender.resume();
  else {
    // The session is another one now, and so is its token; the record must be the same.
    const token = await freshToken(setup.token, setup.owner);
    if (!token) return;
    setup.csrf = token;
    sender.resume();
  }
});
$("stop").addEventListener("click", () => sender.stop());
window.addEventListener("online", () => { if (sender?.state === "offline") sender.resume(); });
window.addEventListener("offline", () => { if (sender?.state === "sending") sender.change("offline"); });

// ---- done ----

function finished() {
  say("done-heading", sender.state === "stopped" ? words.say("stopped") : words.say(sender.failed ? "doneWithGaps" : "doneWell"));
  say("done-stored", words.say("stored", { n: sender.stored }));
  const reasons = [...sender.reasons].map(([reason, count]) => {
    const item = document.createElement("li");
    const key = `failed-${reason}` in setup.words ? `failed-${reason}` : "failed-unknown";
    item.textContent = words.say(key, { n: count });
    return item;
  });
  $("reasons").replaceChildren(...reasons);
  $("gaps").hidden = reasons.length === 0;
  $("retry").hidden = sender.unsent.length === 0;
  const { studies } = chosen();
  $("add-report").hidden = studies.length !== 1;
  if (studies.length === 1) $("add-report").href = `/studies/${encodeURIComponent(studies[0].uid)}/reports/add`;
  $("view").href = studies.length === 1 ? `/studies/${encodeURIComponent(studies[0].uid)}` : "/imaging";
  show("done");
  watch(studies);
}

// Uploading, cataloguing, available: shown live until every study of this upload can be found (product row 19).
async function watch(studies) {
  const asked = sender;
  $("states").replaceChildren();
  for (let turn = 0; turn < 120 && asked === sender && studies.length; turn += 1) {
    const states = await statesOf(setup.states, setup.csrf, studies.slice(0, 200).map(({ uid }) => uid));
    $("states").replaceChildren(...studies.filter(({ uid }) => states[uid]).map((study) => {
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = `/studies/${encodeURIComponent(study.uid)}`;
      const day = words.day(study.date);
      link.textContent = (study.description || words.say("noDescription")) + (day ? `, ${day}` : "");
      item.append(link, ` – ${words.say(`state-${states[study.uid]}`)}`);
      if (studies.length > 1) item.append(" · ", reportLink(study));
      return item;
    }));
    if (studies.every(({ uid }) => states[uid] !== "cataloguing")) return;
    await new Promise((resolve) => { setTimeout(resolve, 500); });
  }
}

// Of one study, a button of its own leads there.
function reportLink(study) {
  const link = document.createElement("a");
  link.href = `/studies/${encodeURIComponent(study.uid)}/reports/add`;
  link.textContent = $("add-report").textContent;
  return link;
}

$("retry").addEventListener("click", () => send(sender.unsent));
document.documentElement.dataset.uploader = "ready";
