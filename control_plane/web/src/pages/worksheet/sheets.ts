import { useSyncExternalStore } from "react";
import { load, save } from "@/lib/storage";
import type { ParameterValue } from "@/query/parametervalues";
import type { Run } from "@/query/run";

/** A worksheet of this browser. Its text is kept here, its rows never are. */
export interface Sheet {
  id: string;
  title: string;
  text: string;
  catalog: string | null;
  namespace: string | null;
  maxRows: number | null;
  parameters: Record<string, ParameterValue>;
  /** The saved query that it was opened from, and the version that a change is based on. */
  saved: { id: string; version: number; text: string } | null;
  /** The last query that was run from it, for finding its result again. */
  queryId: string | null;
}

export interface Sheets {
  sheets: readonly Sheet[];
  activeId: string;
}

export const DEFAULT_MAX_ROWS = 10_000;
const MOST_SHEETS = 20;

export function newSheet(parts: Partial<Sheet> = {}, number = 1): Sheet {
  return {
    id: crypto.randomUUID(),
    title: `Worksheet ${number}`,
    text: "",
    catalog: null,
    namespace: null,
    maxRows: DEFAULT_MAX_ROWS,
    parameters: {},
    saved: null,
    queryId: null,
    ...parts,
  };
}

function isSheets(value: unknown): value is Sheets {
  const found = value as Sheets | null;
  return (
    typeof found === "object" &&
    found !== null &&
    Array.isArray(found.sheets) &&
    found.sheets.length > 0 &&
    found.sheets.every(
      (sheet) =>
        typeof sheet === "object" &&
        typeof sheet.id === "string" &&
        typeof sheet.text === "string" &&
        typeof sheet.title === "string" &&
        typeof sheet.parameters === "object",
    ) &&
    found.sheets.some((sheet) => sheet.id === found.activeId)
  );
}

/** The lowest number that no worksheet's name has. */
export function nextNumber(sheets: readonly Sheet[]): number {
  const used = new Set(sheets.map((sheet) => sheet.title));
  let number = 1;
  while (used.has(`Worksheet ${number}`)) number += 1;
  return number;
}

/** The worksheets of one user in this browser, and the runs that belong to them. */
export class SheetStore {
  private current: Sheets;
  private readonly listeners = new Set<() => void>();
  private readonly runs = new Map<string, Run>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly key: string) {
    const first = newSheet();
    this.current = load<Sheets>(key, { sheets: [first], activeId: first.id }, isSheets);
    window.addEventListener("pagehide", () => save(this.key, this.current));
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): Sheets => this.current;

  run(id: string): Run | undefined {
    return this.runs.get(id);
  }

  setRun(id: string, run: Run): void {
    this.runs.set(id, run);
    this.change({ ...this.current });
  }

  /** Opens a new worksheet; the oldest ones that hold nothing make room. */
  open(parts: Partial<Sheet> = {}): Sheet {
    const sheet = newSheet(parts, nextNumber(this.current.sheets));
    const kept = this.current.sheets.filter(
      (one) => one.text.trim() !== "" || this.runs.has(one.id),
    );
    const sheets = [...kept, sheet].slice(-MOST_SHEETS);
    this.change({ sheets, activeId: sheet.id });
    return sheet;
  }

  activate(id: string): void {
    this.change({ ...this.current, activeId: id });
  }

  update(id: string, parts: Partial<Sheet>): void {
    const sheets = this.current.sheets.map((one) => (one.id === id ? { ...one, ...parts } : one));
    this.change({ ...this.current, sheets });
  }

  /** Closes a worksheet and cancels what runs in it. There is always one. */
  close(id: string): void {
    void this.runs
      .get(id)
      ?.cancel()
      .catch(() => undefined);
    this.runs.delete(id);
    const at = this.current.sheets.findIndex((one) => one.id === id);
    const sheets = this.current.sheets.filter((one) => one.id !== id);
    if (sheets.length === 0) sheets.push(newSheet());
    const next = sheets[Math.min(Math.max(0, at), sheets.length - 1)];
    const activeId = this.current.activeId === id ? next?.id : this.current.activeId;
    this.change({ sheets, activeId: activeId ?? sheets[0]?.id ?? "" });
  }

  private change(next: Sheets): void {
    this.current = next;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => save(this.key, this.current), 400);
    for (const listener of this.listeners) listener();
  }
}

const stores = new Map<string, SheetStore>();

/** The store of a user; worksheets of two people who share a browser stay apart. */
export function sheetStore(username: string): SheetStore {
  let store = stores.get(username);
  if (store === undefined) {
    store = new SheetStore(`sheets.${username}`);
    stores.set(username, store);
  }
  return store;
}

export function useSheets(store: SheetStore): Sheets {
  return useSyncExternalStore(store.subscribe, store.snapshot);
}
