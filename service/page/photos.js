// Photos on their way in: from a file dialog, a drop (folders too) or the clipboard; and a queue.

/** Call `take(files)` for photos that are chosen in or dropped on a label with a file input. */
export function acceptPhotos(zone, input, take) {
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // so that the same file can be chosen again
    if (files.length) take(files);
  });
  // Leaving for a child of the zone also fires dragleave; counting keeps the frame lit.
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

export function acceptPaste(take) {
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((f) => f.type.startsWith("image/"));
    if (!files.length) return;
    event.preventDefault();
    take(files);
  });
}

/** A photo that misses its zone must not replace the page with itself. */
export function ignoreStrayDrops() {
  for (const name of ["dragover", "drop"]) {
    window.addEventListener(name, (event) => event.preventDefault());
  }
}

async function dropped(transfer) {
  // The entries must be taken at once: the list is empty after the first await.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = await Promise.all(entries.map(filesIn));
  return found.flat().filter((file) => file.type.startsWith("image/"));
}

async function filesIn(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // It answers a hundred at a time, and with none at the end.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found;
    found.push(...(await Promise.all(some.map(filesIn))).flat());
  }
}

/** Do `work(item)` for each item, at most `width` at a time, in order of arrival. */
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
