// A file that another view hands to the import.

let handed = null;

export function hand(file) {
  handed = file;
}

/** The file, once; null: none. */
export function takeHanded() {
  const file = handed;
  handed = null;
  return file;
}
