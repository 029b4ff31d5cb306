// Draws the points of the map. A class has a colour and a shape, so that it can be told apart without
// seeing colours too.

const COLOURS = 8; // --class-0 to --class-7 of the stylesheet
const SHAPES = ["circle", "square", "triangle", "diamond"];

/** Colour and shape of the class at a place, 0 for the largest. */
export const lookOf = (place) => ({ colour: place % COLOURS, shape: SHAPES[Math.floor(place / COLOURS) % SHAPES.length] });

/** The colours of the stylesheet, which are others when it is dark. */
export function readColours(element) {
  const style = getComputedStyle(element);
  const value = (name) => style.getPropertyValue(name).trim();
  return { classes: Array.from({ length: COLOURS }, (_, k) => value(`--class-${k}`)), ink: value("--ink"), accent: value("--accent") };
}

export function trace(context, shape, x, y, radius) {
  if (shape === "circle") {
    context.moveTo(x + radius, y);
    context.arc(x, y, radius, 0, 2 * Math.PI);
  } else if (shape === "square") {
    const side = radius * 0.9;
    context.rect(x - side, y - side, 2 * side, 2 * side);
  } else if (shape === "triangle") {
    const side = radius * 1.2;
    context.moveTo(x, y - side);
    context.lineTo(x + side, y + side * 0.8);
    context.lineTo(x - side, y + side * 0.8);
    context.closePath();
  } else {
    const side = radius * 1.3;
    context.moveTo(x, y - side);
    context.lineTo(x + side, y);
    context.lineTo(x, y + side);
    context.lineTo(x - side, y);
    context.closePath();
  }
}

/**
 * `only` is a place in `points.order`, or null for all classes. `chosen` are indices, `under` is the
 * index below the pointer or -1, and `line` the lasso in pixels.
 */
export function drawMap(canvas, points, { view, colours, only, chosen, under, line }) {
  const ratio = window.devicePixelRatio || 1;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const width = canvas.width / ratio;
  const height = canvas.height / ratio;
  context.clearRect(0, 0, width, height);
  const radius = radiusOf(points, view);
  const at = (i) => [view.dx + view.scale * view.stretch * points.x[i], view.dy + view.scale * points.y[i]];
  const groups = points.order.map(() => []);
  for (let i = 0; i < points.length; i += 1) {
    const [x, y] = at(i);
    if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
    groups[points.places[points.labels[i]]]?.push(x, y);
  }
  // The small classes last, above the large ones.
  groups.forEach((group, place) => {
    const { colour, shape } = lookOf(place);
    context.globalAlpha = only === null || only === place ? 0.85 : 0.08;
    context.fillStyle = colours.classes[colour];
    context.beginPath();
    for (let k = 0; k < group.length; k += 2) trace(context, shape, group[k], group[k + 1], radius);
    context.fill();
  });
  context.globalAlpha = 1;
  context.strokeStyle = colours.ink;
  context.lineWidth = 1.5;
  context.beginPath();
  for (const i of [...chosen, ...(under < 0 ? [] : [under])]) trace(context, "circle", ...at(i), radius + 2);
  context.stroke();
  if (line.length > 1) drawLasso(context, line, colours);
}

const radiusOf = (points, view) => Math.min(8, Math.max(2, (points.length < 2000 ? 3.6 : 2.4) * Math.sqrt(view.scale / 250)));

function drawLasso(context, line, colours) {
  context.strokeStyle = colours.accent;
  context.fillStyle = colours.accent;
  context.lineWidth = 1.5;
  context.beginPath();
  line.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
  context.stroke();
  context.globalAlpha = 0.1;
  context.fill();
  context.globalAlpha = 1;
}
