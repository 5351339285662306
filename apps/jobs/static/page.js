// Shows all jobs, as one event stream tells of them. What is started here is watched here, by a stream of its own: the
// job runs in that request, and ends with it.
"use strict";

const RETRY = 2000; // milliseconds until a stream is opened again that the browser has given up

const WHY = {
  cancelled: "cancelled",
  left: "its page was closed",
  deadline: "its time was up",
  shutdown: "the server was stopped",
  unwatched: "nobody came to watch it",
};

const form = document.querySelector("form");
const news = document.getElementById("news");
const list = document.querySelector("ul");
const empty = document.querySelector(".empty");
const number = new Intl.NumberFormat();

const lines = new Map(); // by the job's id: its line on the page, and the job as it was last seen
const watched = new Map(); // by the job's id: the stream in which it runs

let stream = null; // of all jobs
let retry; // the timer after which it is opened again
let away = false; // the server
let before = []; // of which it knew when it went; whatever else a list lacks was started after that list was written

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  say("");
  const order = { below: form.elements.below.valueAsNumber, detached: form.elements.detached.checked };
  const answer = await ask("jobs", {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(order),
  });
  if (answer?.ok) {
    const job = await answer.json();
    show(job);
    if (!job.detached) watch(job.id);
  } else if (answer) say(`Not started: ${await reasonOf(answer)}`, true);
});
// A page that is kept for the way back would keep its jobs running, and a request that nobody reads.
addEventListener("pagehide", () => {
  clearTimeout(retry);
  stream.close();
  for (const id of watched.keys()) forget(id);
  before = [...lines.keys()];
});
addEventListener("pageshow", (event) => { if (event.persisted) follow(); });
follow();

/** All jobs, whoever has started them, for as long as the page is there. */
function follow() {
  stream = new EventSource("events");
  stream.addEventListener("all", (event) => {
    const jobs = JSON.parse(event.data);
    const there = new Set(jobs.map((job) => job.id));
    for (const id of before) if (!there.has(id)) vanished(lines.get(id).job);
    before = [];
    jobs.reverse().forEach(show);
    empty.hidden = lines.size > 0;
    if (away) say("The server is back.");
    away = false;
  });
  stream.addEventListener("job", (event) => show(JSON.parse(event.data)));
  stream.addEventListener("error", () => {
    if (!away) say("The server is away; this page looks for it.", true);
    away = true;
    before = [...lines.keys()];
    if (stream.readyState === EventSource.CLOSED) retry = setTimeout(follow, RETRY);
  });
}

/** One job of ours: it runs while this stream is open. */
function watch(id) {
  const source = new EventSource(`jobs/${encodeURIComponent(id)}/events`);
  watched.set(id, source);
  source.addEventListener("message", (event) => {
    const job = JSON.parse(event.data);
    show(job);
    if (isOver(job)) forget(id);
  });
  source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) forget(id); });
}

function forget(id) {
  watched.get(id)?.close();
  watched.delete(id);
}

/** A server that was started again knows nothing of it, nor one that has done much else while this page was left. */
function vanished(job) {
  forget(job.id);
  if (isOver(job) || !away) {
    lines.get(job.id).line.remove();
    lines.delete(job.id);
  } else show({ ...job, state: "stopped", why: "shutdown" });
}

function show(job) {
  const known = lines.get(job.id);
  if (known && isOver(known.job)) return; // the other of two streams was slower
  const line = known?.line ?? newLine(job);
  lines.set(job.id, { line, job });
  line.querySelector("progress").value = job.progress;
  line.querySelector(".state").textContent = textOf(job);
  line.classList.toggle("running", job.state === "running");
  if (isOver(job)) {
    const button = line.querySelector("button");
    if (document.activeElement === button) form.elements.below.focus();
    button.remove();
    if (known) say(`${nameOf(job)}: ${textOf(job)}`, job.state !== "done");
  }
  empty.hidden = true;
}

function newLine(job) {
  const line = document.getElementById("job").content.firstElementChild.cloneNode(true);
  line.dataset.id = job.id;
  line.querySelector(".name").textContent = nameOf(job);
  line.querySelector("progress").setAttribute("aria-label", nameOf(job));
  const button = line.querySelector("button");
  button.setAttribute("aria-label", `Cancel: ${nameOf(job)}`);
  button.addEventListener("click", async () => {
    const answer = await ask(`jobs/${encodeURIComponent(job.id)}`, { method: "DELETE" });
    if (answer?.ok) show(await answer.json());
    else if (answer) say(`Not cancelled: ${await reasonOf(answer)}`, true);
  });
  list.prepend(line);
  return line;
}

function nameOf(job) {
  return `Primes below ${number.format(job.below)}${job.detached ? ", detached" : ""}`;
}

function textOf(job) {
  const found = `${number.format(job.found)} found`;
  switch (job.state) {
    case "waiting": return "Waiting";
    case "running": return `${Math.floor(job.progress * 100)} %, ${found}`;
    case "done": return `There are ${number.format(job.found)}.`;
    case "stopped": return `Stopped, ${WHY[job.why]}: ${Math.floor(job.progress * 100)} %, ${found}`;
    default: return "Failed";
  }
}

function isOver(job) {
  return job.state !== "waiting" && job.state !== "running";
}

async function ask(url, options) {
  try {
    return await fetch(url, options);
  } catch {
    say("The server does not answer.", true);
    return null;
  }
}

async function reasonOf(answer) {
  try {
    const problem = await answer.json();
    return problem.detail || problem.title;
  } catch {
    return `status ${answer.status}.`;
  }
}

function say(text, bad = false) {
  news.textContent = text;
  news.classList.toggle("bad", bad);
}
