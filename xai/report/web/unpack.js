// Texts that the page holds packed: base64 of gzip.

async function unpack(id) {
  const text = document.getElementById(id).textContent.trim();
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

/** Run a packed script; the page's policy names its digest. */
async function runPacked(id) {
  const script = document.createElement("script");
  script.textContent = await unpack(id);
  document.head.append(script); // runs at once
  script.remove(); // a page that a browser saves as it stands would run it twice, and before its body is there
}
