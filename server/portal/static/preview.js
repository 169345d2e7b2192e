// The quick preview: the slider, the wheel, keys and fingers move through frames the server rendered.
// Without this script the page shows one frame with links to the next.

const $ = (id) => document.getElementById(id);
const stage = document.querySelector("[data-frames]");
const image = $("frame");
const slider = $("slider");
const frames = []; // addresses without window
let current = Number(slider.value);
let shown = stage.dataset.window;
let zoom = 1;
let shift = [0, 0];
const ahead = new Map(); // number -> Image being fetched

function address(number) {
  const base = frames[number - 1];
  return shown ? `${base}?window=${shown}` : base;
}

function preload(number) {
  if (number < 1 || number > frames.length) return null;
  const url = address(number);
  if (!ahead.has(url)) {
    const next = new Image();
    next.src = url;
    ahead.set(url, next);
    if (ahead.size > 40) ahead.delete(ahead.keys().next().value);
  }
  return ahead.get(url);
}

async function show(number) {
  current = Math.min(Math.max(1, number), frames.length);
  slider.value = current;
  $("position").textContent = `${current} / ${frames.length}`;
  const wanted = current;
  const next = preload(current);
  $("loading").hidden = next.complete;
  try {
    await next.decode();
  } catch {
    // a frame that cannot be drawn leaves the one before
  }
  if (wanted !== current) return;
  $("loading").hidden = true;
  image.src = next.src;
  image.alt = image.alt.replace(/\d+/, String(current));
  for (const step of [1, 2, -1, 3]) preload(current + step);
}

// ---- windows ----

for (const link of document.querySelectorAll("a[data-window]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    shown = link.dataset.window;
    for (const other of document.querySelectorAll("a[data-window]")) other.removeAttribute("aria-current");
    link.setAttribute("aria-current", "true");
    ahead.clear();
    show(current);
  });
}

// ---- steps ----

for (const [id, step] of [["previous", -1], ["next", 1]]) {
  $(id)?.addEventListener("click", (event) => {
    event.preventDefault();
    show(current + step);
  });
  $(id)?.removeAttribute("aria-disabled");
}
slider.addEventListener("input", () => show(Number(slider.value)));
document.addEventListener("keydown", (event) => {
  if (event.target === slider || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
  if (step) {
    event.preventDefault();
    show(current + step);
  }
});
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  show(current + Math.sign(event.deltaY));
}, { passive: false });

// ---- running pictures: only when asked for ----

let playing = null;

function play(on) {
  clearTimeout(playing);
  playing = null;
  $("play").setAttribute("aria-pressed", String(on));
  if (!on) return;
  const step = async () => {
    const began = performance.now();
    await show(current === frames.length ? 1 : current + 1); // never faster than the pictures come
    if ($("play").getAttribute("aria-pressed") !== "true") return;
    playing = setTimeout(step, Math.max(0, 1000 / Number(stage.dataset.rate) - (performance.now() - began)));
  };
  step();
}

$("play").addEventListener("click", () => play(playing === null));
for (const kind of ["pointerdown", "wheel"]) stage.addEventListener(kind, () => play(false), { passive: true });

// ---- fingers: one moves through the images (or the enlarged image), two enlarge ----

const fingers = new Map();
let from = null;

function apply() {
  image.style.transform = zoom === 1 ? "" : `translate(${shift[0]}px, ${shift[1]}px) scale(${zoom})`;
}

function spread() {
  const [one, two] = [...fingers.values()];
  return Math.hypot(one.x - two.x, one.y - two.y);
}

stage.addEventListener("pointerdown", (event) => {
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  stage.setPointerCapture(event.pointerId);
  from = fingers.size === 2
    ? { spread: spread(), zoom }
    : { x: event.clientX, y: event.clientY, frame: current, shift: [...shift] };
});
stage.addEventListener("pointermove", (event) => {
  if (!fingers.has(event.pointerId) || !from) return;
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (fingers.size === 2 && from.spread) {
    zoom = Math.min(8, Math.max(1, from.zoom * (spread() / from.spread)));
    if (zoom === 1) shift = [0, 0];
    apply();
  } else if (fingers.size === 1 && zoom > 1) {
    shift = [from.shift[0] + event.clientX - from.x, from.shift[1] + event.clientY - from.y];
    apply();
  } else if (fingers.size === 1) {
    const far = Math.max(4, Math.min(24, stage.clientHeight / Math.max(frames.length, 1)));
    const wanted = from.frame + Math.round((event.clientY - from.y) / far);
    if (wanted !== current) show(wanted);
  }
});
for (const kind of ["pointerup", "pointercancel"]) {
  stage.addEventListener(kind, (event) => {
    fingers.delete(event.pointerId);
    from = null;
  });
}
stage.addEventListener("dblclick", () => {
  zoom = zoom > 1 ? 1 : 2;
  shift = [0, 0];
  apply();
});

// ---- begin ----

const reply = await fetch(stage.dataset.frames);
if (reply.ok) {
  const { root, instances } = await reply.json();
  for (const [series, sop, count] of instances) {
    for (let frame = 1; frame <= count; frame += 1) frames.push(`${root}/series/${series}/instances/${sop}/frames/${frame}/rendered`);
  }
  slider.max = frames.length;
  slider.hidden = frames.length < 2;
  $("play").hidden = frames.length < 2;
  for (const step of [1, 2]) preload(current + step);
}
