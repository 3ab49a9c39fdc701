/** What the reader of a page does with it: pages ask by themselves, too, and an open one is no use of the lab. */
const INPUT = ["keydown", "pointerdown", "pointermove", "wheel"] as const;

let lastInput = Date.now();

/** Begins to watch what the reader does. */
export function watchInput(target: EventTarget = window): void {
  const noted = () => {
    lastInput = Date.now();
  };
  for (const kind of INPUT) target.addEventListener(kind, noted, { capture: true, passive: true });
}

/** The header by which the API tells a reader's request from one that the page made by itself. */
export function idleHeaders(): Record<string, string> {
  return { "X-Idle-S": String(Math.max(0, Math.floor((Date.now() - lastInput) / 1000))) };
}
