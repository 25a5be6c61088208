// A video over time: what the model answers, how alike its maps are. A point of time shows its frame.

const TIME = { width: 960, narrow: 340, left: 50, wide: 128, right: 16, top: 22, tall: 170, low: 84, row: 15, gap: 34, bottom: 24 };
const LETTER = 6.6; // pixels of a letter of the plot, about; of a Chinese one twice as many
const TILES = 14; // frames of the strip
const DOTTED_TIME = 160; // frames up to which each has a dot
const moment = { place: 0, turn: 0 };

function startTimeline() {
  const { timeline } = page;
  if (!timeline) return;
  const shown = timeline.frames.map((_, place) => place).filter((place) => timeline.frames[place].image !== null);
  const room = document.getElementById("time-plot").clientWidth; // letters are as large on a phone
  const plot = timePlot(timeline, room ? Math.max(TIME.narrow, Math.min(TIME.width, room)) : TIME.width);
  const slider = timeSlider(timeline);
  const now = { said: build("p", { role: "status" }), pictures: timePictures(), link: build("a", {}) };
  const film = filmTiles(timeline, shown);
  const go = (place) => {
    if (place === moment.place && now.said.textContent) return;
    moment.place = place;
    plot.mark(place);
    slider.value = place;
    slider.setAttribute("aria-valuetext", clockText(timeline.frames[place].seconds));
    for (const { button, at } of film) button.setAttribute("aria-pressed", String(at === place));
    showMoment(timeline, place, shown, now);
  };
  slider.addEventListener("input", () => go(Number(slider.value)));
  plot.svg.addEventListener("pointermove", (event) => go(plot.at(event)));
  plot.svg.addEventListener("click", (event) => {
    go(plot.at(event));
    leadTo(timeline, nearestShown(moment.place, shown));
  });
  for (const { button, at } of film) button.addEventListener("click", () => go(at));
  document.getElementById("time-plot").replaceChildren(plot.svg, slider);
  document.getElementById("time-now").replaceChildren(now.said, now.pictures.root, now.link);
  document.getElementById("film").replaceChildren(...film.map(({ button }) => button));
  paintFilm(timeline, film);
  listen(() => {
    paintMoment(timeline, nearestShown(moment.place, shown), now.pictures);
    paintFilm(timeline, film);
  });
  go(timeline.certain[0] ?? 0);
}

/** 0:03.20 */
function clockText(seconds) {
  const hundredths = Math.round(seconds * 100);
  const two = (number) => String(number % 100).padStart(2, "0");
  return `${Math.floor(hundredths / 6000)}:${two(Math.floor(hundredths / 100) % 60)}.${two(hundredths)}`;
}

/** What is drawn, from the top: {title, low, series: [{name, colour, read}], flicker}. */
function timePanels({ frames, label, mean, predicted, flicker }) {
  const name = Object.hasOwn(mean, label) ? label : predicted;
  const panels = [
    {
      title: gettext("P({label}); hover to see a frame, click to go to its maps", { label: readable(name) }),
      low: 0,
      tall: TIME.tall,
      series: [{ name, colour: 2, read: (frame) => frame.probabilities[name] }],
      first: true,
    },
  ];
  if (frames.some(({ agreement }) => agreement !== null)) {
    panels.push({
      title: gettext("Agreement of each map with the one before it (rank correlation)"),
      low: -1,
      tall: TIME.low,
      series: [{ name: "", colour: 3, read: ({ agreement }) => agreement }],
      flicker,
    });
  }
  return panels;
}

/** Parts of the face that some frame has a share of, as they are listed elsewhere. */
function timeParts({ frames }) {
  return Object.keys(FACE_PARTS).filter((part) => frames.some((frame) => Object.hasOwn(frame.parts, part)));
}

function timePlot(timeline, wide) {
  const { frames, seconds } = timeline;
  const faces = timeParts(timeline);
  const from = faces.length && wide === TIME.width ? TIME.wide : faces.length ? TIME.wide - 24 : TIME.left;
  const inner = wide - from - TIME.right;
  const x = (time) => from + (inner * time) / (seconds || 1);
  const panels = timePanels(timeline);
  const parts = [];
  const titles = [...panels.map(({ title }) => title), faces.length ? partsTitle(timeline, faces) : ""];
  const more = Math.max(...titles.map((title) => titleLines(title, wide).length - 1)) * 14; // room for long titles
  let top = TIME.top + more;
  for (const panel of panels) {
    parts.push(...timePanel(timeline, panel, top, x), timeTitle(panel.title, wide, top));
    top += panel.tall + TIME.gap + more;
  }
  if (faces.length) {
    parts.push(...partRows(timeline, faces, top, x), timeTitle(partsTitle(timeline, faces), wide, top));
    top += faces.length * TIME.row + TIME.gap + more;
  }
  const bottom = top - TIME.gap - more;
  const ticks = niceTicks(0, seconds).filter((time) => time >= 0 && time <= seconds);
  const every = Math.ceil(60 / ((x(ticks[1] ?? seconds) - x(0)) || 60)); // so that none touches the next
  for (const tick of ticks.filter((_, place) => place % every === 0)) {
    const anchor = x(tick) > wide - 40 ? "end" : "middle";
    parts.push(buildSvg("text", { x: x(tick), y: bottom + 16, "text-anchor": anchor }, clockText(tick)));
  }
  const cursor = buildSvg("line", { class: "cursor", y1: TIME.top, y2: bottom });
  const svg = buildSvg(
    "svg",
    { viewBox: `0 0 ${wide} ${bottom + TIME.bottom}`, role: "img", "aria-label": timeWords(timeline) },
    ...parts,
    cursor,
  );
  const at = (event) => {
    const { left, width } = svg.getBoundingClientRect();
    const time = ((((event.clientX - left) / width) * wide - from) / inner) * seconds;
    return nearestFrame(frames, time);
  };
  const mark = (place) => {
    cursor.setAttribute("x1", x(frames[place].seconds));
    cursor.setAttribute("x2", x(frames[place].seconds));
  };
  return { svg, at, mark };
}

function timePanel({ frames, certain, changing, seconds }, panel, top, x) {
  const { low, tall } = panel;
  const y = (value) => top + ((1 - value) / (1 - low)) * tall;
  const [from, to] = [x(0), x(seconds || 1)];
  const across = [low, (low + 1) / 2, 1].flatMap((value) => [
    buildSvg("line", { class: value === low ? "axis" : "grid", x1: from, x2: to, y1: y(value), y2: y(value) }),
    buildSvg("text", { x: from - 6, y: y(value) + 4, "text-anchor": "end" }, low ? numberText(value) : `${100 * value}%`),
  ]);
  const marks = [];
  if (panel.flicker && panel.flicker.low !== null) {
    const { low: least, high, mean } = panel.flicker;
    across.unshift(
      buildSvg("rect", { class: "band", x: from, width: to - from, y: y(high), height: Math.max(2, y(least) - y(high)) }),
    );
    marks.push(buildSvg("line", { class: "mean", x1: from, x2: to, y1: y(mean), y2: y(mean) }));
  }
  if (panel.first) {
    for (const place of changing) {
      const at = x(frames[place].seconds);
      marks.push(buildSvg("line", { class: "change", x1: at, x2: at, y1: top, y2: top + tall }));
    }
  }
  const lines = panel.series.flatMap((one) => timeSeries(frames, one, x, y, panel.first ? certain : []));
  return [...across, ...marks, ...lines];
}

/** A line, broken where a frame has no value, with dots. */
function timeSeries(frames, { name, colour, read }, x, y, certain) {
  const ink = `var(--chart-${colour})`;
  const runs = [[]];
  const dots = [];
  frames.forEach((frame, place) => {
    const value = read(frame);
    if (value === null || value === undefined) {
      if (runs.at(-1).length) runs.push([]);
      return;
    }
    const [cx, cy] = [x(frame.seconds), y(value)];
    runs.at(-1).push(`${cx.toFixed(1)},${cy.toFixed(1)}`);
    const large = certain.includes(place);
    if (large || frames.length <= DOTTED_TIME) dots.push(buildSvg("circle", { cx, cy, r: large ? 5 : 2.2, fill: ink }));
  });
  const lines = runs.map((points) => buildSvg("polyline", { class: "series", points: points.join(" "), stroke: ink }));
  return [buildSvg("g", { "data-series": name }, ...lines, ...dots)];
}

function mostOf(frames, parts) {
  return Math.max(...frames.flatMap((frame) => parts.map((part) => frame.parts[part] ?? 0)));
}

function partsTitle({ frames, label }, parts) {
  return gettext("Share of the evidence for {label} by part of the face; darkest: {most}", {
    ...{ label: readable(label), most: percentText(mostOf(frames, parts)) },
  });
}

/** A title over what begins at `top`, in as many lines as it takes. */
function timeTitle(title, wide, top) {
  const lines = titleLines(title, wide);
  const place = (line) => ({ x: 2, y: top - 8 - 14 * (lines.length - 1 - line) });
  return buildSvg("text", {}, ...lines.map((text, line) => buildSvg("tspan", place(line), text)));
}

function titleLines(title, wide) {
  const room = (wide - 4) / LETTER;
  const length = (text) => [...text].reduce((sum, letter) => sum + (letter > "\u2e80" ? 2 : 1), 0);
  return title.split(/(?<=[\s，；（])/).reduce((lines, word) => {
    if (length(lines.at(-1) + word) > room && lines.at(-1)) lines.push("");
    lines[lines.length - 1] += word;
    return lines;
  }, [""]);
}

/** A row for each part: the darker, the more of the evidence lies there, in the nearest frame. */
function partRows({ frames, seconds }, parts, top, x) {
  const [from, to] = [x(0), x(seconds || 1)];
  const canvas = build("canvas");
  [canvas.width, canvas.height] = [Math.round(to - from), parts.length];
  const pixels = new ImageData(canvas.width, canvas.height);
  const most = mostOf(frames, parts);
  for (let column = 0; column < canvas.width; column += 1) {
    const frame = frames[nearestFrame(frames, ((column + 0.5) / canvas.width) * seconds)];
    parts.forEach((part, row) => {
      const share = frame.parts[part] ?? 0;
      pixels.data.set([193, 68, 5, Math.round((255 * share) / (most || 1))], 4 * (row * canvas.width + column));
    });
  }
  contextOf(canvas).putImageData(pixels, 0, 0);
  const box = { x: from, y: top, width: to - from, height: parts.length * TIME.row };
  return [
    buildSvg("image", { ...box, href: canvas.toDataURL(), preserveAspectRatio: "none", class: "parts" }),
    buildSvg("rect", { ...box, class: "frame-of-parts" }),
    ...parts.map((part, row) => {
      return buildSvg("text", { x: from - 6, y: top + (row + 0.75) * TIME.row, "text-anchor": "end" }, FACE_PARTS[part]);
    }),
  ];
}

function timeWords({ video, frames, label, mean, predicted }) {
  const name = Object.hasOwn(mean, label) ? label : predicted;
  const values = frames.map((frame) => frame.probabilities[name]);
  return gettext("{video} over time: P({label}) of {n} frames, from {low} to {high}, mean {mean}", {
    ...{ video: readable(video), label: readable(name), n: frames.length, mean: percentText(mean[name]) },
    ...{ low: percentText(Math.min(...values)), high: percentText(Math.max(...values)) },
  });
}

function timeSlider({ frames }) {
  const label = gettext("Frame, in the order of time");
  return build("input", { type: "range", min: 0, max: frames.length - 1, step: 1, "aria-label": label });
}

/** The frame whose time is nearest. */
function nearestFrame(frames, time) {
  let [low, high] = [0, frames.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (frames[middle].seconds <= time) low = middle;
    else high = middle;
  }
  return time - frames[low].seconds <= frames[high].seconds - time ? low : high;
}

/** Of the frames that the page shows, the nearest one. */
function nearestShown(place, shown) {
  return shown.reduce((best, one) => (Math.abs(one - place) < Math.abs(best - place) ? one : best), shown[0]);
}

function timePictures() {
  const [photo, map] = [build("canvas"), build("canvas")];
  photo.setAttribute("aria-label", gettext("the frame"));
  map.setAttribute("aria-label", gettext("its map"));
  for (const canvas of [photo, map]) canvas.setAttribute("role", "img");
  return { root: build("div", { class: "time-pictures" }, photo, map), photo, map };
}

function showMoment(timeline, place, shown, now) {
  const frame = timeline.frames[place];
  const known = nearestShown(place, shown);
  const name = Object.hasOwn(timeline.mean, timeline.label) ? timeline.label : timeline.predicted;
  const words = [
    gettext("{time}, frame {number}", { time: clockText(frame.seconds), number: frame.number }),
    gettext("P({label}) {share}", { label: readable(name), share: percentText(frame.probabilities[name]) }),
  ];
  if (frame.agreement !== null) words.push(gettext("agreement {value}", { value: hundredths(frame.agreement) }));
  if (known !== place) {
    const time = clockText(timeline.frames[known].seconds);
    words.push(gettext("the page holds no picture of it; shown: {time}", { time }));
  }
  now.said.textContent = words.join(" · ");
  now.link.href = `#image-${timeline.frames[known].image}`;
  now.link.textContent = gettext("All maps and the evidence sheet of this frame");
  paintMoment(timeline, known, now.pictures);
}

async function paintMoment(timeline, place, { photo, map }) {
  const turn = ++moment.turn;
  const found = await borrowed(timeline.frames[place].image);
  if (turn !== moment.turn) return;
  paintPhoto(photo, found, { width: Math.min(LONGEST, 400) });
  paintMap(map, found, mapFor(found, look.rowA, timeline.label), look, { width: Math.min(LONGEST, 400) });
}

/** The data of an image, which is given back unless the list holds it. */
async function borrowed(place) {
  const found = await detail(place);
  if (!views.has(place)) details.delete(place);
  return found;
}

function leadTo(timeline, place) {
  const { image } = timeline.frames[place];
  showImage(image);
  document.getElementById(`image-${image}`).scrollIntoView();
}

/** Evenly spread frames of the page: [{button, at, canvas}]. */
function filmTiles({ frames, label, mean, predicted }, shown) {
  const count = Math.min(TILES, shown.length);
  const name = Object.hasOwn(mean, label) ? label : predicted;
  const chosen = Array.from({ length: count }, (_, i) => shown[Math.round((i * (shown.length - 1)) / Math.max(1, count - 1))]);
  return [...new Set(chosen)].map((at) => {
    const canvas = build("canvas", { "aria-hidden": "true" });
    const words = `${clockText(frames[at].seconds)} · ${percentText(frames[at].probabilities[name])}`;
    return { at, canvas, button: build("button", { type: "button", "aria-pressed": "false" }, canvas, words) };
  });
}

async function paintFilm(timeline, film) {
  for (const { at, canvas } of film) {
    const found = await borrowed(timeline.frames[at].image);
    paintMap(canvas, found, mapFor(found, look.rowA, timeline.label), look, { width: 220 });
  }
}
