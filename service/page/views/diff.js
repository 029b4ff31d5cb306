// Diff.

import { heading } from "../components/heading.js";

export const title = "Diff";

export function mount(root) {
  root.append(heading(title));
  return () => {};
}
