// Try.

import { heading } from "../components/heading.js";

export const title = "Try";

export function mount(root) {
  root.append(heading(title));
  return () => {};
}
