// Versions.

import { heading } from "../components/heading.js";

export const title = "Versions";

export function mount(root) {
  root.append(heading(title));
  return () => {};
}
