// Photos from a file dialog, a drop (folders too) or the clipboard, and a queue for them.

/** Call `take(files)` with photos chosen in a file input, or dropped on its label. */
export function acceptPhotos(zone, input, take) {
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // so that the same file can be chosen again
    if (files.length) take(files);
  });
  // Entering a child of the zone also fires dragleave; the count keeps the frame lit.
  let depth = 0;
  const light = (change) => {
    depth = Math.max(0, depth + change);
    zone.classList.toggle("over", depth > 0);
  };
  zone.addEventListener("dragenter", () => light(1));
  zone.addEventListener("dragleave", () => light(-1));
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    light(-depth);
    const files = await dropped(event.dataTransfer);
    if (files.length) take(files);
  });
}

/** Returns the function that ends it. */
export function acceptPaste(take) {
  const hear = (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((f) => f.type.startsWith("image/"));
    if (!files.length) return;
    event.preventDefault();
    take(files);
  };
  document.addEventListener("paste", hear);
  return () => document.removeEventListener("paste", hear);
}

/** A photo dropped outside a zone must not replace the page. */
export function ignoreStrayDrops() {
  for (const name of ["dragover", "drop"]) {
    window.addEventListener(name, (event) => event.preventDefault());
  }
}

async function dropped(transfer) {
  // Read the entries before the first await: the list is empty after it.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const files = await Promise.all(entries.map(filesIn));
  return files.flat().filter((file) => file.type.startsWith("image/"));
}

async function filesIn(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const files = [];
  for (;;) {
    // It returns up to a hundred entries a call, and none at the end.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return files;
    files.push(...(await Promise.all(some.map(filesIn))).flat());
  }
}

/** Run `work(item)` for each item in order, at most `width` concurrently. */
export function makeQueue(width, work) {
  const waiting = [];
  let active = 0;
  const next = () => {
    while (active < width && waiting.length) {
      const { item, done } = waiting.shift();
      active += 1;
      work(item).finally(() => {
        active -= 1;
        done();
        next();
      });
    }
  };
  return (item) =>
    new Promise((done) => {
      waiting.push({ item, done });
      next();
    });
}
