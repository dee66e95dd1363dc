"use strict";

// Without this script the form still works. With it, the score follows the fields: the page that the
// server makes is fetched, and the parts marked data-slot are exchanged.

const form = document.getElementById("form");
const status = document.getElementById("status");
const PAUSE = 250; // ms without a key press before a score is asked for
let waiting = null;
let busy = false;
let timer = 0;

function ask(make, refill = false) {
  clearTimeout(timer);
  waiting = { make, refill }; // the latest wins; one request at a time
  if (!busy) work();
}

async function work() {
  busy = true;
  const answer = document.getElementById("answer");
  answer.setAttribute("aria-busy", "true");
  status.textContent = "Scoring…";
  while (waiting) {
    const { make, refill } = waiting;
    waiting = null;
    try {
      const response = await fetch(form.action, { method: "POST", body: make() });
      if (waiting) continue;
      if (!response.headers.get("Content-Type").startsWith("text/html")) {
        throw new Error((await response.json()).error);
      }
      exchange(new DOMParser().parseFromString(await response.text(), "text/html"), refill);
    } catch (error) {
      fail(error.message);
    }
  }
  answer.removeAttribute("aria-busy");
  busy = false;
}

function exchange(page, refill) {
  const answer = document.getElementById("answer");
  const scores = scoresOf(answer);
  const open = [...answer.querySelectorAll("details")].map((one) => one.open);
  if (refill) {
    const filled = document.importNode(page.getElementById("explanations"), true);
    document.getElementById("explanations").replaceWith(filled);
  }
  for (const slot of document.querySelectorAll("[data-slot]")) {
    if (slot.contains(document.activeElement)) slot.focus();
    slot.replaceChildren(...page.getElementById(slot.id).childNodes);
  }
  for (const field of form.querySelectorAll("[aria-describedby]")) {
    const error = document.getElementById(field.getAttribute("aria-describedby"));
    if (error.textContent) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }
  if (open.length) answer.querySelectorAll("details").forEach((one, i) => (one.open = open[i] ?? false));
  showChange(answer, scores);
  answer.querySelectorAll(".text").forEach(rove);
  const errors = [...document.querySelectorAll(".error")].map((one) => one.textContent).filter(Boolean);
  const now = scoresOf(answer).map((score) => (score === null ? "undefined" : score.toFixed(2)));
  status.textContent = errors.join(" ") || `Score ${now.join(", ")}`;
}

function fail(message) {
  const error = document.createElement("p");
  error.className = "error";
  error.setAttribute("role", "alert");
  error.textContent = `No answer: ${message}`;
  document.getElementById("answer").prepend(error);
  status.textContent = "";
}

function scoresOf(answer) {
  return [...answer.querySelectorAll(".result")].map((one) => (one.dataset.score ? Number(one.dataset.score) : null));
}

function showChange(answer, before) {
  scoresOf(answer).forEach((score, index) => {
    const change = score - (before[index] ?? score);
    if (score === null || Math.abs(change) < 0.005) return;
    const shown = answer.querySelectorAll(".delta")[index];
    shown.textContent = `${change > 0 ? "▲ +" : "▼ −"}${Math.abs(change).toFixed(2)}`;
    shown.classList.add(change > 0 ? "for" : "against");
  });
}

// One stop of the Tab key for each text; the arrow keys go from token to token.
function rove(text) {
  const tokens = [...text.querySelectorAll(".token")];
  tokens.forEach((token, index) => (token.tabIndex = index ? -1 : 0));
  text.addEventListener("keydown", (event) => {
    const at = tokens.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tokens.length - 1 }[event.key];
    if (at < 0 || !tokens[to]) return;
    event.preventDefault();
    tokens[at].tabIndex = -1;
    tokens[to].tabIndex = 0;
    tokens[to].focus();
  });
}

// The last explanation is always an empty one, until there are as many as are scored.
function addField(field) {
  const all = [...form.querySelectorAll("[name=explanation]")];
  const most = Number(document.getElementById("explanations").dataset.most);
  if (field !== all.at(-1) || !field.value.trim() || all.length >= most) return;
  const box = field.closest(".field");
  const made = box.cloneNode(true);
  const label = box.querySelector("label");
  made.querySelector("textarea").value = "";
  made.querySelector("textarea").id = made.querySelector("label").htmlFor = `explanation-${all.length + 1}`;
  label.textContent = `Explanation ${all.length}`;
  box.after(made);
}

function fields(submitter) {
  const data = new FormData(form, submitter);
  if (!submitter) data.set("do", "score");
  return data;
}

function read(text) {
  document.getElementById("activations").value = text;
  const take = () => {
    const data = fields();
    data.set("take", "1"); // the explanations of what was pasted, where it has any
    return data;
  };
  ask(take, true);
}

async function readFile(file) {
  if (file) read(await file.text());
}

document.documentElement.classList.add("js");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const submitter = event.submitter;
  ask(() => fields(submitter?.isConnected ? submitter : null));
});

form.addEventListener("input", (event) => {
  if (event.target.type === "file") return;
  addField(event.target);
  clearTimeout(timer);
  const quiet = event.target.name !== "secret";
  if (quiet) timer = setTimeout(() => ask(() => fields()), PAUSE);
});

const activations = document.getElementById("activations");
activations.addEventListener("paste", () => setTimeout(() => read(activations.value)));
activations.addEventListener("dragover", (event) => {
  event.preventDefault();
  activations.classList.add("over");
});
activations.addEventListener("dragleave", () => activations.classList.remove("over"));
activations.addEventListener("drop", (event) => {
  activations.classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (!file) return;
  event.preventDefault();
  readFile(file);
});

document.getElementById("file").addEventListener("change", (event) => {
  readFile(event.target.files[0]);
  event.target.value = ""; // the text is in the field now
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});

// A page that asks for a secret waits for it.
if (!document.getElementById("secret")) ask(() => fields());
