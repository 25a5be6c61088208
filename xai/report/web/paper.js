// Paper: the open sheet alone, or the whole page with its folds open and its pictures painted.

const PAINTED_AT_MOST = 60; // images of a page that is printed whole

/** Before printing the page is made ready, after it everything is put back; each may be called twice. */
function startPaper() {
  window.addEventListener("beforeprint", toPaper);
  window.addEventListener("afterprint", fromPaper);
  matchMedia("print").addEventListener("change", ({ matches }) => (matches ? toPaper() : fromPaper()));
  readAhead().then(() => (document.documentElement.dataset.printable = "true"), showFailure);
}

function toPaper() {
  const root = document.documentElement;
  if (root.classList.contains("on-paper")) return;
  root.classList.add("on-paper");
  if (document.getElementById("sheet").open) {
    root.classList.add("print-sheet");
    // out of the dialog: browsers lay its top layer out on one page and cut it off there
    document.getElementById("sheet-paper").append(document.getElementById("sheet-content"));
    return;
  }
  for (const fold of document.querySelectorAll("details:not([open], .toolbar *)")) {
    fold.open = true;
    fold.dataset.opened = "for paper";
  }
  paintAll();
}

function fromPaper() {
  const root = document.documentElement;
  root.classList.remove("on-paper", "print-sheet");
  const content = document.getElementById("sheet-content");
  if (content.parentElement.id === "sheet-paper") document.getElementById("sheet").append(content);
  for (const fold of document.querySelectorAll("details[data-opened]")) {
    fold.open = false;
    delete fold.dataset.opened;
  }
}

/** Printing waits for nobody, so what it needs is read while there is nothing else to do. */
async function readAhead() {
  for (const chart of document.querySelectorAll(".chart")) {
    await idle();
    const folded = chart.closest("details:not([open])");
    if (!folded && !chart.dataset.drawn) await drawChart(chart, page.charts[chart.dataset.chart]);
  }
  if (page.images.length > PAINTED_AT_MOST) return;
  for (const article of document.querySelectorAll("#list > .image")) {
    await idle();
    const place = Number(article.id.slice("image-".length));
    const view = views.get(place) ?? { place, article, stage: article.querySelector(".stage"), wipe: 0.5 };
    views.set(place, view);
    view.detail ??= await detail(place);
  }
}

function idle() {
  return new Promise((resolve) => (window.requestIdleCallback ?? setTimeout)(resolve));
}

/** Paint every image that has been read, at once. */
function paintAll() {
  const ready = [...views.values()].filter((view) => view.detail).map(arrangeStage);
  for (const { view } of ready) view.width = view.figures[0].canvas.clientWidth;
  for (const { view, panels } of ready) (look.view === "wipe" ? paintWipe : paintSide)(view, panels);
}
