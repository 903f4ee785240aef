"use strict";
const page = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;
const failures = [];
window.reportFailures = failures;
window.addEventListener("error", (event) => failures.push(String(event.message)));
window.addEventListener("unhandledrejection", (event) => failures.push(String(event.reason)));

// A file of the local disk may have no storage.
const stored = { get(key) { try { return localStorage.getItem(key); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(key, value); } catch { /* It is chosen anew the next time. */ } } };
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const chosen = { theme: stored.get("distpolicy-theme"), axis: "steps" };
const theme = () => chosen.theme ?? (prefersDark.matches ? "dark" : "light");

function rows(table) {
  const names = Object.keys(table);
  const x = table[chosen.axis];
  const found = [];
  for (let index = 0; index < table[names[0]].length; index++) {
    if (x && x[index] === null) continue;
    const row = x ? { x: x[index] } : {};
    for (const name of names) row[name] = table[name][index];
    found.push(row);
  }
  return found;
}

function specOf(chart, width) {
  const text = JSON.stringify(chart.spec).replaceAll('"@x"', JSON.stringify(page.axes[chosen.axis]));
  const datasets = Object.fromEntries(Object.entries(chart.tables).map(([name, table]) => [name, rows(table)]));
  // The points of groups' means and of single runs, which the pointer looks for together.
  if (text.includes('"curves"')) datasets.curves = [...(datasets.main ?? []), ...(datasets.faint ?? [])];
  const isFacet = Boolean(chart.spec.encoding && chart.spec.encoding.row);
  return { $schema: page.schema, ...JSON.parse(text), datasets, height: chart.height,
    width: isFacet ? Math.max(width - 60, 120) : "container",
    ...(isFacet ? {} : { autosize: { type: "fit-x", contains: "padding" } }) };
}

// Tooltips of the nearest point read the point's row. Vega-Lite sees to that for numbers, and not for texts.
function withTexts(spec) {
  return JSON.parse(JSON.stringify(spec), (key, value) =>
    key === "signal" && typeof value === "string" && value.includes("datum.datum[")
      ? value.replaceAll(/(?<!datum\.)datum\[/g, "datum.datum[") : value);
}

async function draw(element) {
  const chart = page.charts[Number(element.dataset.chart)];
  try {
    await vegaEmbed(element, specOf(chart, element.clientWidth), {
      actions: { export: true, source: false, compiled: false, editor: false },
      patch: withTexts, config: page.themes[theme()], downloadFileName: chart.title, renderer: "canvas" });
  } catch (error) {
    failures.push(`${chart.title}: ${error}`);
    element.innerHTML = '<p class="failed-chart">This chart cannot be drawn.</p>';
  }
}

async function drawAll() {
  delete root.dataset.drawn;
  root.dataset.theme = theme();
  for (const button of document.querySelectorAll("[data-axis]"))
    button.setAttribute("aria-pressed", String(button.dataset.axis === chosen.axis));
  for (const button of document.querySelectorAll("[data-set-theme]"))
    button.setAttribute("aria-pressed", String(button.dataset.setTheme === theme()));
  const charts = [...document.querySelectorAll("[data-chart]")];
  for (const element of charts) await draw(element);
  root.dataset.drawn = String(charts.length);
}

for (const button of document.querySelectorAll("[data-axis]"))
  button.addEventListener("click", () => { chosen.axis = button.dataset.axis; drawAll(); });
for (const button of document.querySelectorAll("[data-set-theme]"))
  button.addEventListener("click", () => {
    chosen.theme = button.dataset.setTheme; stored.set("distpolicy-theme", chosen.theme); drawAll(); });
prefersDark.addEventListener("change", () => { if (chosen.theme === null) drawAll(); });
let width = innerWidth;
let waiting;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth; clearTimeout(waiting); waiting = setTimeout(drawAll, 200); });
drawAll();
