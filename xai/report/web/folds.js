// Folds: a link into one opens it, from the page or from an address.

function startFolds() {
  window.addEventListener("hashchange", openAddressed);
  for (const link of document.querySelectorAll('main a[href^="#"]')) {
    link.addEventListener("click", () => link.hash === location.hash && openAddressed()); // no change of the address
  }
  openAddressed();
}

/** Open what folds the element that the address names, and go there. */
function openAddressed() {
  const found = document.getElementById(decodedFragment());
  if (!found || !found.closest("main")) return;
  if (found instanceof HTMLDetailsElement) found.open = true;
  let fold = found.parentElement.closest("details");
  for (; fold; fold = fold.parentElement.closest("details")) fold.open = true;
  found.scrollIntoView();
}

function decodedFragment() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return location.hash.slice(1); // no UTF-8: nothing of ours is named so
  }
}
