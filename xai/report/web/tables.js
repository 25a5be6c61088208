// Tables that sort by any column and can be copied as CSV.

const FORMULA = /^[=+\-@\t\r]/; // what a spreadsheet would run

/** Give every table of the page its buttons. */
function enhanceTables() {
  for (const box of document.querySelectorAll(".data-table")) {
    const table = box.querySelector("table");
    if ("order" in box.dataset) addSorting(table);
    addCopying(box, table);
  }
}

function addSorting(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sortBy(table, column));
  });
}

function sortBy(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const compare = head.classList.contains("number") ? compareNumbers : compareTexts;
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, value: valueOf(row.cells[column]) }));
  const full = rows.filter(({ value }) => value !== "").sort((a, b) => compare(a.value, b.value));
  if (down) full.reverse();
  const empty = rows.filter(({ value }) => value === ""); // whatever the direction, they come last
  body.append(...[...full, ...empty].map(({ row }) => row));
}

function compareNumbers(a, b) {
  return Number(a) - Number(b);
}

function compareTexts(a, b) {
  return a.localeCompare(b, undefined, { numeric: true });
}

/** What a cell stands for: the exact number behind a rounded one. */
function valueOf(cell) {
  return cell.dataset.value ?? cell.textContent.trim();
}

/** The same, of a name the one that configurations and records have. */
function givenOf(cell) {
  return cell.dataset.given ?? valueOf(cell);
}

function addCopying(box, table) {
  const tools = document.createElement("div");
  tools.className = "tools";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet copy";
  button.textContent = gettext("Copy as CSV");
  button.setAttribute("aria-label", gettext("Copy as CSV: {table}", { table: table.caption.textContent }));
  const outcome = document.createElement("span");
  outcome.className = "muted small";
  outcome.setAttribute("role", "status");
  button.addEventListener("click", async () => {
    const count = table.tBodies[0].rows.length;
    const done = await copyText(csvOf(table));
    outcome.textContent = done
      ? ngettext("✓ Copied {n} row.", "✓ Copied {n} rows.", count)
      : gettext("The browser did not let this page copy.");
  });
  tools.append(button, outcome);
  box.append(tools);
}

/** The table as it is sorted now: exact numbers, and a last column for the kinds of rows if there are any. */
function csvOf(table) {
  const rows = [...table.tBodies[0].rows];
  const kinds = rows.some((row) => row.className);
  const head = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  const lines = [
    kinds ? [...head, "kind"] : head,
    ...rows.map((row) => [...[...row.cells].map(givenOf), ...(kinds ? [row.className] : [])]),
  ];
  return lines.map((line) => line.map(csvCell).join(",") + "\r\n").join("");
}

function csvCell(value) {
  const number = value.trim() !== "" && Number.isFinite(Number(value));
  const safe = FORMULA.test(value) && !number ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** For browsers that keep the clipboard from files on disk. */
function copyBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "sr-only";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
