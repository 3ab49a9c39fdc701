import { useEffect, useRef, useSyncExternalStore } from "react";
import { isBoolean, load, save } from "./storage";

/** Single letters as shortcuts can be in the way of speech input: they can be switched off (WCAG 2.1.4). */
const KEY = "letterKeys";
const listeners = new Set<() => void>();
let letters = load(KEY, true, isBoolean);

export function setLetterKeys(on: boolean): void {
  letters = on;
  save(KEY, on);
  for (const listener of listeners) listener();
}

export function useLetterKeys(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => letters,
  );
}

/** Whether a key pressed in this element is text. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  // The editor lives in a shadow root; its host is marked, since the event names the host here.
  return (
    target.isContentEditable ||
    ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName) ||
    target.dataset.editor !== undefined
  );
}

/** The name of a key press, as `Hotkeys` are keyed: "Mod+k", "?", "g". */
export function keyName(
  event: Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "altKey">,
): string {
  const mod = event.ctrlKey || event.metaKey ? "Mod+" : "";
  const alt = event.altKey ? "Alt+" : "";
  return mod + alt + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
}

export type Hotkeys = Readonly<Record<string, () => void>>;

const SEQUENCE_MS = 1500;

/** What to do for `name` after `before`: a sequence ("g w") first, then a single key. */
export function matching(hotkeys: Hotkeys, before: string, name: string): string | undefined {
  const sequence = `${before} ${name}`;
  if (before !== "" && sequence in hotkeys) return sequence;
  return name in hotkeys ? name : undefined;
}

/**
 * Calls what the pressed keys are named for: "Mod+Enter", "?", or a sequence as "g w". Keys without a
 * modifier do nothing while somebody types or has switched them off.
 */
export function useHotkeys(hotkeys: Hotkeys): void {
  const current = useRef(hotkeys);
  current.current = hotkeys;
  useEffect(() => {
    let before = "";
    let at = 0;
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.isComposing) return;
      const name = keyName(event);
      const plain = !name.includes("+");
      if (plain && (isTyping(event.target) || !letters)) return;
      const recent = event.timeStamp - at < SEQUENCE_MS ? before : "";
      const found = matching(current.current, recent, name);
      [before, at] = [plain ? name : "", event.timeStamp];
      if (found === undefined) return;
      event.preventDefault();
      before = "";
      current.current[found]?.();
    };
    window.addEventListener("keydown", onKeyDown);
    return () => window.removeEventListener("keydown", onKeyDown);
  }, []);
}
