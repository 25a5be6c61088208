// The page's beginning, and what is done with each event.

const jobs = new Map(); // id → event, of jobs that wait or run

function startTheme() {
  document.getElementById("theme").addEventListener("change", (event) => {
    if (event.target.value) document.documentElement.dataset.theme = event.target.value;
    else delete document.documentElement.dataset.theme;
    drawBrush();
  });
}

/** The work that runs, and how much waits. */
function showQueue() {
  // what takes an instant would only flicker
  const slow = [...jobs.values()].filter((job) => !job.urgent || job.total > 1 || job.slow);
  const queue = document.getElementById("queue");
  queue.hidden = !slow.length;
  if (!slow.length) return;
  const first = slow.find((job) => job.state === "running") ?? slow[0];
  const counted = first.total > 1 ? gettext("{what}: {done} of {total}", first) : first.what;
  const waiting = slow.length > 1 ? ngettext("{n} more waits.", "{n} more wait.", slow.length - 1) : "";
  document.getElementById("doing").textContent = joined([readable(counted), waiting].filter(Boolean));
  const progress = document.getElementById("progress");
  if (first.total > 1) progress.value = first.done / first.total;
  else progress.removeAttribute("value");
  document.getElementById("cancel").dataset.job = first.id;
}

function startQueue() {
  document.getElementById("cancel").addEventListener("click", (event) => {
    guardedly(() => ask("DELETE", `jobs/${event.target.dataset.job}`));
  });
}

function addJob(event) {
  noteEnd(event);
  if (ENDED.includes(event.state)) jobs.delete(event.id);
  else jobs.set(event.id, event);
  if (event.state === "failed") showFailure(new Error(sentenceOf(event.message, event.hint)));
  if (event.urgent && event.state === "running") {
    setTimeout(() => {
      if (!jobs.has(event.id)) return;
      jobs.get(event.id).slow = true;
      showQueue();
    }, 700);
  }
  showQueue();
}

let hearing = Promise.resolve(); // events are taken in one after the other, though some wait for pictures

const HEARD = {
  hello: async (event) => {
    showModels(event.models);
    jobs.clear();
    if (event.model.state) showModel(event.model);
    for (const id of [...held.keys()]) if (!event.images.some((one) => one.id === id)) forget(id);
    for (const one of event.images) await hold(one, false);
    event.maps.forEach(addMaps);
    event.jobs.forEach(addJob);
    showQueue();
    document.documentElement.dataset.ready = "true";
  },
  model: showModel,
  image: (event) => hold(event, true),
  removed: ({ id }) => forget(id),
  map: addMaps,
  unexplained: addRefusal,
  region: addRegion,
  file: (event) => made.set(event.job, event),
  job: addJob,
};

function hear(event) {
  hearing = hearing.then(() => guardedly(() => HEARD[event.kind]?.(event)));
}

[startTheme, startFailures, startImages, startChoices, startBrush, startScore, startSaving, startQueue].forEach((part) => guardedly(part));
listenToServer(hear);
