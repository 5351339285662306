// Shows the task tree, as one event stream tells of it. Each event is the whole of it: what is there already stays
// the same element, so that what is open or focused stays so.
"use strict";

const RETRY = 2000; // milliseconds until a stream is opened again that the browser has given up
const LINGER = 4000; // milliseconds that a request which has ended stays in its place
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const TICK = calm ? 1000 : 100;

const REASONS = {
  returned: "returned",
  failed: "failed",
  deadline: "its deadline passed",
  disconnected: "its client left",
  drained: "the server is stopping",
  shed: "turned away",
};
const FINE = new Set(["returned"]);

const tree = document.getElementById("tree");
const pause = document.getElementById("pause");
const own = document.getElementById("own");
const news = document.getElementById("news");
const template = document.getElementById("line");
const number = new Intl.NumberFormat();

const lines = new Map(); // by key: { element, node }
let stream = null;
let retry; // the timer after which it is opened again
let latest = null; // what was told last
let heard = 0; // when, on this page's clock
let paused = false;
let away = false;
let shown = 0; // the number of the last that has ended and is listed
let first = true;

// In a frame of another page it has less room, and that page says what it is.
document.documentElement.classList.toggle("framed", self !== top);

pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Go on" : "Pause";
  say(paused ? "Paused: this page stands still, the server goes on." : "");
  if (!paused && latest) show(latest);
});
own.addEventListener("change", () => { if (latest) show(latest); });
setInterval(() => { if (!paused) tick(); }, TICK);
// A page that is kept for the way back would keep a request that nobody reads.
addEventListener("pagehide", () => {
  clearTimeout(retry);
  stream.close();
});
addEventListener("pageshow", (event) => { if (event.persisted) follow(); });
follow();

function follow() {
  stream = new EventSource("tasks/events");
  stream.addEventListener("tasks", (event) => {
    latest = JSON.parse(event.data);
    heard = performance.now();
    if (away) {
      say("The server is back.");
      // Another process may count from the beginning.
      shown = Math.min(shown, latest.ended[0]?.number ?? 0);
    }
    away = false;
    if (!paused) show(latest);
  });
  stream.addEventListener("error", () => {
    if (!away) say("The server is away; this page looks for it.", true);
    away = true;
    if (stream.readyState === EventSource.CLOSED) retry = setTimeout(follow, RETRY);
  });
}

function show(told) {
  const endings = new Map(told.ended.map((each) => [each.request, each]));
  const kept = new Set();
  // Whoever watches waits for requests; services stay where they are.
  const roots = visible(told.tree).sort((one, other) => asked(other) - asked(one));
  place(tree, roots, "", kept);
  for (const [key, line] of lines) {
    if (kept.has(key)) continue;
    lines.delete(key);
    const ending = endings.get(line.node.request);
    if (ending) leave(line, ending);
    else line.element.remove();
  }
  document.getElementById("nothing").hidden = roots.length > 0;
  const looked = told.looked < told.tasks ? `, ${number.format(told.looked)} looked at` : "";
  const all = `${tasks(told.tasks)}${own.checked ? "" : " in all"}${looked}`;
  const summary = own.checked ? all : `${tasks(count(roots))} of the application, ${all}`;
  document.getElementById("summary").textContent = summary;
  showServices(told.services);
  showEnded(told.ended);
  first = false;
  tick();
}

/** The tasks among nodes and below them, those included that are only counted. */
function count(nodes) {
  return nodes.reduce((sum, node) => {
    const one = node.kind === "more" ? node.count : Number(node.kind !== "nursery");
    return sum + one + count((node.children ?? []).flatMap(visible));
  }, 0);
}

function tasks(total) {
  return `${number.format(total)} ${total === 1 ? "task" : "tasks"}`;
}

function asked(node) {
  return Number(node.request !== undefined);
}

/** The node, or those below it that are the application's. */
function visible(node) {
  if (node.own && !own.checked) return (node.children ?? []).flatMap(visible);
  return [node];
}

function place(list, nodes, parent, kept) {
  let before = list.firstElementChild;
  const met = new Map();
  for (const node of nodes) {
    const kind = node.request ?? (node.id ? `task ${node.id}` : `${node.kind} ${node.name}`);
    const nth = met.get(kind) ?? 0;
    met.set(kind, nth + 1);
    const key = node.request || node.id ? kind : `${parent}/${kind} ${nth}`;
    const line = lines.get(key) ?? make(key, node);
    line.node = node;
    kept.add(key);
    while (before?.classList.contains("gone")) before = before.nextElementSibling;
    if (line.element !== before) list.insertBefore(line.element, before);
    else before = before.nextElementSibling;
    fill(line);
    const inner = line.element.querySelector(":scope > ul");
    place(inner, (node.children ?? []).flatMap(visible), key, kept);
    inner.hidden = !inner.firstElementChild;
  }
}

function make(key, node) {
  const element = template.content.firstElementChild.cloneNode(true);
  const line = { element, node };
  element.classList.add(node.kind);
  if (node.request) element.dataset.request = node.request;
  if (!first) {
    element.classList.add("fresh");
    setTimeout(() => element.classList.remove("fresh"), 600);
  }
  const button = element.querySelector(".where");
  button.hidden = !node.id;
  button.setAttribute("aria-label", `Stack of ${node.name}`);
  button.addEventListener("click", () => showStack(line, button));
  lines.set(key, line);
  return line;
}

function fill({ element, node }) {
  const line = element.querySelector(".line");
  const name = node.kind === "more" ? `… ${number.format(node.count)} more: ${node.name}` : node.name;
  setName(line.querySelector(".name"), name);
  const mark = line.querySelector(".mark");
  mark.hidden = !node.ended && !node.cancelled;
  set(mark, node.ended ? `ending: ${REASONS[node.ended] ?? node.ended}` : "cancelled");
  const waits = line.querySelector(".waits");
  const parts = [];
  if (node.waits) parts.push(`waits for ${node.waits}`);
  if (node.at) parts.push(`at ${node.at}`);
  if (node.request) parts.push(`request ${node.request}`);
  waits.hidden = !parts.length;
  set(waits, parts.join(" · "));
}

/** Ages and deadlines, which change while nothing is told. */
function tick() {
  if (!latest) return;
  const now = latest.now + (performance.now() - heard) / 1000;
  for (const { element, node } of lines.values()) {
    const time = element.querySelector(":scope > .line > .time");
    const parts = [];
    if (node.began !== undefined) parts.push(`${seconds(now - node.began)} old`);
    if (node.deadline !== undefined) parts.push(`${seconds(Math.max(0, node.deadline - now))} left`);
    else if (node.wakes !== undefined) parts.push(`wakes in ${seconds(Math.max(0, node.wakes - now))}`);
    time.hidden = !parts.length;
    if (!parts.length) continue;
    set(time.querySelector(".left"), parts.join(", "));
    const bar = time.querySelector(".bar");
    bar.hidden = node.began === undefined || node.deadline === undefined;
    if (!bar.hidden) {
      const part = (node.deadline - now) / Math.max(0.001, node.deadline - node.began);
      bar.firstElementChild.style.transform = `scaleX(${Math.min(1, Math.max(0, part))})`;
    }
  }
}

function seconds(value) {
  if (value >= 120) return `${Math.floor(value / 60)} min`;
  return calm || value >= 60 ? `${Math.floor(value)} s` : `${value.toFixed(1)} s`;
}

/** A request that was there and is not any more: it stays for a moment, with its reason. */
function leave({ element }, ending) {
  element.classList.add("gone");
  const mark = element.querySelector(".mark");
  mark.hidden = false;
  mark.textContent = REASONS[ending.reason] ?? ending.reason;
  for (const each of element.querySelectorAll(".time, .where, .waits, pre, ul")) each.remove();
  setTimeout(() => element.remove(), LINGER);
}

async function showStack(line, button) {
  const box = line.element.querySelector(":scope > pre");
  const open = box.hidden;
  box.hidden = !open;
  button.setAttribute("aria-expanded", String(open));
  if (!open) return;
  box.setAttribute("aria-label", `Stack of ${line.node.name}`);
  box.textContent = "…";
  try {
    const answer = await fetch(`tasks/${line.node.id}/stack`);
    box.textContent = answer.ok ? await answer.text() : "It is over.";
    box.scrollTop = box.scrollHeight; // where it is
  } catch {
    box.textContent = "The server does not answer.";
  }
}

function showServices(services) {
  document.getElementById("services-section").hidden = !services.length;
  const list = document.getElementById("services");
  list.replaceChildren(...services.map((service) => {
    const restarts = service.restarts ? `, restarted ${number.format(service.restarts)} times` : "";
    return item(service.name, `${service.state}${restarts}`, ["failed", "backing-off"].includes(service.state));
  }));
}

function showEnded(ended) {
  const list = document.getElementById("ended");
  for (const each of ended.filter(({ number }) => number > shown).reverse()) {
    const how = `${REASONS[each.reason] ?? each.reason}, after ${seconds(each.seconds)}`;
    const line = item(each.name, how, !FINE.has(each.reason));
    line.dataset.request = each.request;
    list.prepend(line);
    shown = each.number;
  }
  while (list.children.length > 30) list.lastElementChild.remove();
  document.getElementById("none-ended").hidden = list.children.length > 0;
}

function item(name, how, bad) {
  const line = document.createElement("li");
  const text = document.createElement("span");
  text.className = bad ? "how bad" : "how";
  text.textContent = how;
  line.append(name, text);
  return line;
}

/** Long names are broken behind a point or a slash. */
function setName(element, text) {
  if (element.textContent === text) return;
  const parts = text.split(/(?<=[./])(?=\w)/);
  element.replaceChildren(...parts.flatMap((part, index) => index ? [document.createElement("wbr"), part] : [part]));
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function say(text, bad = false) {
  news.textContent = text;
  news.classList.toggle("bad", bad);
}
