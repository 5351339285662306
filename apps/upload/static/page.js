// Uploads each chosen file by a PUT under an id of its own, shows what the server has of it, and lists what is there.
// Without it the form does the same in one request, and shows nothing meanwhile.
"use strict";

const POLL = 500; // milliseconds between two questions of how far it is

const form = document.querySelector("form");
const news = document.getElementById("news");
const arriving = document.getElementById("arriving");
const complete = document.getElementById("complete");
const empty = document.querySelector(".empty");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const files = [...form.elements.files.files];
  say("");
  form.reset();
  await Promise.all(files.map(upload));
});
show();

/** One file, and its line on the page, from start to end. */
async function upload(file) {
  const id = newId();
  const url = `uploads/${id}`;
  const line = fromTemplate("coming");
  const find = (selector) => line.querySelector(selector);
  find(".name").textContent = file.name;
  find("progress").setAttribute("aria-label", file.name);
  find("button").setAttribute("aria-label", `Stop ${file.name}`);
  arriving.querySelector("ul").append(line);
  arriving.hidden = false;

  const request = new XMLHttpRequest(); // fetch does not tell how much of a body has been sent
  let sent = 0;
  let received = 0;
  const tell = () => {
    find("progress").value = file.size ? received / file.size : 1;
    find(".state").textContent = `${sizeOf(received)} of ${sizeOf(file.size)} received, ${sizeOf(sent)} sent`;
  };
  tell();
  request.upload.addEventListener("progress", (event) => { sent = event.loaded; tell(); });
  find(".leave").addEventListener("click", () => request.abort());
  const poll = setInterval(async () => {
    try {
      const answer = await fetch(url, { cache: "no-store" });
      if (answer.ok) received = (await answer.json()).received ?? file.size;
      tell();
    } catch { /* the upload itself tells when the server is gone */ }
  }, POLL);
  const how = await new Promise((done) => {
    for (const kind of ["load", "error", "abort"]) request.addEventListener(kind, () => done(kind));
    request.open("PUT", `${url}?name=${encodeURIComponent(file.name)}`);
    request.send(file);
  });
  clearInterval(poll);
  if (line.contains(document.activeElement)) form.elements.files.focus();
  line.remove();
  arriving.hidden = arriving.querySelector("li") === null;
  if (how === "load" && request.status === 201) say(`${file.name} is here.`);
  else if (how === "load") say(`${file.name} was refused: ${reasonOf(request)}`, true);
  else if (how === "abort") say(`${file.name} was stopped.`, true);
  else say(`${file.name}: the connection was cut.`, true);
  await show();
}

/** List what is there. */
async function show() {
  const answer = await fetch("uploads", { cache: "no-store" });
  const lines = (await answer.json()).filter((each) => each.state === "complete").map(lineOf);
  complete.replaceChildren(...lines);
  empty.hidden = lines.length > 0;
}

function lineOf(each) {
  const line = fromTemplate("there");
  const find = (selector) => line.querySelector(selector);
  find(".name").textContent = each.name;
  find(".name").href = `uploads/${each.id}/content`;
  find(".state").textContent = `${sizeOf(each.size)}, ${new Date(each.created).toLocaleString()}`;
  find("code").textContent = each.sha256;
  find(".remove").setAttribute("aria-label", `Remove ${each.name}`);
  find(".remove").addEventListener("click", async () => {
    const answer = await fetch(`uploads/${each.id}`, { method: "DELETE" });
    say(answer.ok ? `${each.name} is removed.` : `${each.name} is not there any more.`);
    await show();
    form.elements.files.focus();
  });
  return line;
}

function say(text, bad = false) {
  news.textContent = text;
  news.classList.toggle("bad", bad);
}

function reasonOf(request) {
  try {
    const problem = JSON.parse(request.responseText);
    return problem.detail ?? problem.title;
  } catch {
    return `status ${request.status}.`;
  }
}

/** Not crypto.randomUUID(), which pages without TLS do not have. */
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((each) => each.toString(16).padStart(2, "0")).join("");
}

function sizeOf(bytes) {
  for (const unit of ["bytes", "KiB", "MiB"]) {
    if (bytes < 1024) return `${unit === "bytes" ? bytes : bytes.toFixed(1)} ${unit}`;
    bytes /= 1024;
  }
  return `${bytes.toFixed(1)} GiB`;
}

function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}
