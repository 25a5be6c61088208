// Requests to the program that served the page, and what it tells of changes.

const HERE = location.pathname.endsWith("/") ? location.pathname : `${location.pathname}/`;
const ENDED = ["done", "stopped", "failed"];
const ended = new Map(); // job → its last event, of jobs that have ended
const awaited = new Map(); // job → what is called when it ends
const made = new Map(); // job → the file that it made

/** Ask the program for something; its answer, or an error that can be shown. */
async function ask(method, path, content) {
  const raw = content instanceof Blob;
  const type = raw ? "application/octet-stream" : "application/json";
  const body = raw || content === undefined ? content : JSON.stringify(content);
  const headers = content === undefined ? {} : { "Content-Type": type };
  let response;
  try {
    response = await fetch(HERE + path, { method, body, headers });
  } catch {
    throw new Error(gettext("The program does not answer. Was it ended? Start xai serve again."));
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const message = answer.message ?? gettext("The program refused this ({status}).", { status: response.status });
  throw new Error(sentenceOf(message, answer.hint));
}

function sentenceOf(message, hint) {
  return hint ? `${message} ${hint}` : message; // errors are in English on every page
}

/** Ask for work, and wait until it is done or stopped; false where it was stopped or failed. */
async function worked(path, content) {
  const { job } = await ask("POST", path, content);
  if (!ended.has(job)) await new Promise((done) => awaited.set(job, done));
  return ended.get(job).state === "done" ? job : null;
}

function noteEnd(event) {
  if (!ENDED.includes(event.state)) return;
  ended.set(event.id, event);
  awaited.get(event.id)?.();
  awaited.delete(event.id);
}

/** Listen to the program; `hear` is given each event, also those since it last answered. */
function listenToServer(hear) {
  const source = new EventSource(`${HERE}events`);
  source.addEventListener("message", (message) => guardedly(() => hear(JSON.parse(message.data))));
  source.addEventListener("error", () => {
    // a stream that ended for good, or one that is tried again
    for (const done of awaited.values()) done();
    awaited.clear();
    document.getElementById("model-words").textContent = gettext("The program does not answer.");
  });
}

/** Show what went wrong, in its own words; the same is said once. */
function showFailure(error) {
  const words = readable(error?.message ?? error);
  const list = document.getElementById("failures");
  if (![...list.children].some((one) => one.textContent === words)) list.append(build("li", {}, words));
  while (list.childElementCount > 8) list.firstElementChild.remove();
  document.getElementById("failure").hidden = false;
}

function startFailures() {
  document.getElementById("dismiss").addEventListener("click", () => {
    document.getElementById("failure").hidden = true;
    document.getElementById("failures").replaceChildren();
    document.getElementById("name").focus();
  });
}

async function guardedly(part) {
  try {
    await part();
  } catch (error) {
    showFailure(error);
  }
}
