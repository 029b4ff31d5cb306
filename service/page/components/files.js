// Files from a file dialog or a drop (folders too).

/** Call `take(files)` with files chosen in a file input, or dropped on its zone. `isWanted(file)` says
 * which ones of a dropped folder. */
export function acceptFiles(zone, input, take, isWanted = () => true) {
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
  zone.addEventListener("dragenter", (event) => light(holdsFiles(event) ? 1 : 0));
  zone.addEventListener("dragleave", () => light(-1));
  zone.addEventListener("dragover", (event) => { if (holdsFiles(event)) event.preventDefault(); });
  zone.addEventListener("drop", async (event) => {
    if (!holdsFiles(event)) return; // a selected text goes into a field by itself
    event.preventDefault();
    light(-depth);
    const files = await dropped(event.dataTransfer, isWanted);
    if (files.length) take(files);
  });
}

const holdsFiles = (event) => event.dataTransfer.types.includes("Files");

/** What is dropped outside a zone must not replace the page. */
export function ignoreStrayDrops() {
  for (const name of ["dragover", "drop"]) {
    window.addEventListener(name, (event) => {
      const isText = !holdsFiles(event) && event.target.closest?.("input, textarea");
      if (!isText) event.preventDefault();
    });
  }
}

async function dropped(transfer, isWanted) {
  // Read the entries before the first await: the list is empty after it.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const files = await Promise.all(entries.map(filesIn));
  return files.flat().filter(isWanted);
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
