// Learn.

import { heading } from "../components/heading.js";

export const title = "Learn";

export function mount(root) {
  root.append(heading(title));
  return () => {};
}
