// Files to keep: made by the program, handed over by the browser.

function startSaving() {
  const all = () => shownMethods(current);
  const save = (id, kind, images) => {
    document.getElementById(id).addEventListener("click", () => guardedly(() => saveFile(kind, images(), all())));
  };
  save("save-picture", "picture", () => [current]);
  save("save-page", "page", () => [current]);
  save("save-pages", "page", () => [...held.keys()]);
}

const shownMethods = (id) => Object.keys(held.get(id)?.maps ?? {});

async function saveFile(kind, images, methods) {
  const target = document.getElementById("target").value || null;
  const job = await worked("save", { what: kind, images, methods, target });
  const file = job && made.get(job);
  if (!file) return;
  const link = build("a", { href: `${HERE}files/${file.id}`, download: file.name });
  document.body.append(link);
  link.click();
  link.remove();
}

function syncSaving() {
  const none = current === null || !shownMethods(current).length;
  for (const id of ["save-picture", "save-page", "save-pages"]) document.getElementById(id).disabled = none;
}
