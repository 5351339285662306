// The connection to a room: opened, kept, opened again. It knows what is sent and got, and nothing of the page.
"use strict";

const FIRST = 500, MOST = 30_000; // milliseconds before it is tried again: at first, and at most
const REFUSED = 1008; // the server does not want us back

/** A room, for as long as its page is there. `tell` is an object of functions, one for each message of the server's
 *  (welcome, said, came, ...), and `away(reason)` and `over(reason)`. */
class Wire {
  constructor(room, name, tell) {
    this.room = room;
    this.name = name;
    this.tell = tell;
    this.last = null; // id of the newest message that we have
    this.outbox = new Map(); // by key: texts that were not said yet
    this.socket = null;
    this.attempts = 0; // that have failed in a row
    this.every = 20_000; // milliseconds between the server's signs of life; it says so itself
    this.again = () => { if (this.socket === null) this.open(); };
    addEventListener("online", this.again);
    this.open();
  }

  open() {
    clearTimeout(this.retry);
    const url = new URL(`rooms/${this.room}`, document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("name", this.name);
    if (this.last !== null) url.searchParams.set("after", this.last);
    const socket = this.socket = new WebSocket(url);
    this.listenFor(MOST);
    socket.addEventListener("message", (event) => { if (socket === this.socket) this.take(JSON.parse(event.data)); });
    socket.addEventListener("close", (event) => { if (socket === this.socket) this.lost(event); });
  }

  take(message) {
    if (message.type === "welcome") {
      this.attempts = 0;
      this.every = 1000 * message.every;
      // Before what was said meanwhile has come: the server knows by its key what it has already.
      for (const [key, text] of this.outbox) this.send({ type: "say", key, text });
    }
    this.listenFor(2.5 * this.every);
    if (message.type === "beat") this.send({ type: "beat" });
    else {
      if (message.type === "said") {
        this.last = message.id ?? this.last;
        this.outbox.delete(message.line.key);
      } else if (message.type === "refused") this.outbox.delete(message.key);
      this.tell[message.type](message);
    }
  }

  /** A phone that has left its network is told nothing: silence has to do. The server sends a beat each so often, as
   *  the timers of a page that is not looked at are late. */
  listenFor(milliseconds) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => {
      const socket = this.socket;
      this.lost({ code: 1006, reason: "" });
      socket.close();
    }, milliseconds);
  }

  lost({ code, reason }) {
    clearTimeout(this.silence);
    this.socket = null;
    if (code === REFUSED) {
      this.close();
      this.tell.over(reason);
      return;
    }
    this.tell.away(reason);
    // All pages lose their server in the same moment: without chance they would all be back in the same moment, too.
    const step = Math.min(MOST, FIRST * 2 ** this.attempts);
    this.attempts += 1;
    this.retry = setTimeout(this.again, step * (0.5 + Math.random()));
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** Say something, now or as soon as the server is back; returns its key. */
  say(text) {
    const key = newKey();
    this.outbox.set(key, text);
    this.send({ type: "say", key, text });
    return key;
  }

  /** Leave the room, for good. */
  close() {
    removeEventListener("online", this.again);
    this.pause();
  }

  /** Leave it until `again()`. */
  pause() {
    clearTimeout(this.retry);
    clearTimeout(this.silence);
    const socket = this.socket;
    this.socket = null;
    socket?.close(1000);
  }
}

/** Not crypto.randomUUID(), which pages without TLS do not have. */
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((each) => each.toString(16).padStart(2, "0")).join("");
}
