// Which model, which methods.

const FAMILIES = {
  preset: () => gettext("Presets: a method with options that were measured"),
  attention: () => gettext("From attention"),
  gradient: () => gettext("From gradients"),
  perturbation: () => gettext("By changing the image"),
  control: () => gettext("Controls, which know nothing of the model's reasons"),
};
let model = null; // what the program tells of the one in memory

function startChoices() {
  document.getElementById("explain").addEventListener("click", () => {
    guardedly(() => ask("POST", "explain", { images: [...held.keys()], methods: chosenMethods() }));
  });
  document.getElementById("model").addEventListener("change", (event) => {
    guardedly(() => ask("POST", "model", { name: event.target.value }));
  });
  document.getElementById("with").addEventListener("change", syncChoices);
}

function showModels(models) {
  const options = models.map(({ name, words }) => build("option", { value: name }, readable(words)));
  document.getElementById("model").replaceChildren(...options);
}

/** Take in what the program tells of its model. */
function showModel(event) {
  const words = document.getElementById("model-words");
  model = event.state === "ready" ? event : null;
  if (event.name) document.getElementById("model").value = event.name;
  if (event.state === "loading") words.textContent = gettext("The model is being loaded …");
  if (event.state === "failed") words.textContent = gettext("The model could not be loaded: choose another.");
  if (event.state !== "ready") {
    forgetAll();
    document.getElementById("likely").replaceChildren();
    document.getElementById("all-methods").replaceChildren();
    return;
  }
  const labels = [...event.labels].reverse();
  const classes = labels.length === 2 ? listed(labels.map(readable)) : gettext("{n} classes", { n: labels.length });
  words.textContent = gettext("Model {name} · {classes} · on {device}", { name: readable(event.words), classes, device: event.device });
  page = { kind: "comparison", classes: event.labels, rows: [], compared: null, fusion: null, timeline: null, images: [] };
  showMethods();
}

function showMethods() {
  const likely = [model.default, ...model.compared];
  document.getElementById("likely").replaceChildren(...likely.map((key) => methodBox(key, key === model.default)));
  const groups = Object.entries(FAMILIES).map(([family, title]) => {
    const some = model.methods.filter((one) => one.family === family && !likely.includes(one.key));
    if (!some.length) return null;
    return build("fieldset", {}, build("legend", { class: "label" }, title()), build("div", { class: "boxes" }, some.map((one) => methodBox(one.key, false))));
  });
  document.getElementById("all-methods").replaceChildren(...groups.filter(Boolean));
  syncChoices();
}

function methodBox(key, checked) {
  const method = model.methods.find((one) => one.key === key);
  const box = build("input", { type: "checkbox", name: "method", value: key });
  box.checked = checked;
  const cost = ngettext("{n} pass", "{n} passes", method.passes);
  const note = key === model.default ? gettext("default · {cost}", { cost }) : cost;
  const title = gettext("{summary} ({key})", { summary: method.summary, key });
  return build("label", { class: "box", title }, box, build("span", {}, method.words, " ", build("small", { class: "muted" }, note)));
}

function chosenMethods() {
  return [...document.querySelectorAll("input[name=method]:checked")].map((box) => box.value);
}

/** What a method is called. */
function methodWords(key) {
  return model?.methods.find((one) => one.key === key)?.words ?? readable(key);
}

function syncChoices() {
  const methods = chosenMethods();
  const missing = [...held.values()].filter((detail) => methods.some((key) => !detail.maps[key]));
  const button = document.getElementById("explain");
  button.disabled = !missing.length;
  const passes = methods.reduce((sum, key) => sum + (model?.methods.find((one) => one.key === key)?.passes ?? 0), 0);
  const cost = document.getElementById("cost");
  cost.textContent = methods.length
    ? ngettext(
        "Images are explained as they come, with about {n} pass through the model each.",
        "Images are explained as they come, with about {n} passes through the model each.",
        passes,
      )
    : gettext("Choose a method.");
}
