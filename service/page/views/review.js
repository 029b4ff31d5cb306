// Review.

import { heading } from "../components/heading.js";

export const title = "Review";
export const role = "label";

export function mount(root) {
  root.append(heading(title));
  return () => {};
}
