// Shows keys and channels, as one event stream tells of them; a channel that is listened to has a stream of its own.
"use strict";

const RETRY = 2000; // milliseconds until a stream is opened again that the browser has given up
const KEPT = 50; // messages

const get = (id) => document.getElementById(id);
let away = false; // the server
let stream = null; // of the keys
let retry; // the timer after which it is opened again
let channel = ""; // that is listened to
let heard = null; // its stream

get("set").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { key, value, ttl } = event.target.elements;
  const query = ttl.value ? `?ttl=${encodeURIComponent(ttl.value)}` : "";
  const answer = await ask(`keys/${encodeURIComponent(key.value)}${query}`, { method: "PUT", body: value.value });
  if (answer) say(answer.ok ? `${key.value} is set.` : `Not set: status ${answer.status}.`, !answer.ok);
});

get("hear").addEventListener("submit", (event) => {
  event.preventDefault();
  heard?.close();
  hear(event.target.elements.channel.value);
});
// A page that is kept for the way back would keep requests that nobody reads.
addEventListener("pagehide", () => {
  clearTimeout(retry);
  stream.close();
  heard?.close();
});
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  follow();
  if (heard) hear(channel);
});
follow();
setInterval(tick, 1000);

function hear(name) {
  channel = name;
  heard = new EventSource(`channels/${encodeURIComponent(channel)}/events`);
  heard.addEventListener("subscribed", () => say(`Listening to ${channel}.`));
  heard.addEventListener("message", ({ data }) => {
    const line = document.createElement("li");
    line.textContent = JSON.parse(data).data;
    get("messages").prepend(line);
    get("messages").children[KEPT]?.remove();
  });
}

function follow() {
  stream = new EventSource("events");
  stream.addEventListener("message", ({ data }) => {
    show(JSON.parse(data));
    if (away) say("The server is back.");
    away = false;
  });
  stream.addEventListener("error", () => {
    if (!away) say("The server is away; this page looks for it.", true);
    away = true;
    if (stream.readyState === EventSource.CLOSED) retry = setTimeout(follow, RETRY);
  });
}

function show({ total, keys, channels, clients, port, slow }) {
  for (const [id, text] of Object.entries({ total: `(${total})`, clients, port, slow })) get(id).textContent = text;
  const lines = new Map([...get("keys").children].map((line) => [line.dataset.key, line]));
  for (const each of keys) {
    const id = each.path ?? `no path: ${each.key}`; // bytes may look like another key's text
    const line = lines.get(id) ?? newLine(id, each);
    lines.delete(id);
    line.children[1].firstChild.textContent = each.value + (each.size > 200 ? "…" : "");
    line.children[2].dataset.until = each.until ?? "";
  }
  for (const line of lines.values()) line.remove();
  get("more").hidden = total <= keys.length;
  get("channels").replaceChildren(...Object.entries(channels).map(([name, count]) => {
    const line = document.createElement("li");
    line.textContent = `${name}: ${count} subscribed`;
    return line;
  }));
  tick();
}

function newLine(id, { key, path }) {
  const line = get("keys").insertRow();
  line.dataset.key = id;
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = key;
  line.append(name);
  line.insertCell().append(document.createElement("div"));
  line.children[1].firstChild.className = "value";
  line.insertCell();
  if (path === null) {
    line.insertCell().textContent = "over RESP only";
    return line;
  }
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Delete";
  button.setAttribute("aria-label", `Delete ${key}`);
  button.addEventListener("click", async () => {
    const answer = await ask(`keys/${path}`, { method: "DELETE" });
    if (answer?.ok) say(`${key} is deleted.`);
    else if (answer?.status === 404) say(`${key} was gone.`);
    else if (answer) say(`Not deleted: status ${answer.status}.`, true);
    get("key").focus();
  });
  line.insertCell().append(button);
  return line;
}

/** How long each key has, once a second: the server says when it ends, not each second that it has less. */
function tick() {
  for (const cell of document.querySelectorAll("[data-until]")) {
    const { until } = cell.dataset;
    cell.textContent = until ? `in ${span(Math.max(0, Math.ceil((until - Date.now()) / 1000)))}` : "never";
  }
}

/** So many seconds in at most three digits, or four, and one unit: the column is as narrow as a phone makes it. */
function span(seconds) {
  for (const [unit, size] of [["y", 31536000], ["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${seconds} s`;
}

async function ask(url, options) {
  try {
    return await fetch(url, options);
  } catch {
    say("The server does not answer.", true);
    return null;
  }
}

function say(text, bad = false) {
  get("news").textContent = text;
  get("news").classList.toggle("bad", bad);
}
