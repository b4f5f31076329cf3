"use strict";
// The pages work without this file: it adds live rows and a button that copies.

const MOST_ROWS = 100;

function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

function follow(table) {
  const body = table.tBodies[0];
  const light = document.getElementById("live");
  const say = (word, text) => {
    light.hidden = false;
    light.dataset.state = word;
    light.textContent = text;
  };
  const source = new EventSource(table.dataset.events);
  say("waiting", "connecting");
  source.onopen = () => say("on", "live");
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) say("off", "not live: reload to sign in again");
    else say("waiting", "reconnecting");
  };
  source.addEventListener("decisions", (event) => {
    for (const row of [...fragment(event.data).querySelectorAll("tr")]) {
      const known = document.getElementById(row.id);
      if (known) {
        known.replaceWith(row);
      } else {
        row.classList.add("new");
        body.prepend(row);
      }
    }
    while (body.rows.length > MOST_ROWS) body.deleteRow(-1);
    table.classList.remove("none");
    document.getElementById("empty")?.remove();
  });
  source.addEventListener("state", (event) => {
    for (const section of [...fragment(event.data).children]) {
      const shown = document.getElementById(section.id);
      if (shown && shown.outerHTML !== section.outerHTML) shown.replaceWith(section);
    }
  });
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
}

const table = document.querySelector("table[data-events]");
if (table) follow(table);

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}
