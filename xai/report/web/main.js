// Unpack the page and start its parts.

function startTheme() {
  const switched = document.getElementById("theme");
  switched.addEventListener("change", (event) => {
    if (event.target.value) document.documentElement.dataset.theme = event.target.value;
    else delete document.documentElement.dataset.theme;
  });
}

function showFailure(error) {
  const notice = document.getElementById("failure");
  notice.hidden = false;
  notice.textContent = gettext(
    "Part of this page could not be shown. {cause} Headings, predictions and tables can still be read.",
    { cause: `${error?.message ?? error}` },
  );
  console.error(error);
}

/** A part that fails leaves the others alone. */
async function guarded(part) {
  try {
    await part();
  } catch (error) {
    showFailure(error);
  }
}

async function start() {
  startTheme();
  await loadPage();
  startState();
  await Promise.all([() => enhanceTables(), () => drawCharts(), () => startViewer(), () => startTimeline(), () => startFolds()].map(guarded));
  await guarded(() => startSheet());
  document.documentElement.dataset.ready = "true";
}

start().catch(showFailure);
