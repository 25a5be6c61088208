// The images that are held: from files, folders and drops, listed, chosen, removed.

const held = new Map(); // id → detail, as the reports' painting takes it
let current = null; // id of the image that is worked on
const fresh = new Set(); // ids that are to be explained
let freshTimer = 0;

const limitsOf = () => JSON.parse(document.getElementById("limits").textContent);

function startImages() {
  const [files, folder] = ["files", "folder"].map((id) => document.getElementById(id));
  document.getElementById("choose-files").addEventListener("click", () => files.click());
  document.getElementById("choose-folder").addEventListener("click", () => folder.click());
  document.getElementById("add-shipped").addEventListener("click", () => guardedly(() => ask("POST", "shipped")));
  files.addEventListener("change", () => sendChosen(files, [...files.files]));
  folder.addEventListener("change", () => sendChosen(folder, picturesAmong([...folder.files])));
  const drop = document.getElementById("drop");
  // a file that is dropped beside the field must not take the page's place
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
  document.addEventListener("dragover", () => drop.classList.add("over"));
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    drop.classList.remove("over");
    guardedly(async () => send(await droppedFiles(event.dataTransfer)));
  });
}

async function sendChosen(input, files) {
  await guardedly(() => send(files));
  input.value = ""; // so that the same choice again is a change
}

/** Those of a folder that have the name of an image, in order. */
function picturesAmong(files) {
  const suffixes = limitsOf().suffixes.split(",");
  const pictures = files.filter(({ name }) => suffixes.some((one) => name.toLowerCase().endsWith(one)) && !name.startsWith("."));
  if (files.length && !pictures.length) throw new Error(gettext("There is no image in this folder."));
  return pictures.sort((a, b) => (a.webkitRelativePath < b.webkitRelativePath ? -1 : 1));
}

/** The files of a drop; folders stand for the images in them. */
async function droppedFiles({ items, files }) {
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...files];
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) return void found.push(await new Promise((done, fail) => entry.file(done, fail)));
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!some.length) return undefined;
      for (const one of some) await walk(one);
    }
  };
  for (const entry of entries) await walk(entry);
  return picturesAmong(found);
}

/** Send files one after the other; one that is refused does not keep the others back. */
async function send(files) {
  const arriving = document.getElementById("arriving");
  const { megabytes, images } = limitsOf();
  const room = Math.max(0, images - held.size);
  if (files.length > room) {
    showFailure(new Error(gettext("Only {n} more images can be taken: at most {most} are held at once.", { n: room, most: images })));
    files = files.slice(0, room);
  }
  let refused = 0;
  for (const [place, file] of files.entries()) {
    arriving.textContent = gettext("Reading {n} of {total} …", { n: place + 1, total: files.length });
    try {
      if (file.size > 1e6 * megabytes) {
        throw new Error(gettext("{name}: larger than {n} MB.", { name: file.name, n: megabytes }));
      }
      await ask("POST", `images?name=${encodeURIComponent(file.name)}`, file);
    } catch (error) {
      refused += 1;
      showFailure(error);
    }
  }
  arriving.textContent = refused
    ? gettext("{n} of {total} could not be taken.", { n: refused, total: files.length })
    : "";
}

/** Take in what the program tells of an image. */
async function hold(event, isNew) {
  const [photo, truth] = await Promise.all([decodePicture(event.picture), decodePicture(event.mask)]);
  const known = held.get(event.id);
  if (known) return;
  const entry = { ...event, box: null, target: null };
  held.set(event.id, { entry, photo, truth, maps: {}, products: {}, caveats: {}, refused: {} });
  if (isNew) explainSoon(event.id);
  showList();
  if (current) return;
  choose(event.id);
  // what was chosen would push what came of it off the screen; dropping works all the same
  if (isNew) document.getElementById("entry").open = false;
}

function explainSoon(id) {
  fresh.add(id);
  clearTimeout(freshTimer);
  freshTimer = setTimeout(() => {
    const images = [...fresh].filter((one) => held.has(one));
    fresh.clear();
    const methods = chosenMethods();
    if (images.length && methods.length) guardedly(() => ask("POST", "explain", { images, methods }));
  }, 100);
}

function forget(id) {
  held.delete(id);
  regions.delete(id);
  if (current === id) choose(held.keys().next().value ?? null);
  showList();
}

function forgetAll() {
  held.clear();
  choose(null);
  showList();
}

/** The list of images, in the order in which they came. */
function showList() {
  const list = document.getElementById("list");
  document.getElementById("images").hidden = !held.size;
  for (const item of [...list.children]) if (!held.has(item.dataset.id)) item.remove();
  for (const [id, detail] of held) {
    if (![...list.children].some((item) => item.dataset.id === id)) list.append(thumbOf(id, detail));
  }
  for (const item of list.children) item.firstElementChild.setAttribute("aria-pressed", String(item.dataset.id === current));
  syncChoices();
}

function thumbOf(id, { entry }) {
  const name = readable(entry.name);
  const [likely] = Object.entries(entry.probabilities);
  const picture = build("img", { src: entry.picture, alt: "" });
  const words = build("span", {}, build("span", { class: "thumb-name" }, name), build("span", { class: "muted" }, `${readable(entry.predicted)} ${percentText(likely[1])}`));
  const button = build("button", { type: "button", class: "thumb", "aria-pressed": "false" }, picture, words);
  button.addEventListener("click", () => choose(id));
  const remove = build("button", { type: "button", class: "quiet remove", "aria-label": gettext("Remove {name}", { name }), title: gettext("Remove") }, "×");
  remove.addEventListener("click", () => guardedly(() => ask("DELETE", `images/${id}`)));
  return build("li", { "data-id": id }, button, remove);
}

/** Work on another image; none where `id` is null. */
function choose(id) {
  current = id;
  document.getElementById("work").hidden = id === null;
  document.getElementById("main").toggleAttribute("data-held", id !== null);
  for (const item of document.getElementById("list").children) {
    item.firstElementChild.setAttribute("aria-pressed", String(item.dataset.id === id));
  }
  if (id === null) return;
  const { entry } = held.get(id);
  document.getElementById("name").textContent = readable(entry.name);
  document.getElementById("verdict").replaceChildren(...verdictOf(entry));
  showMaps();
  showBrush();
}

function verdictOf(entry) {
  const share = percentText(entry.probabilities[entry.predicted]);
  const said = [gettext("The model says {label} ({share})", { label: readable(entry.predicted), share })];
  if (entry.label) said.push(" · ", gettext("true class: {label}", { label: readable(entry.label) }));
  return said;
}
