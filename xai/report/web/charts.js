// Charts: the library runs when the first of them comes into view, and each is drawn when it does.

const CHART_SVG = "http://www.w3.org/2000/svg";
const NARROW = 560; // pixels under which names beside a chart are cut short
const AROUND = 60; // pixels of axes and legend, about
const drawings = new WeakMap(); // element → promise of its view
let library = null; // promise of the library's embedding function

/** Draw every chart of the page once it comes near the view. */
function drawCharts() {
  const seen = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        seen.unobserve(target);
        drawChart(target, page.charts[target.dataset.chart]);
      }
    },
    { rootMargin: "300px" },
  );
  for (const element of document.querySelectorAll(".chart")) {
    element.style.minHeight = `${page.charts[element.dataset.chart].height + AROUND}px`; // so that nothing jumps
    seen.observe(element);
  }
}

/**
 * Draw a Vega-Lite specification in the place of an element's content, once.
 * Colours that are CSS variables follow the theme by themselves.
 * @param {Element} element
 * @param {object} spec with `description`; `usermeta` may hold `legend` ({param, entries}), and in pixels
 *   `widest` and `narrowest`
 * @returns {Promise<object|null>} Vega's view, or null where it could not be drawn; the element says so then
 */
function drawChart(element, spec) {
  if (!drawings.has(element)) drawings.set(element, drawNow(element, spec));
  return drawings.get(element);
}

async function drawNow(element, spec) {
  try {
    const embed = await chartLibrary();
    const { legend, widest, narrowest } = spec.usermeta ?? {};
    const area = document.createElement("div");
    area.className = "plot-area";
    if (widest) area.style.maxWidth = `${widest}px`;
    if (narrowest) area.style.minWidth = `${narrowest}px`;
    element.replaceChildren(area);
    const { view } = await embed(area, fitted(spec, area.clientWidth), {
      mode: "vega-lite",
      renderer: "svg",
      actions: false,
      ast: true, // expressions are interpreted: the page's policy forbids to compile them
      defaultStyle: false,
      tooltip: showTip,
    });
    describe(area, spec.description);
    if (legend) element.append(legendOf(legend, view));
    element.dataset.drawn = "true";
    if (element.scrollWidth > element.clientWidth) reachable(element, spec.description);
    return view;
  } catch (error) {
    const notice = document.createElement("p");
    notice.className = "chart-error";
    notice.textContent = gettext("This chart could not be drawn ({error}). Its numbers stand in the tables.", {
      error: error.message,
    });
    element.replaceChildren(notice);
    return null;
  }
}

function chartLibrary() {
  library ??= loadLibrary();
  return library;
}

async function loadLibrary() {
  await runPacked("data-library");
  if (!window.vegaEmbed) throw new Error("the chart library did not start");
  return window.vegaEmbed;
}

/** The specification for a place of this width. */
function fitted(spec, width) {
  if (width >= NARROW || !spec.config?.axis) return spec;
  const axis = { ...spec.config.axis, labelLimit: Math.round(width * 0.38) };
  return { ...spec, config: { ...spec.config, axis } };
}

function describe(area, description) {
  const drawing = area.querySelector("svg");
  drawing.setAttribute("role", "img");
  drawing.setAttribute("aria-label", description);
  drawing.querySelector("g").setAttribute("aria-hidden", "true"); // one picture, not hundreds of marks
}

/** Wide drawings scroll in their own box, by keyboard too. */
function reachable(element, description) {
  element.tabIndex = 0;
  element.setAttribute("role", "region");
  element.setAttribute("aria-label", description);
}

/** Names with their colours; with a `param` they are buttons that bring rows out. */
function legendOf({ param, entries }, view) {
  const list = document.createElement("ul");
  list.className = "legend";
  const chosen = new Set();
  for (const entry of entries) {
    const item = document.createElement("li");
    const holder = param ? toggle(entry.name, chosen, () => view.signal(param, [...chosen]).runAsync()) : item;
    holder.append(swatch(entry), entry.name);
    if (holder !== item) item.append(holder);
    list.append(item);
  }
  return list;
}

function toggle(name, chosen, changed) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const on = !chosen.delete(name);
    if (on) chosen.add(name);
    button.setAttribute("aria-pressed", String(on));
    changed();
  });
  return button;
}

function swatch({ colour, dash, shape }) {
  const svg = document.createElementNS(CHART_SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 12");
  svg.setAttribute("aria-hidden", "true");
  const mark = document.createElementNS(CHART_SVG, dash ? "line" : shape === "square" ? "rect" : "circle");
  const kinds = {
    line: { x1: 0, x2: 24, y1: 6, y2: 6, stroke: colour, "stroke-width": 2.5, "stroke-dasharray": dash?.join(" ") },
    rect: { x: 7, y: 1, width: 10, height: 10, fill: colour },
    circle: { cx: 12, cy: 6, r: 5, fill: colour },
  };
  for (const [key, value] of Object.entries(kinds[mark.localName])) mark.setAttribute(key, value);
  svg.append(mark);
  return svg;
}

/** Vega's tooltip handler, without HTML: pairs of field and value beside the pointer. */
function showTip(handler, event, item, value) {
  const tip = document.getElementById("chart-tip") ?? newTip();
  tip.hidden = value === null || value === undefined || value === "";
  if (tip.hidden) return;
  const row = item.datum?.datum; // what is nearest holds it one level down, where Vega-Lite does not look
  const pairs = typeof value === "object" ? Object.entries(value) : [["", value]];
  tip.replaceChildren(...pairs.flatMap(([key, said]) => [text("dt", key), text("dd", row?.[key] ?? said)]));
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 14 + width > innerWidth ? event.clientX - 14 - width : event.clientX + 14;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - height - 4))}px`;
}

function newTip() {
  const tip = document.createElement("dl");
  tip.id = "chart-tip";
  tip.className = "chart-tip";
  tip.setAttribute("aria-hidden", "true"); // the tables say the same to those who do not point
  document.body.append(tip);
  return tip;
}

function text(tag, said) {
  const element = document.createElement(tag);
  element.textContent = String(said);
  return element;
}
