// All that a page runs as it stands: its script, unpacked. A browser too old for that is told so.

runPacked("data-script").catch((error) => {
  document.getElementById("failure").hidden = false;
  console.error(error);
});
