// Texts out of what was typed, pasted or dropped.

/** The lines that are not blank, each a text. */
export const linesOf = (text) => text.split(/\r\n|\r|\n/).map((line) => line.trim()).filter(Boolean);

/** What a file of texts is by its name: `lines`, `import` or null. */
export function sortOf({ name, type }) {
  if (/\.(csv|tsv|jsonl|ndjson|json|zip)$/i.test(name)) return "import";
  return /\.(txt|text|log|md)$/i.test(name) || type === "text/plain" ? "lines" : null;
}

const UTF16 = [[0xff, 0xfe, "utf-16le"], [0xfe, 0xff, "utf-16be"]];

/** The text of a file; its byte order mark says if it is not UTF-8. Throws TypeError if it is neither. */
export async function readFile(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const [, , encoding] = UTF16.find(([first, second]) => bytes[0] === first && bytes[1] === second) ?? [];
  return new TextDecoder(encoding ?? "utf-8", { fatal: true }).decode(bytes);
}
