// The page of the notes service. It owns what is shown; what is true is the service's, so that whatever is refused is
// said in the service's words.
"use strict";

const $ = (id) => document.getElementById(id);

// For the tab and as long as it is open. A script could read it here, which is why the page runs no script but this one
// and puts what people have written into the document as text only.
const session = {
  get token() { return sessionStorage.getItem("notes.token"); },
  get name() { return sessionStorage.getItem("notes.name"); },
  begin(token, name) { sessionStorage.setItem("notes.token", token); sessionStorage.setItem("notes.name", name); },
  end() { sessionStorage.removeItem("notes.token"); sessionStorage.removeItem("notes.name"); },
};

class Problem extends Error {
  constructor(status, body) {
    const faults = (body.errors ?? []).map((fault) => `${fault.name.replace("/", "")}: ${fault.reason}`);
    super([body.detail || body.title, ...faults].join(" "));
    this.status = status;
  }
}

// Addresses are relative, so that the service can be mounted anywhere.
async function call(method, path, { json, form, version } = {}) {
  const headers = {};
  if (session.token) headers.authorization = `Bearer ${session.token}`;
  if (version !== undefined) headers["if-match"] = `"${version}"`;
  if (json !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: json === undefined ? form : JSON.stringify(json) });
  } catch {
    throw new Problem(0, { detail: "The service cannot be reached." });
  }
  const text = await response.text();
  if (response.ok) return text ? JSON.parse(text) : null;
  let body = { detail: `The service answered ${response.status}.` };
  try { body = JSON.parse(text); } catch { /* not ours: a proxy's page, say */ }
  throw new Problem(response.status, body);
}

function say(text, bad = false) {
  const message = $("message");
  message.textContent = text;
  message.classList.toggle("bad", bad);
  message.hidden = !text;
}

// What a button or a form does: one at a time, and whatever goes wrong is said.
function doing(work) {
  let busy = false;
  return async (event) => {
    event?.preventDefault();
    if (busy) return;
    busy = true;
    say("");
    try {
      await work(event);
    } catch (error) {
      if (error.status === 401 && session.token) {
        session.end();
        show();
      }
      say(error.message, true);
      if (!(error instanceof Problem)) throw error;
    } finally {
      busy = false;
    }
  };
}

const draft = (form) => ({
  title: form.elements.title.value,
  text: form.elements.text.value,
  tags: form.elements.tags.value.split(/\s+/).filter(Boolean),
});

function show() {
  const inside = Boolean(session.token);
  $("door").hidden = inside;
  $("desk").hidden = $("account").hidden = !inside;
  $("who").textContent = session.name ?? "";
  if (!inside) $("notes").replaceChildren();
}

// ---- the list

let next = null;
let asked = 0;
let searched = false; // for some of them only

function sayIfEmpty(sought) {
  searched = sought;
  $("empty").textContent = searched ? "There is no such note." : "No notes yet.";
  $("empty").hidden = $("notes").children.length > 0;
}

async function list({ further = false } = {}) {
  const number = ++asked;
  const query = new URLSearchParams();
  for (const name of ["q", "tag"]) {
    const value = $("search").elements[name].value.trim();
    if (value) query.set(name, value);
  }
  const sought = query.size > 0;
  if (further) query.set("before", next);
  const page = await call("GET", `notes?${query}`);
  if (number !== asked) return; // another one has been asked for meanwhile
  const items = page.notes.map(item);
  if (further) $("notes").append(...items);
  else $("notes").replaceChildren(...items);
  next = page.next;
  $("more").hidden = next === null;
  sayIfEmpty(sought);
  if (further) items[0]?.querySelector("button").focus();
}

function item(note) {
  const li = document.createElement("li");
  view(li, note);
  return li;
}

function view(li, note) {
  const article = $("view").content.cloneNode(true).firstElementChild;
  const part = (name) => article.querySelector(name);
  part("h3").textContent = note.title;
  part(".text").textContent = note.text;
  part(".text").hidden = !note.text;
  part("time").dateTime = note.changed;
  part("time").textContent = new Date(note.changed).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const tag of note.tags) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: tag, className: "quiet" });
    button.setAttribute("aria-label", `notes tagged ${tag}`);
    button.onclick = doing(() => {
      $("search").elements.tag.value = tag;
      return list();
    });
    part(".tags").append(button);
  }
  part(".tags").hidden = note.tags.length === 0;
  part(".edit").setAttribute("aria-label", `Edit ${note.title}`);
  part(".edit").onclick = () => edit(li, note);
  const remove = part(".delete");
  remove.setAttribute("aria-label", `Delete ${note.title}`);
  remove.onclick = doing(async () => {
    if (!remove.dataset.sure) {
      remove.dataset.sure = "yes";
      remove.textContent = "Really delete?";
      remove.setAttribute("aria-label", `Really delete ${note.title}?`);
      return;
    }
    try {
      await call("DELETE", `notes/${note.id}`, { version: note.version });
    } catch (error) {
      await changedMeanwhile(error, li, note);
    }
    li.remove();
    sayIfEmpty(searched);
    say("Deleted.");
    $("notes-title").focus();
  });
  remove.onblur = () => {
    delete remove.dataset.sure;
    remove.textContent = "Delete";
    remove.setAttribute("aria-label", `Delete ${note.title}`);
  };
  li.replaceChildren(article);
}

function edit(li, note, written = note) {
  const form = $("editor").content.cloneNode(true).firstElementChild;
  form.elements.title.value = written.title;
  form.elements.text.value = written.text;
  form.elements.tags.value = written.tags.join(" ");
  const back = (to) => {
    view(li, to);
    li.querySelector(".edit").focus();
  };
  form.querySelector(".cancel").onclick = () => back(note);
  form.onsubmit = doing(async () => {
    const wanted = draft(form);
    try {
      back(await call("PUT", `notes/${note.id}`, { json: wanted, version: note.version }));
    } catch (error) {
      await changedMeanwhile(error, li, note, (current) => edit(li, current, wanted));
    }
    say("Saved.");
  });
  li.replaceChildren(form);
  form.elements.title.focus();
}

// Somebody else was faster (412): what there is now is shown, and what was written here is not lost.
async function changedMeanwhile(error, li, note, then = () => {}) {
  if (error.status !== 412) throw error;
  const current = await call("GET", `notes/${note.id}`);
  view(li, current);
  then(current);
  throw new Problem(412, {
    detail: `Somebody has changed this note meanwhile. It now says "${current.title}": ${current.text || "(no text)"}`,
  });
}

// ---- what the page does

$("sign-in").onsubmit = doing(async (event) => {
  const form = event.target;
  const name = form.elements.name.value;
  const password = form.elements.password.value;
  if (event.submitter?.value === "register") await call("POST", "users", { json: { name, password } });
  const given = new URLSearchParams({ grant_type: "password", username: name, password });
  session.begin((await call("POST", "token", { form: given })).access_token, name);
  form.reset();
  show();
  await list();
  $("new").elements.title.focus();
});

$("sign-out").onclick = doing(async () => {
  await call("DELETE", "token");
  session.end();
  show();
  say("Signed out.");
  $("sign-in").elements.name.focus();
});

$("new").onsubmit = doing(async () => {
  await call("POST", "notes", { json: draft($("new")) });
  $("new").reset();
  $("search").reset();
  await list();
  say("Added.");
  $("new").elements.title.focus();
});

$("search").onsubmit = doing(() => list());
$("more").onclick = doing(() => list({ further: true }));

show();
if (session.token) doing(() => list())();
