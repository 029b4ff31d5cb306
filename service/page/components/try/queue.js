// A queue of work that takes a server's time.

/** Run `work(item)` for each item in order, at most `width()` concurrently. */
export function makeQueue(width, work) {
  const waiting = [];
  let active = 0;
  const next = () => {
    while (active < width() && waiting.length) {
      const { item, done } = waiting.shift();
      active += 1;
      work(item).finally(() => {
        active -= 1;
        done();
        next();
      });
    }
  };
  return (item) =>
    new Promise((done) => {
      waiting.push({ item, done });
      next();
    });
}
