// Has the page made in each way, and draws the calls of all four on one scale of time. Below, calls the handlers which
// call themselves; to leave is to abort that call.
"use strict";

const WAYS = ["sequential", "parallel", "hedged", "partial"];
const ORDINALS = ["1st", "2nd", "3rd"];

const all = document.getElementById("all");
const news = document.getElementById("news");
const form = document.querySelector("form");
const leave = document.getElementById("leave");
const answer = document.getElementById("answer");

const reports = new Map(); // by way

for (const way of WAYS) {
  const section = sectionOf(way);
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Make the page";
  button.setAttribute("aria-describedby", way);
  button.addEventListener("click", () => make(way));
  section.append(button, document.getElementById("result").content.cloneNode(true));
  section.querySelector(".result").hidden = true;
}
all.addEventListener("click", () => Promise.all(WAYS.map(make)));

/** Have the page made in one way; the others stay as they are, but for the scale. */
async function make(way) {
  const section = sectionOf(way);
  const button = section.querySelector("button");
  if (button.disabled) return;
  const focused = document.activeElement === button;
  say("");
  reports.delete(way);
  section.querySelector(".result").hidden = false;
  section.querySelector("dl").replaceChildren();
  section.querySelector(".calls").replaceChildren();
  const stop = clock(section.querySelector(".took"));
  button.disabled = true;
  try {
    const response = await fetch(`pages/${way}`, { cache: "no-store" });
    if (!response.ok) throw new Error(`${nameOf(way)}: ${await reasonOf(response)}`);
    reports.set(way, await response.json());
  } catch (error) {
    say(error instanceof TypeError ? "The server does not answer." : error.message, true);
    section.querySelector(".result").hidden = true;
  } finally {
    stop();
    button.disabled = false;
    if (focused) button.focus();
  }
  draw();
}

function draw() {
  const scale = Math.max(...[...reports.values()].map((report) => report.took), 0.1);
  for (const [way, report] of reports) {
    const section = sectionOf(way);
    const missing = report.parts.filter((part) => part.text === null).length;
    const there = missing === 0 ? "complete" : `${missing} of ${report.parts.length} parts missing`;
    section.querySelector(".took").textContent = `${report.took.toFixed(2)} s, ${there}`;
    section.querySelector("dl").replaceChildren(...report.parts.flatMap(lineOf));
    section.querySelector(".calls").replaceChildren(...report.calls.map((call) => rowOf(call, scale)));
  }
}

function lineOf(part) {
  const name = element("dt", part.name);
  const text = element("dd", part.text ?? part.why);
  text.classList.toggle("bad", part.text === null);
  return [name, text];
}

function rowOf(call, scale) {
  const row = document.createElement("li");
  const what = row.appendChild(element("span", ""));
  what.className = "what";
  const attempt = call.attempt === 1 ? "" : `, ${ORDINALS[call.attempt - 1]} try`;
  what.append(element("span", `${call.part}${attempt}: ${call.how}`));
  what.appendChild(element("span", `${call.began.toFixed(2)}–${call.ended.toFixed(2)} s`)).className = "when";
  const track = row.appendChild(element("span", ""));
  track.className = "track";
  track.setAttribute("aria-hidden", "true");
  const bar = track.appendChild(element("span", ""));
  bar.className = `bar ${call.how}`;
  bar.style.left = `${(100 * call.began) / scale}%`;
  bar.style.width = `${(100 * (call.ended - call.began)) / scale}%`;
  return row;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { handler, ...query } = Object.fromEntries(new FormData(form)); // `elements.length` is how many there are
  const leaving = new AbortController();
  const abort = () => leaving.abort();
  const call = form.querySelector("button");
  leave.addEventListener("click", abort);
  leave.hidden = false;
  call.disabled = true;
  if (document.activeElement === call) leave.focus();
  answer.classList.remove("bad");
  const stop = clock(answer);
  const began = performance.now();
  let said;
  let bad = true;
  try {
    const response = await fetch(`${handler}?${new URLSearchParams(query)}`, { signal: leaving.signal, cache: "no-store" });
    bad = !response.ok;
    said = bad ? await reasonOf(response) : await response.text();
  } catch (error) {
    said = error.name === "AbortError" ? "You left." : "The server does not answer.";
  }
  stop();
  const took = ((performance.now() - began) / 1000).toFixed(2);
  const counts = await tally();
  answer.textContent = `${said} ${took} s. ${counts}`;
  answer.classList.toggle("bad", bad);
  leave.removeEventListener("click", abort);
  call.disabled = false;
  if (document.activeElement === leave) call.focus();
  leave.hidden = true;
});

/** What the application says of its calls to itself, once those of a client who left are over. */
async function tally() {
  try {
    for (let tries = 0; ; tries++) {
      const { running, most } = await (await fetch("tally", { cache: "no-store" })).json();
      if (running === 0 || tries === 20) return `Under way: ${running}; at most there were ${most}.`;
      await new Promise((done) => setTimeout(done, 50));
    }
  } catch {
    return "";
  }
}

/** Show the seconds that go by, until the function that it returns is called. */
function clock(place) {
  const began = performance.now();
  const show = () => { place.textContent = `${((performance.now() - began) / 1000).toFixed(1)} s`; };
  place.setAttribute("aria-busy", "true");
  const tick = setInterval(show, 100);
  show();
  return () => {
    clearInterval(tick);
    place.removeAttribute("aria-busy");
  };
}

async function reasonOf(response) {
  try {
    const problem = await response.json();
    return problem.errors?.map((each) => `${each.name} ${each.reason}`).join(", ") || problem.detail || problem.title;
  } catch {
    return `status ${response.status}.`;
  }
}

function sectionOf(way) {
  return document.querySelector(`section[data-way="${way}"]`);
}

function nameOf(way) {
  return document.getElementById(way).textContent;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function say(text, bad = false) {
  news.textContent = text;
  news.classList.toggle("bad", bad);
}
