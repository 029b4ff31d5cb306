// Data.

import { heading } from "../components/heading.js";

export const title = "Data";
export const role = "label";

export function mount(root) {
  root.append(heading(title));
  return () => {};
}
