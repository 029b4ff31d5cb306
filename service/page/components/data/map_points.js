// The points of the map as arrays: which are near a place, which are within a lasso. It draws nothing.

/** Columns of /v1/map. */
export function readPoints({ ids, x, y, labels, names, predicted, held_out: heldOut }) {
  const counts = names.map(() => 0);
  for (const label of labels) if (label >= 0) counts[label] += 1;
  // The classes by how many points they have: this order gives them their colours.
  const order = names.map((_, k) => k).filter((k) => counts[k] > 0).sort((one, other) => counts[other] - counts[one]);
  const places = names.map(() => -1);
  order.forEach((k, place) => { places[k] = place; });
  return { ids, x, y, labels, names, predicted, heldOut, counts, order, places, length: ids.length };
}

// The axes mean nothing by themselves: a wide window may stretch the map so much.
const MAX_STRETCH = 1.7;

/** A view of the map: pixels = offset + scale * coordinate, and across `stretch` times as much. It fits
 * -1 to 1 both ways. */
export function fitted(width, height, margin = 16) {
  const scale = Math.max(1, Math.min(width, height) / 2 - margin);
  return { scale, stretch: Math.min(MAX_STRETCH, Math.max(1, (width / 2 - margin) / scale)), dx: width / 2, dy: height / 2 };
}

/** The view zoomed by a factor, with the pixel (px, py) in its place. */
export function zoomed({ scale, stretch, dx, dy }, factor, px, py, smallest, largest) {
  const next = Math.min(largest, Math.max(smallest, scale * factor));
  const ratio = next / scale;
  return { scale: next, stretch, dx: px - (px - dx) * ratio, dy: py - (py - dy) * ratio };
}

/** The index of the point nearest to a pixel, at most `within` pixels away; -1: none. */
export function nearest(points, { scale, stretch, dx, dy }, px, py, within, isShown) {
  const x = (px - dx) / scale / stretch;
  const y = (py - dy) / scale;
  let best = -1;
  let least = (within / scale) ** 2;
  for (let i = 0; i < points.length; i += 1) {
    const distance = ((points.x[i] - x) * stretch) ** 2 + (points.y[i] - y) ** 2;
    if (distance < least && isShown(i)) {
      least = distance;
      best = i;
    }
  }
  return best;
}

/** The indices of the points within a closed line of pixels [[px, py], ...]. */
export function inside(points, { scale, stretch, dx, dy }, line, isShown) {
  const corners = line.map(([px, py]) => [(px - dx) / scale / stretch, (py - dy) / scale]);
  const found = [];
  for (let i = 0; i < points.length; i += 1) {
    if (isShown(i) && isWithin(points.x[i], points.y[i], corners)) found.push(i);
  }
  return found;
}

/** Whether a ray from the point crosses the line an odd number of times. */
function isWithin(x, y, corners) {
  let within = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i, i += 1) {
    const [xi, yi] = corners[i];
    const [xj, yj] = corners[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) within = !within;
  }
  return within;
}
