// Paper: the open sheet alone, or the whole page with its folds open and its pictures painted.

const PAINTED_AT_MOST = 60; // images of a page that is printed whole

/** Before printing the page is made ready, after it everything is put back; both may be called twice. */
function startPaper() {
  window.addEventListener("beforeprint", toPaper);
  window.addEventListener("afterprint", fromPaper);
  matchMedia("print").addEventListener("change", ({ matches }) => (matches ? toPaper() : fromPaper()));
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
  for (const fold of document.querySelectorAll("main details:not([open]):not(.toolbar details)")) {
    fold.open = true;
    fold.dataset.opened = "for paper";
  }
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
