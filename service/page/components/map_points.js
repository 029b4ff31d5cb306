// The points of the map as arrays: which are near a place, which are within a lasso. It draws nothing.

/** Columns of /v1/map. */
export function readPoints({ ids, x, y, labels, names, predicted, held_out: heldOut }) {
  const counts = names.map(() => 0);
  for (const label of labels) counts[label] += 1;
  // The classes by how many points they have: this order gives them their colours.
  const order = names.map((_, k) => k).filter((k) => counts[k] > 0).sort((one, other) => counts[other] - counts[one]);
  const places = names.map(() => -1);
  order.forEach((k, place) => { places[k] = place; });
  return { ids, x, y, labels, names, predicted, heldOut, counts, order, places, length: ids.length };
}

/** A view of the map: pixels = offset + scale * coordinate. It fits the square of -1 to 1. */
export function fitted(width, height, margin = 16) {
  const scale = Math.max(1, Math.min(width, height) / 2 - margin);
  return { scale, dx: width / 2, dy: height / 2 };
}

/** The view zoomed by a factor, with the pixel (px, py) in its place. */
export function zoomed({ scale, dx, dy }, factor, px, py, smallest, largest) {
  const next = Math.min(largest, Math.max(smallest, scale * factor));
  const ratio = next / scale;
  return { scale: next, dx: px - (px - dx) * ratio, dy: py - (py - dy) * ratio };
}

/** The index of the point nearest to a pixel, at most `within` pixels away; -1: none. */
export function nearest(points, { scale, dx, dy }, px, py, within, isShown) {
  const x = (px - dx) / scale;
  const y = (py - dy) / scale;
  let best = -1;
  let least = (within / scale) ** 2;
  for (let i = 0; i < points.length; i += 1) {
    const distance = (points.x[i] - x) ** 2 + (points.y[i] - y) ** 2;
    if (distance < least && isShown(i)) {
      least = distance;
      best = i;
    }
  }
  return best;
}

/** The indices of the points within a closed line of pixels [[px, py], ...]. */
export function inside(points, { scale, dx, dy }, line, isShown) {
  const corners = line.map(([px, py]) => [(px - dx) / scale, (py - dy) / scale]);
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
