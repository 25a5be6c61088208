// Tiles of the overview: the map of what an image was judged to be, painted when the tile comes into view.

const tilesInView = new Set(); // canvases; those out of view keep what they show
let tilesTurn = 0;

function startThumbs(tiles) {
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const canvas = target.firstElementChild;
      if (!isIntersecting) {
        leaveThumb(canvas);
        continue;
      }
      tilesInView.add(canvas);
      paintThumb(canvas, tilesTurn);
    }
  });
  tiles.querySelectorAll(".thumb").forEach((tile) => observer.observe(tile));
  listen(() => {
    tilesTurn += 1;
    requestAnimationFrame(() => tilesInView.forEach((canvas) => paintThumb(canvas, tilesTurn)));
  });
}

/** Paint a tile as it looks in turn `turn` of the controls, unless it does already. */
async function paintThumb(canvas, turn) {
  if (canvas.dataset.turn === String(turn) || turn !== tilesTurn) return;
  const place = Number(canvas.parentElement.dataset.place);
  const found = await detail(place);
  if (turn !== tilesTurn || !tilesInView.has(canvas)) return;
  canvas.dataset.turn = turn;
  const [left, top, right, bottom] = found.entry.view;
  const width = Math.min(THUMB, (THUMB * (right - left)) / (bottom - top));
  paintMap(canvas, found, mapFor(found, look.rowA, thumbLabel(found)), look, { width });
}

/** The class that was chosen or followed, else the one that the image was judged to be. */
function thumbLabel(found) {
  const { target, predicted } = found.entry;
  const wanted = look.own ? (target ?? predicted) : look.label;
  const names = Object.keys(found.maps[look.rowA] ?? {});
  return names.includes(wanted) || !look.own ? wanted : names[0];
}

/** What a tile was painted from is given back, unless the large image holds it. */
function leaveThumb(canvas) {
  tilesInView.delete(canvas);
  const place = Number(canvas.parentElement.dataset.place);
  if (!views.has(place)) details.delete(place);
}
