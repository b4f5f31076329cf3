"use strict";
// Checks in this browser that the entries on the page are in the log: from tiles, checkpoint and a public key, by
// RFC 6962 and C2SP's tlog-tiles, tlog-checkpoint and signed-note. Nothing that the server says of an entry counts, and
// each step is shown. The page works without this file: then the proofs are downloaded and checked elsewhere.

const WIDTH = 256; // hashes in a full tile
const HASH = 32; // bytes
const PINNED = "transom.pinned"; // the key that the person at this browser was given
const SEEN = "transom.seen:"; // and, by key, the largest checkpoint that this browser has verified

class Wrong extends Error {}

function need(holds, what) {
  if (!holds) throw new Wrong(what);
}

// Bytes.

const utf8 = new TextEncoder();

function join(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}

const same = (a, b) => a.length === b.length && a.every((byte, place) => byte === b[place]);
const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));
const toHex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

function fromBase64(text, what) {
  let bytes = new Uint8Array();
  try {
    bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    // said below
  }
  need(text !== "" && toBase64(bytes) === text, `${what} is not base64`);
  return bytes;
}

const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", join(...parts)));
const leafHash = (entry) => sha256(Uint8Array.of(0), entry);
const nodeHash = (left, right) => sha256(Uint8Array.of(1), left, right);

// Keys and notes.

async function readKey(text) {
  const [, name, id, encoded] = text.trim().match(/^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/) ?? [];
  need(encoded !== undefined, "This is no verifier key: a name, 8 hexadecimal digits and base64, with + between.");
  const key = fromBase64(encoded, "The verifier key");
  need(key.length === HASH + 1 && key[0] === 1, "This is no Ed25519 verifier key.");
  const digest = await sha256(utf8.encode(`${name}\n`), key);
  need(toHex(digest.slice(0, 4)) === id, "The verifier key is damaged: its id is not that of the key.");
  return { text: text.trim(), name, id, bytes: key.slice(1) };
}

async function verifies(key, signature, text) {
  let known;
  try {
    known = await crypto.subtle.importKey("raw", key.bytes, { name: "Ed25519" }, false, ["verify"]);
  } catch {
    return null; // this browser does not know Ed25519
  }
  return crypto.subtle.verify({ name: "Ed25519" }, known, signature, utf8.encode(text));
}

// Gives a note's checkpoint, and whether the key's signature was checked; a wrong one is fatal, others' do not count.
async function openCheckpoint(bytes, key) {
  const note = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  const end = note.lastIndexOf("\n\n");
  need(end > 0 && note.endsWith("\n"), "The checkpoint is no signed note.");
  const text = note.slice(0, end + 1);
  let checked = false;
  for (const line of note.slice(end + 2, -1).split("\n")) {
    const [dash, name, encoded, more] = line.split(" ");
    need(dash === "—" && name && encoded && more === undefined, "The checkpoint is no signed note.");
    const signature = fromBase64(encoded, "A signature");
    if (name !== key.name || toHex(signature.slice(0, 4)) !== key.id) continue;
    checked = await verifies(key, signature.slice(4), text);
    need(checked !== false, "The signature on the checkpoint is wrong.");
  }
  need(checked !== false, "The checkpoint is not signed by this key.");
  const [origin, size, root, last, more] = text.split("\n");
  need(last === "" && more === undefined, "The checkpoint has not three lines.");
  need(origin === key.name, "The checkpoint is another log's.");
  need(/^(0|[1-9][0-9]{0,15})$/.test(size), "The checkpoint's size is no number.");
  const hash = fromBase64(root, "The checkpoint's root");
  need(hash.length === HASH, "The checkpoint's root is no hash.");
  return { origin, size: Number(size), root: hash, checked };
}

// Tiles. Sizes go beyond 32 bits: no bit operators on them.

function split(count) {
  let half = 1;
  while (half * 2 < count) half *= 2;
  return half;
}

function tilePath(level, index, width) {
  const digits = String(index);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/.{3}/g);
  const number = groups.map((group, place) => (place < groups.length - 1 ? `x${group}` : group)).join("/");
  return `tile/${level}/${number}${width === WIDTH ? "" : `.p/${width}`}`;
}

class Tiles {
  constructor(fetchPath, size) {
    this.fetchPath = fetchPath;
    this.size = size;
    this.read = new Map();
  }

  // Gives a tile at this size, or the full one that may have taken its place.
  tile(level, index) {
    const name = `${level}/${index}`;
    if (!this.read.has(name)) this.read.set(name, this.fetchTile(level, index));
    return this.read.get(name);
  }

  async fetchTile(level, index) {
    const hashes = level === "entries" ? this.size : Math.floor(this.size / WIDTH ** level);
    const width = Math.min(WIDTH, hashes - index * WIDTH);
    for (const each of new Set([width, WIDTH])) {
      const bytes = await this.fetchPath(tilePath(level, index, each));
      if (bytes !== null) return { bytes, width: each };
    }
    throw new Wrong(`The log does not serve ${tilePath(level, index, width)}.`);
  }

  async hashes(level, index) {
    const { bytes, width } = await this.tile(level, index);
    need(bytes.length === width * HASH, `The tile ${tilePath(level, index, width)} has not its length.`);
    return bytes;
  }

  // Gives an entry; all of its bundle must be what the tile of leaves says.
  async entry(index) {
    const bundle = Math.floor(index / WIDTH);
    const { bytes, width } = await this.tile("entries", bundle);
    const leaves = await this.hashes(0, bundle);
    let place = 0;
    let found = null;
    for (let number = 0; number < width; number += 1) {
      need(place + 2 <= bytes.length, "The bundle of entries has not its length.");
      const end = place + 2 + bytes[place] * 256 + bytes[place + 1];
      const entry = bytes.slice(place + 2, end);
      const leaf = leaves.slice(number * HASH, (number + 1) * HASH); // none where the bundle alone is full by now
      need(leaf.length === 0 || same(await leafHash(entry), leaf), "The bundle holds an entry that its tile does not.");
      if (number === index % WIDTH) found = entry;
      place = end;
    }
    need(place === bytes.length, "The bundle of entries has not its length.");
    return found;
  }

  // The root over 2^height leaves, the index-th such.
  async subtree(height, index) {
    const level = Math.floor(height / 8);
    let count = 2 ** (height % 8);
    const start = index * count;
    const tile = await this.hashes(level, Math.floor(start / WIDTH));
    let row = [];
    for (let place = start % WIDTH; row.length < count; place += 1) {
      row.push(tile.slice(place * HASH, (place + 1) * HASH));
      need(row.at(-1).length === HASH, "A tile is too short.");
    }
    for (; count > 1; count /= 2) {
      const above = [];
      for (let place = 0; place < count; place += 2) above.push(await nodeHash(row[place], row[place + 1]));
      row = above;
    }
    return row[0];
  }

  // RFC 6962's MTH over the leaves from `start` to before `end`.
  async root(start, end) {
    const count = end - start;
    const half = count === 1 ? 1 : split(count);
    if (count === 1 || half * 2 === count) return this.subtree(Math.log2(count), start / count);
    return nodeHash(await this.root(start, start + half), await this.root(start + half, end));
  }

  // The inclusion path of a leaf, its sibling first (RFC 6962 section 2.1.1).
  async path(index, start = 0, end = this.size) {
    if (end - start === 1) return [];
    const middle = start + split(end - start);
    if (index < middle) return [...(await this.path(index, start, middle)), await this.root(middle, end)];
    return [...(await this.path(index, middle, end)), await this.root(start, middle)];
  }

  // The roots of the tree as it was at size `old`, and as it is, out of the same hashes: a consistency proof's work.
  async grown(old, start = 0, end = this.size) {
    if (end <= old) {
      const whole = await this.root(start, end);
      return [whole, whole];
    }
    if (start >= old) return [null, await this.root(start, end)];
    const middle = start + split(end - start);
    const left = await this.grown(old, start, middle);
    const right = await this.grown(old, middle, end);
    const before = right[0] === null ? left[0] : await nodeHash(left[0], right[0]);
    return [before, await nodeHash(left[1], right[1])];
  }
}

// The root that a leaf and its path lead to.
async function fold(leaf, index, size, path) {
  if (size === 1) return leaf;
  const half = split(size);
  const rest = path.slice(0, -1);
  if (index < half) return nodeHash(await fold(leaf, index, half, rest), path.at(-1));
  return nodeHash(path.at(-1), await fold(leaf, index - half, size - half, rest));
}

// The page.

const box = document.getElementById("check");
const verdict = box.querySelector("[role=status]");
const list = box.querySelector("ol");
const field = box.querySelector("input");

function step(state, text, ...values) {
  const line = document.createElement("li");
  line.className = state;
  const codes = values.map((value) => {
    const code = document.createElement("code");
    code.textContent = value;
    return code;
  });
  if (codes.length > 1) {
    const more = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = text;
    more.append(summary, ...codes);
    line.append(more);
  } else {
    line.append(text, ...codes);
  }
  list.append(line);
}

function conclude(state, text) {
  const dot = document.createElement("span");
  dot.className = `dot ${state}`;
  verdict.dataset.state = state;
  verdict.replaceChildren(dot, text);
}

async function fetchPath(path) {
  const secret = box.dataset.log === "/ledger/" ? "omit" : "same-origin"; // an open log is read as anybody reads it
  const answer = await fetch(box.dataset.log + path, { credentials: secret, cache: "no-store" });
  if (answer.status === 404) return null;
  need(answer.status === 200, `The log answers ${answer.status} to ${path}: it may not be open to you.`);
  return new Uint8Array(await answer.arrayBuffer());
}

async function chooseKey() {
  const pinned = localStorage.getItem(PINNED);
  const key = await readKey(pinned ?? box.dataset.vkey);
  if (pinned === null) {
    step("note", "Key: the one that this page names. Pin the one that you were given instead.", key.text);
  } else {
    step("ok", "Key: the one that you pinned in this browser.", key.text);
  }
  const now = await succeeded(key);
  if (now.text !== box.dataset.vkey) step("bad", "This page names another key.", box.dataset.vkey);
  return now;
}

// Gives the key that took a trusted one's place, or its successor's, by each one's own signature: `signer/1` entries.
async function succeeded(key) {
  let trusted = key;
  for (const text of JSON.parse(box.dataset.signers)) {
    const { vkey, endorsement } = JSON.parse(text);
    const signature = fromBase64(endorsement, "An endorsement");
    if (toHex(signature.slice(0, 4)) !== trusted.id) continue;
    if (!(await verifies(trusted, signature.slice(4), `transom-signer/1\n${vkey}\n`))) continue;
    const next = await readKey(vkey);
    if (next.name !== trusted.name) continue;
    trusted = next;
    step("ok", "It endorsed the key that took its place:", vkey);
  }
  return trusted;
}

async function checkpointOf(key) {
  const bytes = await fetchPath("checkpoint");
  need(bytes !== null, "The log serves no checkpoint.");
  const checkpoint = await openCheckpoint(bytes, key);
  const said = `The checkpoint of ${checkpoint.size} entries`;
  if (checkpoint.checked) step("ok", `${said} is signed by it. Root:`, toBase64(checkpoint.root));
  else step("unknown", `${said} is not checked: this browser does not know Ed25519. Root:`, toBase64(checkpoint.root));
  return checkpoint;
}

// Holds the checkpoint against the largest one that this browser has verified under the same key, and keeps it.
async function remember(key, checkpoint, tiles) {
  const kept = JSON.parse(localStorage.getItem(SEEN + key.text));
  if (kept !== null) {
    need(kept.size <= checkpoint.size, `The log went back: it had ${kept.size} entries when this browser last looked.`);
    const [before, now] = await tiles.grown(kept.size);
    need(same(now, checkpoint.root), "The tiles do not give the root that was signed.");
    need(toBase64(before) === kept.root, `The log was rewritten: its first ${kept.size} entries were others before.`);
    const said = kept.size === checkpoint.size ? "It is the one" : `It continues the one of ${kept.size} entries`;
    step("ok", `${said} that this browser saw before. Root then:`, kept.root);
  }
  if (checkpoint.checked) {
    localStorage.setItem(SEEN + key.text, JSON.stringify({ size: checkpoint.size, root: toBase64(checkpoint.root) }));
  }
}

async function checkEntry(shown, checkpoint, tiles) {
  const name = shown.dataset.entry;
  const index = Number(shown.dataset.index);
  need(index < checkpoint.size, `The ${name} is said to be entry ${index}, which this checkpoint does not reach.`);
  const bytes = utf8.encode(shown.textContent);
  need(same(bytes, await tiles.entry(index)), `The log holds another entry at ${index} than the ${name} shown here.`);
  const leaf = await leafHash(bytes);
  step("ok", `The ${name} shown here, ${bytes.length} bytes, is entry ${index} of the log. Its leaf:`, toHex(leaf));
  const path = await tiles.path(index);
  const root = await fold(leaf, index, checkpoint.size, path);
  need(same(root, checkpoint.root), `The ${name} does not lead to the root that was signed: it is not in this log.`);
  step("ok", `With ${path.length} hashes of the log's tiles it gives the root that was signed.`, ...path.map(toHex));
  return `the ${name} is entry ${index}`;
}

async function check() {
  list.replaceChildren();
  conclude("", "Checking…");
  try {
    const key = await chooseKey();
    const checkpoint = await checkpointOf(key);
    const tiles = new Tiles(fetchPath, checkpoint.size);
    await remember(key, checkpoint, tiles);
    const found = [];
    for (const shown of document.querySelectorAll("pre[data-index]")) {
      found.push(await checkEntry(shown, checkpoint, tiles));
    }
    const said = `${found.join(", ")} of ${checkpoint.size}.`;
    if (list.querySelector(".bad")) conclude("bad", `In the log of the pinned key: ${said} This page names another.`);
    else if (checkpoint.checked) conclude("good", `Checked here: ${said}`);
    else conclude("", `Checked here but for the signature: ${said}`);
  } catch (error) {
    step("bad", error instanceof Wrong ? error.message : `The check did not come to its end: ${error.message}`);
    conclude("bad", "Does not verify.");
  }
}

async function pin(text) {
  try {
    if (text.trim() === "") localStorage.removeItem(PINNED);
    else localStorage.setItem(PINNED, (await readKey(text)).text);
  } catch (error) {
    list.replaceChildren();
    step("bad", error.message);
    conclude("bad", "The key was not pinned.");
    return;
  }
  await check();
}

box.hidden = false;
if (globalThis.crypto?.subtle === undefined) {
  conclude("", "Browsers compute hashes only on pages that came by https or from this machine. Download the proof.");
  box.classList.add("unable");
} else {
  field.value = localStorage.getItem(PINNED) ?? "";
  box.querySelector("[data-check]").addEventListener("click", check);
  box.querySelector("[data-pin]").addEventListener("click", () => pin(field.value));
}
