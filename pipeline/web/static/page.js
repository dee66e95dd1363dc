"use strict";

const get = (id) => document.getElementById(id);

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

function tokenRow(tokens, values, largest, className) {
  const row = element("div", "", `tokens ${className}`);
  tokens.forEach((token, index) => {
    const span = element("span", token);
    span.style.setProperty("--share", Math.max(0, values[index]) / largest);
    span.title = String(values[index]);
    row.append(span);
  });
  return row;
}

function show(answer) {
  const number = (value) => (value === null ? "undefined" : value.toFixed(2));
  get("score").textContent = number(answer.score);
  const taken = answer.adjustment;
  const facts = {
    "Before the adjustment": number(answer.raw_score),
    "90 % interval": answer.interval === null ? "undefined" : answer.interval.map(number).join(" to "),
    Route: answer.route,
    Status: answer.reason === null ? answer.status : `${answer.status}: ${answer.reason}`,
    "Taken off": taken === null ? "nothing" : `${number(taken.taken_off)}: ${taken.reason}`,
    "LLM tokens": String(answer.usage.total_tokens),
  };
  get("facts").replaceChildren(
    ...Object.entries(facts).flatMap(([name, value]) => [element("dt", name), element("dd", value)]),
  );
  const all = answer.simulations.flatMap((one) => one.true_activations);
  const largest = all.reduce((most, value) => Math.max(most, value), 0) || 1;
  get("texts").replaceChildren(
    ...answer.simulations.map((one) => {
      const { tokens, expected_activations: expected } = one.simulation;
      const item = element("li", `correlation ${number(one.ev_correlation_score)}`);
      item.append(
        tokenRow(tokens, one.true_activations, largest, "true"),
        tokenRow(tokens, expected, 10, "predicted"),
      );
      return item;
    }),
  );
  get("result").hidden = false;
}

async function submit(event) {
  event.preventDefault();
  const say = (text, className = "") => {
    get("message").textContent = text;
    get("message").className = className;
  };
  const button = event.target.querySelector("button");
  button.disabled = true;
  get("result").hidden = true;
  say("Scoring…");
  try {
    const response = await fetch("score", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        explanation: get("explanation").value,
        activations: JSON.parse(get("activations").value),
        secret: get("secret")?.value,
      }),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    show(answer);
    say("");
  } catch (error) {
    say(error.message, "error");
  } finally {
    button.disabled = false;
  }
}

get("form").addEventListener("submit", submit);
