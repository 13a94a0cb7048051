// The page of `sketchless draw`. What is sent are the raw points; only the ink that is shown is smoothed.

const CANVAS = 256; // side of the canvas in the data sets' pixels
const EVERY = 100; // ms between answers within a stroke: ten times a second
const STEP = 450; // ms a stroke while replaying
const PAGE = 200; // photos shown at a time of the gallery
const COLOURS = ["#d81b60", "#1e88e5", "#b27d00", "#00796b", "#8e24aa", "#c75300"];
const $ = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

const state = {
  world: null,
  strokes: [], // each [[x, y, ms, pressure], ...]
  redo: [],
  undone: [], // while collecting: {rows, at} of each stroke that was taken back
  redone: [], // while collecting: when the last of those was put back, ms
  undoneSent: 0, // of the undone, how many the server is known to have
  drawing: null, // the stroke under the pen
  began: null, // when the first point came, by performance.now()
  at: null, // strokes on show while replaying; null: all
  target: null,
  answer: null, // the last one shown
  seq: 0,
  shownSeq: 0,
  sent: new Map(), // when a message went, by its seq
  kept: 0, // strokes the server is known to have
  lastSend: 0,
  timer: null,
  play: null,
  filming: false, // whether a film is being recorded
  task: null, // the photo to draw, while collecting
  finishing: false, // whether the server was told that the drawing is done
  showing: false, // whether it is on show
  pen: { x: 128, y: 128, down: false, used: false },
};

// The socket ---------------------------------------------------------------------------------------------

let socket = null;
let wait = 250;

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/draw`);
  socket.binaryType = "blob";
  socket.onopen = () => {
    wait = 250;
    say("");
    state.sent.clear();
    if (state.world.mode === "collect") {
      send({ type: "next", name: state.finishing ? null : state.task?.name ?? null });
    } else {
      sendWhole();
    }
  };
  socket.onmessage = (event) => {
    if (event.data instanceof Blob) return download(event.data, "drawing.gif");
    const answer = JSON.parse(event.data);
    ({ ranked, explained, error, resend, task, kept, finished })[answer.type]?.(answer);
  };
  socket.onclose = (event) => {
    document.body.dataset.online = "no";
    const why = event.code === 1009 ? "the drawing is too large for one message" : event.reason;
    say(why ? `Connection closed: ${why}` : "The server does not answer; what you draw is kept, trying again.");
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, 4000);
  };
}

const online = () => socket?.readyState === WebSocket.OPEN;

function send(message) {
  if (!online()) return false;
  message.seq = ++state.seq;
  state.sent.set(message.seq, performance.now());
  if (message.type !== "explain" && message.type !== "gif") document.body.dataset.asked = message.seq;
  if (state.sent.size > 200) state.sent.delete(state.sent.keys().next().value);
  socket.send(JSON.stringify(message));
  return true;
}

const rows = (stroke) => stroke.map(([x, y, ms]) => [round(x), round(y), Math.max(0, Math.round(ms))]);
const round = (value) => Math.round(value * 100) / 100;

// One message says all: how many strokes stay, and which follow them.
function sendDrawing(keep) {
  state.at = null;
  const all = state.drawing ? [...state.strokes, state.drawing] : state.strokes;
  keep = Math.min(keep, state.kept, all.length);
  if (send({ type: "draw", keep, strokes: all.slice(keep).map(rows) })) state.kept = state.strokes.length;
  state.lastSend = performance.now();
}

function sendWhole() {
  state.kept = 0;
  const at = state.at;
  if (state.target !== null) send({ type: "target", photo: state.target });
  sendDrawing(0);
  if (at !== null) show(at);
}

function resend() {
  if (!collecting()) return sendWhole();
  state.undoneSent = 0;
  sendRecord("record");
}

// Answers ------------------------------------------------------------------------------------------------

function ranked(answer) {
  if (answer.seq < state.shownSeq) return; // a newer one is on show
  state.shownSeq = answer.seq;
  state.answer = answer;
  document.body.dataset.online = "yes";
  document.body.dataset.seq = answer.seq;
  const sent = state.sent.get(answer.seq);
  for (const key of state.sent.keys()) if (key <= answer.seq) state.sent.delete(key);
  if (sent !== undefined && answer.at) {
    $("latency").textContent = `${Math.max(1, Math.round(performance.now() - sent))} ms`;
  }
  clearWhy();
  fill("b1", answer.b1);
  fill("refined", answer.refined);
  curve(answer);
  speak(answer);
}

function error(answer) {
  state.finishing = false;
  say(answer.message);
}

function say(text) {
  $("message").textContent = text;
}

function speak(answer) {
  if (state.drawing || state.play) return; // not in the middle of a stroke
  const list = answer.refined ?? answer.b1;
  if (!list) return void ($("spoken").textContent = "The canvas is empty.");
  let text = `After ${strokesInWords(answer.at)}: `;
  if (answer.target) {
    const place = (name) => answer.target[name].rank[answer.at - 1];
    text += `the target has rank ${place("refined")} of ${state.world.names.length}, with B1 rank ${place("b1")}. `;
  }
  $("spoken").textContent = `${text}First is ${state.world.names[list[0][0]]}.`;
}

const strokesInWords = (count) => `${count} stroke${count === 1 ? "" : "s"}`;

function card(row, label, rank) {
  const item = document.createElement("li");
  item.dataset.row = row;
  const button = document.createElement("button");
  button.type = "button";
  const image = document.createElement("img");
  image.loading = "lazy";
  image.alt = "";
  image.draggable = false;
  image.src = `photo/${row}`;
  image.onerror = () => photoFault(row);
  button.append(image);
  if (rank !== undefined) button.append(Object.assign(document.createElement("small"), { textContent: rank }));
  button.setAttribute("aria-label", label);
  item.append(button);
  return item;
}

async function photoFault(row) {
  const answer = await fetch(`photo/${row}`).catch(() => null);
  if (answer && !answer.ok) say((await answer.text()).trim());
}

// A list of photos: those that stay move to their new places.
function fill(name, list) {
  const home = $(name);
  home.parentElement.hidden = name === "refined" && !state.world.refined;
  if (!list) {
    home.replaceChildren(
      Object.assign(document.createElement("li"), { className: "empty", textContent: "Photos come with the first stroke." }),
    );
    return;
  }
  const before = new Map();
  const focused = home.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.row : null;
  const moving = !still.matches && document.visibilityState === "visible";
  for (const item of home.querySelectorAll("li[data-row]")) {
    before.set(item.dataset.row, { item, box: moving ? item.getBoundingClientRect() : null });
  }
  const items = list.map(([row, cosine], place) => {
    const label = `${state.world.names[row]}, place ${place + 1}, cosine ${cosine.toFixed(3)}${row === state.target ? ", target" : ""}`;
    const item = before.get(String(row))?.item ?? card(row, label, place + 1);
    item.querySelector("small").textContent = place + 1;
    item.querySelector("button").setAttribute("aria-label", label);
    item.title = `${state.world.names[row]}  ${cosine.toFixed(3)}`;
    item.classList.toggle("target", row === state.target);
    return item;
  });
  const same = items.length === home.children.length && items.every((item, i) => item === home.children[i]);
  if (same) return;
  home.replaceChildren(...items);
  if (focused) home.querySelector(`li[data-row="${focused}"] button`)?.focus({ preventScroll: true });
  if (!moving) return;
  for (const item of items) {
    const old = before.get(item.dataset.row)?.box;
    const now = item.getBoundingClientRect();
    const frames = old
      ? [{ transform: `translate(${old.x - now.x}px, ${old.y - now.y}px)` }, { transform: "none" }]
      : [{ opacity: 0, transform: "scale(.8)" }, { opacity: 1, transform: "none" }];
    if (!old || old.x !== now.x || old.y !== now.y) item.animate(frames, { duration: 320, easing: "ease-out" });
  }
}

// The target and its curve -------------------------------------------------------------------------------

function setTarget(row) {
  state.target = row;
  showTarget();
  send({ type: "target", photo: row });
}

function showTarget() {
  const none = state.target === null;
  $("target-photo").hidden = $("no-target").hidden = none;
  if (!none) {
    $("target-photo").src = `photo/${state.target}`;
    $("target-photo").alt = `Target photo ${state.world.names[state.target]}`;
  }
  $("target-name").textContent = none ? "none yet" : state.world.names[state.target];
  for (const item of document.querySelectorAll(".photos li[data-row]")) {
    item.classList.toggle("target", Number(item.dataset.row) === state.target);
  }
}

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes, text) {
  const found = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  if (text !== undefined) found.textContent = text;
  return found;
}

function curve(answer) {
  const chart = $("curve");
  chart.replaceChildren();
  const target = answer.target;
  const names = state.world.refined ? ["b1", "refined"] : ["b1"];
  for (const name of ["b1", "refined"]) {
    const rank = target && answer.at ? target[name].rank[answer.at - 1] : null;
    $(`${name}-rank`).textContent = rank ? `target: rank ${rank}` : "";
  }
  if (!target) {
    chart.setAttribute("aria-label", "No ranks yet");
    $("figures").textContent = state.target === null
      ? "Click a photo, or take an example drawing: the rank of its photo is drawn after every stroke."
      : "Draw: the rank of the photo is drawn after every stroke.";
    return;
  }
  const size = state.world.names.length;
  const count = target.b1.rank.length;
  const [left, right, top, bottom] = [34, 412, 10, 142];
  const x = (stroke) => left + ((right - left) * (count > 1 ? (stroke - 1) / (count - 1) : 0.5));
  const y = (rank) => top + ((bottom - top) * Math.log(rank)) / Math.log(size);
  const ticks = [1, 5, ...[10, 100, 1000, 10000].filter((t) => t < 0.7 * size), size].filter((t) => t <= size);
  for (const tick of new Set(ticks)) {
    chart.append(shape("line", { class: "grid", x1: left, x2: right, y1: y(tick), y2: y(tick) }));
    chart.append(shape("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tick));
  }
  chart.append(shape("text", { x: left, y: 162 }, "stroke 1"));
  if (count > 1) chart.append(shape("text", { x: right, y: 162, "text-anchor": "end" }, `stroke ${count}`));
  chart.append(shape("text", { x: (left + right) / 2, y: 162, "text-anchor": "middle" }, "rank of the target"));
  for (const name of names) {
    const ranks = target[name].rank;
    chart.append(shape("polyline", { class: name, points: ranks.map((r, i) => `${x(i + 1)},${y(r)}`).join(" ") }));
    if (answer.at) chart.append(shape("circle", { class: name, cx: x(answer.at), cy: y(ranks[answer.at - 1]), r: 5 }));
  }
  const told = names.map((name) => {
    const found = target[name];
    const early = found.early === null ? "never in the top 5" : `first in the top 5 at ${found.early} % of the strokes`;
    return [name, `mean 1/rank ${(found["m@B"] / 100).toFixed(3)}, percentile ${found["m@A"].toFixed(1)}, ${early}`];
  });
  $("figures").replaceChildren(
    ...told.map(([name, text]) => {
      const line = document.createElement("span");
      const head = Object.assign(document.createElement("b"), { className: name, textContent: name === "b1" ? "B1 " : "Refined " });
      line.append(head, text);
      return line;
    }),
  );
  chart.setAttribute("aria-label", `Rank of the target after each stroke. ${told.map(([n, t]) => `${n}: ${target[n].rank.join(", ")}; ${t}`).join(". ")}`);
  document.body.dataset.ranks = JSON.stringify({ b1: target.b1.rank, refined: target.refined.rank });
}

// Why ----------------------------------------------------------------------------------------------------

let asking = null;

function ask(row) {
  clearTimeout(asking);
  if (!state.world.explains || !state.answer?.at || state.drawing) return;
  asking = setTimeout(() => send({ type: "explain", photo: row }), 120);
}

function clearWhy() {
  clearTimeout(asking);
  $("marks").replaceChildren();
}

function explained(answer) {
  if (state.drawing || answer.strokes !== (state.at ?? state.strokes.length)) return; // of another drawing
  const [ink, patches] = answer.grid;
  $("why-picture").hidden = false;
  $("why-photo").src = `photo/${answer.photo}`;
  $("patches").setAttribute("viewBox", `0 0 ${patches[1]} ${patches[0]}`);
  $("patches").setAttribute("preserveAspectRatio", "none");
  const cell = [CANVAS / ink[1], CANVAS / ink[0]];
  $("marks").replaceChildren();
  $("patches").replaceChildren();
  answer.links.forEach((link, i) => {
    const style = { fill: `${COLOURS[i]}33`, stroke: COLOURS[i] };
    const [row, column] = link.ink;
    $("marks").append(shape("rect", { ...style, "stroke-width": 2, x: column * cell[0], y: row * cell[1], width: cell[0], height: cell[1] }));
    $("patches").append(shape("rect", { ...style, "stroke-width": 0.08, x: link.patch[1], y: link.patch[0], width: 1, height: 1 }));
  });
  const best = answer.links.map((link) => link.cosine.toFixed(2)).join(", ");
  $("why-text").textContent = `${state.world.names[answer.photo]}: cosine ${answer.cosine.toFixed(3)}. ` +
    (best ? `Boxes of one colour answer each other (cosines ${best}).` : "No patch with ink was kept.");
}

// Ink ----------------------------------------------------------------------------------------------------

const canvas = $("canvas");
const context = canvas.getContext("2d");

let painting = null;

// Once before the screen is next drawn, however many points come until then.
function paint() {
  painting ??= requestAnimationFrame(paintInk);
}

function paintInk() {
  painting = null;
  const side = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const scale = side / CANVAS;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, CANVAS, CANVAS);
  context.strokeStyle = context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink");
  context.lineCap = context.lineJoin = "round";
  const shown = state.at === null ? state.strokes : state.strokes.slice(0, state.at);
  for (const stroke of state.drawing ? [...shown, state.drawing] : shown) paintStroke(stroke);
  if (document.activeElement === canvas && state.pen.used) {
    context.beginPath();
    context.arc(state.pen.x, state.pen.y, state.pen.down ? 3 : 5, 0, 7);
    context.lineWidth = 1.2;
    state.pen.down ? context.fill() : context.stroke();
  }
  $("hint").hidden = state.strokes.length > 0 || state.drawing !== null || state.showing || state.pen.used;
}

function paintStroke(stroke) {
  const width = ([, , , pressure]) => 1.6 + 2.4 * (pressure ?? 0.5);
  if (stroke.length === 1) {
    context.beginPath();
    context.arc(stroke[0][0], stroke[0][1], width(stroke[0]) / 2, 0, 7);
    context.fill();
  }
  let [x, y] = stroke[0];
  for (let i = 1; i < stroke.length; i++) {
    const [a, b] = [stroke[i - 1], stroke[i]];
    const last = i === stroke.length - 1;
    const [mx, my] = last ? b : [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    context.lineWidth = width(b);
    context.beginPath();
    context.moveTo(x, y);
    context.quadraticCurveTo(a[0], a[1], mx, my);
    context.stroke();
    [x, y] = [mx, my];
  }
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  const pressure = event.pointerType === "pen" ? event.pressure : 0.5;
  return [((event.clientX - box.x) / box.width) * CANVAS, ((event.clientY - box.y) / box.height) * CANVAS, elapsed(event.timeStamp), pressure];
}

function elapsed(now) {
  state.began ??= now - (state.strokes.at(-1)?.at(-1)[2] ?? 0);
  return now - state.began;
}

let pointer = null;

canvas.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button !== 0 || state.showing || (collecting() && !state.task)) return;
  pointer = event.pointerId;
  try {
    canvas.setPointerCapture(pointer);
  } catch { /* the pointer has gone again */ }
  beginStroke(place(event));
});
canvas.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer) return;
  const events = event.getCoalescedEvents?.() ?? [];
  goOn((events.length ? events : [event]).map(place));
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => {
    if (event.pointerId !== pointer) return;
    pointer = null;
    endStroke();
  });
}

const count = (strokes) => strokes.reduce((sum, stroke) => sum + stroke.length, 0);

// Points that the server still takes in this drawing.
function room() {
  const { strokes, points } = state.world.limits;
  const left = points - count(state.strokes) - (state.drawing?.length ?? 0);
  const full = state.drawing === null && state.strokes.length >= strokes ? `${strokes} strokes` : left <= 0 ? `${points} points` : "";
  if (full) say(`A drawing has at most ${full}: undo some${collecting() ? ", or finish it" : " or clear it"}.`);
  return full ? 0 : left;
}

function beginStroke(point) {
  stopReplay();
  if (!room()) return;
  state.at = null;
  state.drawing = [point];
  state.redo = [];
  clearWhy();
  say("");
  later();
  paint();
}

function goOn(points) {
  if (!state.drawing) return;
  for (const point of points.slice(0, room())) {
    const last = state.drawing.at(-1);
    if (point[0] !== last[0] || point[1] !== last[1]) state.drawing.push(point);
  }
  later();
  paint();
}

function endStroke() {
  if (!state.drawing) return;
  clearTimeout(state.timer);
  state.timer = null;
  const count = state.strokes.length;
  state.strokes.push(state.drawing);
  state.drawing = null;
  changed(count);
}

// At most ten times a second within a stroke, and not while an earlier message is still on its way out.
function later() {
  if (state.timer || collecting()) return;
  state.timer = setTimeout(() => {
    state.timer = null;
    if (state.drawing && socket?.bufferedAmount === 0) sendDrawing(state.strokes.length);
  }, Math.max(0, EVERY - (performance.now() - state.lastSend)));
}

function changed(keep) {
  if (collecting()) sendRecord("record");
  else sendDrawing(keep);
  controls();
  paint();
}

// Tools --------------------------------------------------------------------------------------------------

const undo = () => takeBack(state.strokes.length - 1);
const clear = () => takeBack(0);

function takeBack(keep) {
  stopReplay();
  if (state.drawing || state.showing || !state.strokes.length) return;
  const at = Math.max(0, Math.round(elapsed(performance.now())));
  const gone = state.strokes.slice(keep).reverse();
  if (collecting()) {
    const { undone, undone_points: most } = state.world.limits;
    const now = [...state.undone, ...gone.map((stroke) => ({ rows: rows(stroke), at }))];
    if (now.length > undone || count(now.map((each) => each.rows)) > most) {
      return say("So much was taken back that no more can be recorded: finish the drawing, or skip the photo.");
    }
    state.undone = now;
  } else if (!keep) {
    state.began = null;
  }
  state.redo.push(...gone);
  state.strokes = state.strokes.slice(0, keep);
  changed(keep);
}

function redo() {
  stopReplay();
  if (state.drawing || state.showing || !state.redo.length) return;
  if (collecting()) state.redone.push(Math.max(0, Math.round(elapsed(performance.now()))));
  state.strokes.push(state.redo.pop());
  changed(state.strokes.length - 1);
}

function show(count) {
  state.at = count === state.strokes.length ? null : count;
  send({ type: "show", at: count });
  clearWhy();
  controls();
  paint();
}

function replay() {
  if (state.play) return stopReplay();
  if (!state.strokes.length) return;
  let count = 0;
  const step = () => {
    show(++count);
    if (count >= state.strokes.length) stopReplay();
  };
  state.play = setInterval(step, STEP);
  step();
  controls();
}

function stopReplay() {
  clearInterval(state.play);
  if (!state.play) return;
  state.play = null;
  controls();
}

function controls() {
  const count = state.strokes.length;
  for (const name of ["undo", "clear", "save-drawing", "save-gif", "save-webm"]) $(name).disabled = !count || state.showing;
  $("replay").disabled = $("slider").disabled = !count;
  $("redo").disabled = !state.redo.length;
  $("replay").textContent = state.play ? "Stop" : "Replay";
  $("finish").disabled = !count || state.showing;
  $("skip").disabled = !state.task;
  $("slider").max = count;
  $("slider").value = state.at ?? count;
  $("count").textContent = state.at === null ? count : `${state.at} of ${count}`;
}

async function example(number) {
  const answer = await fetch(`example/${number}`);
  if (!answer.ok) return say((await answer.text()).trim());
  const found = await answer.json();
  stopReplay();
  state.strokes = found.strokes.map((points) => points.map(([x, y]) => [x, y, 0, 0.5]));
  state.redo = [];
  state.began = null;
  state.target = found.target;
  showTarget();
  send({ type: "target", photo: found.target });
  changed(0);
  replay();
  document.activeElement?.blur?.();
  $("paper").scrollIntoView({ block: "nearest", behavior: still.matches ? "auto" : "smooth" });
}

async function listExamples() {
  const answer = await fetch("examples.json");
  const targets = answer.ok ? await answer.json() : [];
  $("examples-box").hidden = !targets.length;
  if (!targets.length) $("hint").textContent = "Draw here";
  const cards = targets.map((target, i) => {
    const item = card(target, `Example drawing ${i + 1}, of ${state.world.names[target]}`);
    delete item.dataset.row;
    item.querySelector("button").onclick = () => example(i);
    return item;
  });
  $("examples").replaceChildren(...cards);
}

function saveDrawing() {
  const axes = (stroke) => [0, 1, 2].map((axis) => rows(stroke).map((row) => row[axis]));
  const record = { word: "drawing", key_id: String(Date.now()), canvas: [CANVAS, CANVAS], drawing: state.strokes.map(axes) };
  if (state.target !== null) record.photo = state.world.names[state.target];
  download(new Blob([`${JSON.stringify(record)}\n`], { type: "application/x-ndjson" }), "drawing.ndjson");
}

function download(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say("");
}

$("undo").onclick = undo;
$("redo").onclick = redo;
$("clear").onclick = clear;
$("replay").onclick = replay;
$("slider").oninput = (event) => {
  stopReplay();
  show(Number(event.target.value));
};
$("save-drawing").onclick = saveDrawing;
$("save-gif").onclick = () => send({ type: "gif" }) && say("The GIF is being made.");
$("save-webm").onclick = film;
$("no-target").onclick = () => setTarget(null);

// A film: the page paints what it shows onto a canvas while it replays, and the browser records that ------------

const FILM = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"].find((kind) => window.MediaRecorder?.isTypeSupported(kind));
$("save-webm").hidden = !FILM;

async function film() {
  if (state.filming) return;
  state.filming = true;
  const rest = (ms) => new Promise((done) => setTimeout(done, ms));
  scrollTo(0, 0); // the paper moves against the photos while the page is scrolled
  const boxes = ["paper", "lists", "curve-box"].map((id) => $(id).getBoundingClientRect());
  const reel = document.createElement("canvas");
  reel.width = 2 * Math.ceil((Math.max(...boxes.map((b) => b.right)) - Math.min(...boxes.map((b) => b.left))) / 2 + 12);
  reel.height = 2 * Math.ceil((Math.max(...boxes.map((b) => b.bottom)) - Math.min(...boxes.map((b) => b.top))) / 2 + 12);
  const recorder = new MediaRecorder(reel.captureStream(), { mimeType: FILM, videoBitsPerSecond: 4e6 });
  const parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = () => download(new Blob(parts, { type: "video/webm" }), "drawing.webm");
  const frame = () => {
    if (!state.filming) return;
    paintPage(reel);
    requestAnimationFrame(frame);
  };
  stopReplay();
  replay();
  frame();
  recorder.start();
  say("Recording what is replayed.");
  while (state.play) await rest(STEP);
  await rest(3 * STEP); // the last photos are on their way
  state.filming = false;
  recorder.stop();
}

function paintPage(reel) {
  const to = reel.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`);
  const [paper, lists] = [$("paper").getBoundingClientRect(), $("lists").getBoundingClientRect()];
  const [left, top] = [Math.min(paper.left, lists.left) - 12, Math.min(paper.top, lists.top) - 12];
  const place = (element) => {
    const box = element.getBoundingClientRect();
    return [box.x - left, box.y - top, box.width, box.height];
  };
  const fill = (name, ...box) => {
    to.fillStyle = colour(name);
    to.fillRect(...box);
  };
  to.setTransform(1, 0, 0, 1, 0, 0);
  fill("page", 0, 0, reel.width, reel.height);
  fill("paper", ...place($("paper")));
  to.drawImage(canvas, ...place(canvas));
  to.font = "16px system-ui, sans-serif";
  for (const title of document.querySelectorAll("#lists h2, #figures span")) {
    const [x, y] = place(title);
    to.fillStyle = getComputedStyle(title).color;
    to.fillText(title.innerText.replace(/\s+/g, " "), x, y + 17, reel.width - x - 12);
  }
  for (const item of document.querySelectorAll("#lists li[data-row]")) {
    const [image, [x, y, width, height]] = [item.querySelector("img"), place(item)];
    fill(item.classList.contains("target") ? "accent" : "line", x - 2, y - 2, width + 4, height + 4);
    to.fillStyle = "#fff";
    to.fillRect(x, y, width, height);
    if (!image.naturalWidth) continue;
    const scale = Math.min(width / image.naturalWidth, height / image.naturalHeight);
    const [w, h] = [image.naturalWidth * scale, image.naturalHeight * scale];
    to.drawImage(image, x + (width - w) / 2, y + (height - h) / 2, w, h);
  }
  for (const mark of $("curve").children) {
    const { a, d, e, f } = mark.getScreenCTM();
    to.setTransform(a, 0, 0, d, e - left, f - top);
    const look = getComputedStyle(mark);
    to.strokeStyle = look.stroke;
    to.fillStyle = look.fill;
    to.lineWidth = parseFloat(look.strokeWidth);
    to.beginPath();
    const number = (name) => Number(mark.getAttribute(name));
    if (mark.tagName === "text") {
      to.font = `${look.fontSize} system-ui, sans-serif`;
      to.textAlign = { middle: "center", end: "right" }[mark.getAttribute("text-anchor")] ?? "left";
      to.fillText(mark.textContent, number("x"), number("y"));
      to.textAlign = "left";
    } else if (mark.tagName === "circle") {
      to.arc(number("cx"), number("cy"), number("r"), 0, 7);
      to.fill();
    } else {
      const ends = mark.points ? [...mark.points].map(({ x, y }) => [x, y]) : [[number("x1"), number("y1")], [number("x2"), number("y2")]];
      for (const end of ends) to.lineTo(...end);
      to.stroke();
    }
  }
}

// By keys: a pen that arrows move -------------------------------------------------------------------------

canvas.addEventListener("keydown", (event) => {
  const { pen } = state;
  const step = event.shiftKey ? 2 : 8;
  const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  if (state.showing || (collecting() && !state.task) || (!move && event.key !== " " && event.key !== "Escape")) return;
  event.preventDefault();
  pen.used = true;
  if (move) {
    pen.x = Math.min(CANVAS - 1, Math.max(1, pen.x + move[0]));
    pen.y = Math.min(CANVAS - 1, Math.max(1, pen.y + move[1]));
    if (pen.down) goOn([[pen.x, pen.y, elapsed(performance.now()), 0.5]]);
  } else if (pen.down) {
    pen.down = false;
    endStroke();
  } else if (event.key === " ") {
    pen.down = true;
    beginStroke([pen.x, pen.y, elapsed(performance.now()), 0.5]);
  }
  paint();
});
canvas.addEventListener("blur", () => {
  if (state.pen.down) {
    state.pen.down = false;
    endStroke();
  }
  paint();
});
canvas.addEventListener("focus", paint);

document.addEventListener("keydown", (event) => {
  const command = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (event.altKey || (!command && event.target.matches("input:not([type=range]), textarea"))) return;
  const act = command
    ? { z: event.shiftKey ? redo : undo, y: redo }[key]
    : { u: undo, r: redo, c: clear, p: collecting() ? null : replay }[key];
  if (!act) return;
  event.preventDefault();
  act();
});

// Photos: point at one for the reason, click it as the target -----------------------------------------------

for (const name of ["b1", "refined", "gallery"]) {
  $(name).addEventListener("click", (event) => {
    const item = event.target.closest("li[data-row]");
    if (item) setTarget(Number(item.dataset.row) === state.target ? null : Number(item.dataset.row));
  });
  for (const kind of ["pointerover", "focusin"]) {
    $(name).addEventListener(kind, (event) => {
      const item = event.target.closest("li[data-row]");
      if (item) ask(Number(item.dataset.row));
    });
  }
  $(name).addEventListener("pointerleave", clearWhy);
}

let listed = 0;

function more() {
  const names = state.world.names;
  const next = names.slice(listed, listed + PAGE).map((name, i) => card(listed + i, name));
  listed += next.length;
  $("gallery").append(...next);
  $("more").hidden = listed >= names.length;
  showTarget();
}

$("more").onclick = more;
$("gallery-box").addEventListener("toggle", () => listed || more());

// Collecting: a photo is shown, hidden, drawn --------------------------------------------------------------

const collecting = () => state.world?.mode === "collect";

function sendRecord(type) {
  const { undone, redone, undoneSent: past } = state;
  if (!send({ type, strokes: state.strokes.map(rows), past, undone: undone.slice(past), redone })) return;
  state.undoneSent = undone.length;
  state.finishing = type === "finish";
}

function task(answer) {
  const before = state.finishing ? null : state.task; // of a connection that was lost
  if (before?.name === answer.name && answer.undone.length <= state.undone.length) {
    state.undoneSent = answer.undone.length;
    progress(answer);
    if (state.strokes.length || state.undone.length) sendRecord("record");
    return;
  }
  state.finishing = false;
  state.task = answer;
  canvas.dataset.photo = answer.name;
  state.strokes = answer.strokes.map((stroke) => stroke.map(([x, y, ms]) => [x, y, ms, 0.5]));
  state.undone = answer.undone;
  state.redone = answer.redone;
  state.undoneSent = state.undone.length;
  state.redo = [];
  state.began = null;
  state.pen = { x: 128, y: 128, down: false, used: false };
  progress(answer);
  if (state.strokes.length) {
    say("This drawing was begun earlier: go on with it.");
    return hideModel();
  }
  say(before ? `Somebody else draws ${before.name} by now.` : "");
  state.showing = true;
  $("model").src = `photo/${answer.photo}`;
  $("model").alt = "The photo to remember";
  $("model").hidden = false;
  const end = performance.now() + 1000 * answer.seconds;
  const tick = () => {
    if (state.task !== answer) return;
    const left = end - performance.now();
    if (left <= 0) return hideModel();
    const text = `Remember it: ${Math.ceil(left / 1000)} s`;
    if ($("about").textContent !== text) $("about").textContent = text;
    setTimeout(tick, 100);
  };
  $("spoken").textContent = `Look at the photo for ${answer.seconds} seconds, then draw it.`;
  tick();
  controls();
  paint();
}

function hideModel() {
  state.showing = false;
  $("model").hidden = true;
  $("model").removeAttribute("src");
  $("about").textContent = "Draw it from memory";
  $("spoken").textContent = "Draw it from memory.";
  controls();
  paint();
}

function kept(answer) {
  document.body.dataset.online = "yes";
  document.body.dataset.kept = answer.strokes;
}

function progress(answer) {
  document.body.dataset.online = "yes";
  $("drawn").textContent = `${answer.done} of ${answer.total}`;
  $("bar").max = answer.total;
  $("bar").value = answer.done;
}

function finished(answer) {
  state.task = null;
  state.finishing = false;
  state.strokes = state.redo = [];
  progress(answer);
  hideModel();
  $("about").textContent = "All photos are drawn. Thank you.";
  $("spoken").textContent = "All photos are drawn. Thank you.";
}

$("finish").onclick = () => sendRecord("finish");
$("skip").onclick = () => {
  if (send({ type: "skip" })) state.task = null;
};

// Start ---------------------------------------------------------------------------------------------------

new ResizeObserver(paint).observe(canvas);
dark.addEventListener("change", paint);

async function start() {
  const answer = await fetch("world.json").catch(() => null);
  if (!answer?.ok) {
    say(answer ? (await answer.text()).trim() : "The server does not answer; trying again.");
    return setTimeout(start, 1000);
  }
  state.world = await answer.json();
  document.body.className = collecting() ? "collecting" : "searching";
  if (!collecting()) {
    const { about, refined, explains } = state.world;
    $("about").textContent = about;
    $("policy").textContent = refined ?? "";
    $("refined-box").hidden = !refined;
    $("why").hidden = !explains;
    $("hint").textContent = "Draw here, or take an example";
    listExamples();
    fill("b1");
    fill("refined");
  } else {
    $("hint").textContent = "Draw it here, from memory";
  }
  controls();
  paint();
  connect();
}

start();
