import { words } from "./words.js";

const at = (id) => document.getElementById(id);
const fields = { from: at("from"), to: at("to"), text: at("text") };
const talk = at("talk"), log = at("log"), status = at("status"), sendButton = document.querySelector("form button");

let lang = "en";
let inbox; // the EventSource of the number that is shown
let shownNumber = ""; // as it was typed
const seen = new Set(); // ids of messages on the page

// What was said can be said again in another language: a text that changes is a function of the words.
const spoken = new Map();
function say(element, sentence) {
  spoken.set(element, sentence);
  element.textContent = sentence(words[lang]);
}

function speak(next) {
  lang = next;
  document.documentElement.lang = next;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = words[next][element.dataset.word];
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", words[next][element.dataset.label]);
  for (const button of document.querySelectorAll("[data-lang]")) button.setAttribute("aria-pressed", String(button.dataset.lang === next));
  for (const [element, sentence] of spoken) element.textContent = sentence(words[next]);
  document.title = words[next].title;
}

function preferred() {
  try {
    const kept = localStorage.getItem("lang");
    if (kept in words) return kept;
  } catch { /* storage may be forbidden; then nothing is kept */ }
  for (const tag of navigator.languages) {
    if (/^zh-(hans|cn|sg)/i.test(tag)) return "zh-Hans";
    if (/^zh/i.test(tag)) return "zh-Hant-HK";
    if (/^en/i.test(tag)) return "en";
  }
  return "en";
}

// Hong Kong's eight digits are read in fours.
const pretty = (number) => number.replace(/^\+852(\d{4})(\d{4})$/, "+852 $1 $2");

function bubble(message, kind) {
  if (seen.has(message.id)) return;
  seen.add(message.id);
  const item = document.createElement("li"), who = document.createElement("span");
  item.className = kind;
  who.className = "who";
  const other = pretty(kind === "sent" ? message.to : message.from);
  say(who, (w) => (kind === "sent" ? w.youSent(other) : message.call ? w.youHeard(other) : w.youGot(other)));
  item.append(who, message.text);
  const code = kind === "received" && /(?<!\d)\d{6}(?!\d)/.exec(message.text)?.[0];
  if (code && navigator.clipboard) {
    const copy = document.createElement("button");
    copy.type = "button";
    say(copy, (w) => w.copy(code));
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code);
      say(status, (w) => w.copied(code));
    });
    item.append(copy);
  }
  at("empty").hidden = true;
  log.append(item);
  talk.scrollTop = talk.scrollHeight;
}

function wrong(name, key) {
  const field = fields[name], error = at(`${name}-error`);
  if (key) say(error, (w) => w[key]);
  else spoken.delete(error);
  error.hidden = !key;
  if (key) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

// listen shows what the number in the field receives, from now on and from before.
async function listen() {
  const number = fields.from.value.trim();
  if (number === shownNumber) return;
  shownNumber = number;
  inbox?.close();
  inbox = undefined;
  for (const element of log.querySelectorAll("*")) spoken.delete(element);
  log.replaceChildren();
  seen.clear();
  at("empty").hidden = false;
  say(status, () => "");
  wrong("from");
  if (!number) return;
  const address = `sms?to=${encodeURIComponent(number)}`;
  try {
    const probe = await fetch(address);
    if (number !== shownNumber) return; // another was typed meanwhile
    if (probe.status === 422 || probe.status === 400) {
      wrong("from", "badFrom");
      return;
    }
  } catch { /* the stream below says that it is lost, and tries again */ }
  try {
    sessionStorage.setItem("from", number);
  } catch { /* as above */ }
  inbox = new EventSource(address);
  inbox.addEventListener("sms", (event) => bubble(JSON.parse(event.data), "received"));
  inbox.addEventListener("open", () => say(status, (w) => w.listening));
  inbox.addEventListener("error", ({ target }) => {
    if (target !== inbox) return;
    say(status, (w) => w.lost);
    if (target.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    setTimeout(() => {
      if (target !== inbox) return;
      shownNumber = "";
      listen();
    }, 2000);
  });
}

let sending = false;
async function send() {
  if (sending) return;
  const values = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value.trim()]));
  const missing = Object.keys(values).filter((name) => !values[name]);
  for (const name of Object.keys(fields)) wrong(name, missing.includes(name) ? bad[name] : undefined);
  if (missing.length) {
    fields[missing[0]].focus();
    return;
  }
  sending = true;
  sendButton.setAttribute("aria-disabled", "true");
  say(status, (w) => w.sending);
  try {
    await listen();
    const response = await fetch("sms", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(values),
    });
    const answer = await response.json();
    if (response.ok) {
      bubble(answer, "sent");
      fields.text.value = "";
      say(status, (w) => w.sent);
    } else {
      const name = answer.field?.slice(1);
      say(status, (w) => (name in bad ? "" : w.failed));
      if (name in bad) {
        wrong(name, bad[name]);
        fields[name].focus();
      }
    }
  } catch {
    say(status, (w) => w.failed);
  }
  sending = false;
  sendButton.removeAttribute("aria-disabled");
}
const bad = { from: "badFrom", to: "badTo", text: "badText" };

// fill takes #from=…&to=…&text=…. A plus sign is a plus sign in a number, and a space in a text, as
// encoders of forms write it.
function fill() {
  for (const pair of location.hash.slice(1).split("&")) {
    const [name, value = ""] = pair.split("=");
    if (!(name in fields)) continue;
    try {
      fields[name].value = decodeURIComponent(name === "text" ? value.replaceAll("+", " ") : value);
    } catch { /* not an encoded text: then it fills nothing in */ }
  }
  listen();
}

for (const button of document.querySelectorAll("[data-lang]")) {
  button.addEventListener("click", () => {
    speak(button.dataset.lang);
    try {
      localStorage.setItem("lang", button.dataset.lang);
    } catch { /* as above */ }
  });
}
fields.from.addEventListener("change", listen);
at("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
fields.text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
addEventListener("hashchange", fill);

fields.to.value = pretty(document.body.dataset.inbound);
try {
  fields.from.value = sessionStorage.getItem("from") ?? "";
} catch { /* as above */ }
speak(preferred());
fill();
