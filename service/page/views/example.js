// Example.

import { heading } from "../components/heading.js";

export const title = "Example";

export function mount(root) {
  root.append(heading(title));
  return () => {};
}
