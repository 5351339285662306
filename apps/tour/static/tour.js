// Calls an app from its form and shows what happened: the status, the headers, the body as it arrives, and the time.
// Each call is a scope of its own, too: `Leave` aborts that one and no other.
"use strict";

const KEPT = 4; // results of one form
const LOOKS = 12; // at most, at what became of a call: it may be somebody else's that is not over

for (const form of document.querySelectorAll("form.call")) {
  const curl = form.appendChild(document.createElement("code"));
  curl.className = "curl";
  const results = document.createElement("ol");
  results.className = "results";
  form.after(results);
  const showCurl = () => { curl.textContent = curlOf(targetOf(form)); };
  form.addEventListener("input", showCurl);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    call(form, results);
  });
  showCurl();
}

// The tree of tasks is open where it has a column of its own.
const tree = document.getElementById("tree");
const wide = matchMedia("(min-width: 70rem)");
wide.addEventListener("change", () => { tree.open = wide.matches; });
tree.open = wide.matches;

/** What a form stands for: fields named in `data-path` go there, that of `data-body` is the body, the others the query. */
function targetOf(form) {
  let path = form.dataset.path ?? form.getAttribute("action");
  const query = new URLSearchParams(path.split("?")[1]);
  let body;
  for (const [name, value] of new FormData(form)) {
    const field = `{${name}}`;
    if (name === form.dataset.body) body = value;
    else if (path.includes(field)) path = path.replace(field, () => encodeURIComponent(value));
    else query.append(name, value);
  }
  const method = form.dataset.method ?? form.getAttribute("method")?.toUpperCase() ?? "GET";
  const url = new URL(path, document.baseURI);
  url.search = query.toString();
  return { method, url: url.href, body };
}

function curlOf({ method, url, body }) {
  const flags = method === "GET" ? "-iN" : `-iN -X ${method}`;
  const data = body === undefined ? "" : ` --data-raw '${body.replaceAll("'", "'\\''")}'`;
  return `curl ${flags}${data} '${url.replaceAll("'", "%27")}'`;
}

async function call(form, results) {
  const target = targetOf(form);
  const leaving = new AbortController();
  const began = performance.now();
  const seconds = () => (performance.now() - began) / 1000;
  const shown = newResult(results);
  const line = newTimeline(shown.timeline, seconds);
  const tick = setInterval(() => {
    shown.clock.textContent = `${seconds().toFixed(1)} s`;
    line.draw();
  }, 100);
  shown.leave.addEventListener("click", () => leaving.abort());
  shown.status.textContent = "Waiting";
  try {
    const { url, method, body } = target;
    const response = await fetch(url, { method, body, signal: leaving.signal, cache: "no-store" });
    line.head();
    shown.status.textContent = `${response.status} ${response.statusText}`.trim();
    shown.item.classList.add(response.ok ? "good" : "bad");
    shown.headers.textContent = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    const bytes = await showBody(response, shown.body, seconds, line);
    shown.clock.textContent = `${bytes} bytes in ${seconds().toFixed(2)} s`;
    shown.item.dataset.ended = "returned";
    line.end("all of it");
  } catch (error) {
    const left = error.name === "AbortError";
    shown.item.classList.remove("good");
    shown.item.classList.add("bad");
    shown.status.textContent = left ? "You left" : "The connection was cut";
    shown.clock.textContent = `after ${seconds().toFixed(2)} s`;
    shown.item.dataset.ended = left ? "left" : "cut";
    line.end(left ? "you left" : "it was cut");
  } finally {
    clearInterval(tick);
    // A button that vanishes under the keyboard would throw its user back to the top of the page.
    if (document.activeElement === shown.leave) form.querySelector("button").focus();
    shown.leave.hidden = true;
  }
  await showAfter(form, shown);
}

/** Show each chunk beside the second at which it came; return how many bytes there were. */
async function showBody(response, list, seconds, line) {
  if (response.body === null) return 0;
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return bytes;
    bytes += value.length;
    line.piece();
    const at = list.appendChild(document.createElement("span"));
    at.className = "at";
    at.textContent = `${seconds().toFixed(1)} s`;
    const chunk = list.appendChild(document.createElement("span"));
    chunk.className = "chunk";
    chunk.textContent = decoder.decode(value, { stream: true });
    list.scrollTop = list.scrollHeight;
  }
}

/** A line from the call to its end: waiting, then the answer with a mark for each piece of it; and the same in words. */
function newTimeline(svg, seconds) {
  const shape = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const pieces = [];
  let head = null;
  let end = null;
  const draw = () => {
    const length = Math.max(end ?? seconds(), 0.001);
    const at = (when) => `${(100 * when / length).toFixed(2)}%`;
    svg.replaceChildren(
      shape("rect", { class: "waiting", x: 0, y: 7, height: 4, width: at(head ?? length) }),
      ...(head === null ? [] : [shape("rect", { class: "answer", x: at(head), y: 7, height: 4, width: at(length - head) })]),
      ...pieces.slice(-200).map((when) => shape("circle", { class: "piece", cx: at(when), cy: 9, r: 3 })),
    );
  };
  return {
    draw,
    head() { head = seconds(); draw(); },
    piece() { pieces.push(seconds()); },
    end(how) {
      end = seconds();
      draw();
      const begun = head === null ? "no answer" : `answer from ${head.toFixed(2)} s`;
      const count = pieces.length === 1 ? "1 piece" : `${pieces.length} pieces`;
      svg.setAttribute("aria-label", `${begun}, ${count}; ${how} after ${end.toFixed(2)} s`);
    },
  };
}

/**
 * Ask the app what became of the call, which a client that left cannot know otherwise. It may not be over yet, for an app
 * hears of a client that left after the client does: while the answer is as `data-while` says, it is asked for again.
 */
async function showAfter(form, shown) {
  const path = form.dataset.after;
  if (path === undefined) return;
  const going = form.dataset.while && new RegExp(form.dataset.while);
  const code = document.createElement("code");
  try {
    for (let look = 0; look < LOOKS; look += 1) {
      await new Promise((done) => setTimeout(done, Number(form.dataset.wait ?? 400)));
      const response = await fetch(path, { cache: "no-store" });
      code.textContent = await response.text();
      if (look === 0) shown.after.append(`Then GET ${new URL(path, document.baseURI).pathname} said: `, code);
      if (!going?.test(code.textContent)) return;
    }
  } catch {
    shown.after.textContent = "Then the server could not be reached.";
  }
}

function newResult(results) {
  const item = document.getElementById("result").content.firstElementChild.cloneNode(true);
  results.prepend(item);
  for (const old of [...results.children].slice(KEPT)) if (old.dataset.ended) old.remove();
  const find = (selector) => item.querySelector(selector);
  return {
    item,
    timeline: find(".timeline"), status: find(".status"), clock: find(".clock"), leave: find(".leave"),
    body: find(".body"), headers: find(".headers pre"), after: find(".after"),
  };
}
