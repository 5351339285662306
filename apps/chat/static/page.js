// The page: what a person sees and does. Whatever others have written becomes text and never HTML. The connection is
// wire.js's.
"use strict";

const KEPT = 500; // lines on the page
const STROKE = 3000; // milliseconds between two signs that we type
const STALE = 10_000; // milliseconds that a sign holds: the server drops some of them for who reads slowly
const SETTLED = 500; // milliseconds after which a line is news, which is read out

const get = (id) => document.getElementById(id);
const door = get("door"), inside = get("inside"), log = get("log"), list = log.firstElementChild;
const knock = door.querySelector("form"), composer = inside.querySelector("form"), text = composer.elements.text;

const people = new Map(); // by id: names
const typing = new Map(); // by id: the timer after which we do not believe it any more
const lines = new Map(); // by key: the line on the page
const mine = new Set(); // keys
let wire = null, you = "", stroke = 0, known = false, down = true;

knock.addEventListener("submit", (event) => { event.preventDefault(); enter(); });
composer.addEventListener("submit", (event) => { event.preventDefault(); say(); });
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  composer.requestSubmit();
});
text.addEventListener("input", () => {
  fit();
  if (Date.now() - stroke < STROKE || text.value === "") return;
  stroke = Date.now();
  wire.send({ type: "typing" });
});
get("leave").addEventListener("click", () => leave(""));
get("newer").addEventListener("click", () => { scrollDown(); text.focus(); });
log.addEventListener("scroll", () => {
  down = isDown();
  if (down) get("newer").hidden = true;
});
// A phone's keyboard comes, the text grows: the newest line stays in sight.
new ResizeObserver(() => { if (down) scrollDown(); }).observe(log);
// The browser may keep the page for the way back; who has left it is not in the room meanwhile.
addEventListener("pagehide", () => wire?.pause());
addEventListener("pageshow", (event) => { if (event.persisted) wire?.again(); });

knock.elements.name.value = localStorage.getItem("name") ?? "";
knock.elements.room.value = decodeURIComponent(location.hash.slice(1)) || "lobby";
fetch("rooms").then((answer) => answer.json()).then((rooms) => {
  get("rooms").replaceChildren(...rooms.map(({ name, people }) => new Option(`${name}: ${people}`, name)));
});

function enter() {
  const name = knock.elements.name.value.trim(), room = knock.elements.room.value;
  if (name === "") return;
  localStorage.setItem("name", name);
  history.replaceState(null, "", `#${room}`);
  document.title = `${room} – Chat`;
  inside.querySelector("h1").textContent = room;
  get("people").open = matchMedia("(min-width: 40rem)").matches;
  door.hidden = true;
  inside.hidden = false;
  tellLink("Connecting …");
  wire = new Wire(room, name, { welcome, said, refused, came, went, here, gap, types, away, over: leave });
  text.focus();
}

function leave(why) {
  wire.close();
  wire = null;
  known = false;
  for (const each of [people, lines, mine]) each.clear();
  for (const id of typing.keys()) types({ id, on: false });
  list.replaceChildren();
  complain("");
  document.title = "Chat";
  inside.hidden = true;
  door.hidden = false;
  get("turned-away").textContent = why && `You had to leave: ${why}.`;
  knock.elements.room.focus();
}

// ---- what the wire tells

function welcome(message) {
  you = message.you;
  text.maxLength = message.longest;
  here(message);
  tellLink(`You are here as ${isolated(wire.name)}.`);
  if (known && message.gap) gap();
  known = true;
  // What was said before we came is there to be read, and need not be read out.
  log.ariaBusy = "true";
  setTimeout(() => { log.ariaBusy = "false"; }, SETTLED);
}

function away(reason) {
  tellLink(reason ? `Not connected: ${reason}` : "Not connected; trying again …", true);
}

function said({ line }) {
  types({ id: line.by, on: false });
  const before = lines.get(line.key);
  if (before !== undefined && !before.classList.contains("waits")) return; // from before the server was started again
  before?.remove();
  show(line);
}

function refused({ key, reason }) {
  const line = lines.get(key);
  if (line !== undefined) {
    if (text.value === "") text.value = line.querySelector(".text").textContent;
    line.remove();
    lines.delete(key);
    fit();
  }
  complain(`Not sent. ${reason}`);
}

function came({ id, person }) {
  people.set(id, person.name);
  showPeople();
  remark(`${isolated(person.name)} has come.`);
}

function went({ id }) {
  types({ id, on: false });
  remark(`${isolated(people.get(id))} has gone.`);
  people.delete(id);
  showPeople();
}

function here(message) {
  people.clear();
  for (const { id, person } of message.people) people.set(id, person.name);
  for (const id of typing.keys()) types({ id, on: false });
  showPeople();
}

function gap() {
  remark("Something may be missing here.");
}

function types({ id, on }) {
  clearTimeout(typing.get(id));
  if (on && id !== you) typing.set(id, setTimeout(() => types({ id, on: false }), STALE));
  else typing.delete(id);
  const names = [...typing.keys()].map((each) => isolated(people.get(each)));
  get("typing").textContent = ["", `${names[0]} is typing …`, `${names.join(" and ")} are typing …`][names.length]
    ?? "Several people are typing …";
}

// ---- what is seen

function say() {
  const said = text.value.trim();
  complain(said === "" ? "There is nothing to send." : "");
  if (said !== "") {
    const key = wire.say(said);
    mine.add(key);
    show({ key, name: wire.name, text: said, at: new Date().toISOString() }, true);
    scrollDown();
    text.value = "";
    stroke = 0;
    fit();
  }
  text.focus();
}

function show(line, waits = false) {
  const item = get("line").content.firstElementChild.cloneNode(true);
  const at = new Date(line.at), time = item.querySelector("time");
  item.querySelector(".name").textContent = line.name;
  item.querySelector(".text").textContent = line.text;
  time.dateTime = line.at;
  time.textContent = waits ? "not sent yet" : at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  time.title = at.toLocaleString();
  item.classList.toggle("mine", mine.has(line.key));
  item.classList.toggle("waits", waits);
  lines.set(line.key, item);
  item.dataset.key = line.key;
  append(item);
}

function remark(said) {
  const item = get("remark").content.firstElementChild.cloneNode(true);
  item.textContent = said;
  append(item);
}

function append(item) {
  list.append(item);
  if (list.childElementCount > KEPT) {
    lines.delete(list.firstElementChild.dataset.key);
    list.firstElementChild.remove();
  }
  if (down) scrollDown();
  else get("newer").hidden = false;
}

function showPeople() {
  const names = [...people.values()].sort((one, other) => one.localeCompare(other, [], { numeric: true }));
  get("people").querySelector("summary").textContent = names.length === 1 ? "Only you" : `${names.length} people`;
  get("people").querySelector("ul").replaceChildren(...names.map((name) => {
    const item = document.createElement("li");
    item.append(document.createElement("bdi"));
    item.firstElementChild.textContent = name;
    return item;
  }));
}

/** A name inside of a sentence, written from left to right or from right to left: as <bdi> does. */
function isolated(name) {
  return `\u2068${name}\u2069`;
}

function tellLink(said, bad = false) {
  get("link").textContent = said;
  get("link").classList.toggle("bad", bad);
}

function complain(said) {
  get("news").textContent = said;
}

function fit() {
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + 2}px`;
}

function isDown() {
  return log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
}

function scrollDown() {
  log.scrollTop = log.scrollHeight;
  get("newer").hidden = true;
}
