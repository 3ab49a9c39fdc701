/** Changes of access data that a steward collects before they are published together. */

import { useSyncExternalStore } from "react";
import type { AccessDocument, Grant, Rule, TagAssignment } from "@/api/types";

export type Section = "grants" | "tags" | "rules";
export type Item = Grant | TagAssignment | Rule;

/** One item that is to become `after`, or to go when that is null. */
export interface Staged {
  section: Section;
  key: string;
  before: Item | null;
  after: Item | null;
}

export type Draft = readonly Staged[];

/** What tells items of a section apart; as governance/merge.py has it. */
export function keyOf(section: Section, item: Item): string {
  switch (section) {
    case "grants":
      return JSON.stringify([(item as Grant).group, (item as Grant).object]);
    case "tags":
      return JSON.stringify([(item as TagAssignment).object, (item as TagAssignment).tag]);
    case "rules":
      return (item as Rule).id;
  }
}

export function nameOf(section: Section, item: Item): string {
  switch (section) {
    case "grants":
      return `${(item as Grant).object} to ${(item as Grant).group}`;
    case "tags":
      return `${(item as TagAssignment).tag} on ${(item as TagAssignment).object}`;
    case "rules":
      return (item as Rule).id;
  }
}

/** The same whatever the order of keys and of privileges. */
export function same(a: Item | null, b: Item | null): boolean {
  const plain = (item: Item | null) =>
    JSON.stringify(item, (_, value: unknown) =>
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).sort(([x], [y]) => x.localeCompare(y)))
        : value,
    );
  return plain(a) === plain(b);
}

/** A draft with one more item; one that comes out as it was is no change. */
export function stage(
  draft: Draft,
  section: Section,
  before: Item | null,
  after: Item | null,
): Draft {
  const item = after ?? before;
  if (item === null) return draft;
  const key = keyOf(section, item);
  const known = draft.find((one) => one.section === section && one.key === key);
  const original = known ? known.before : before;
  const rest = draft.filter((one) => one !== known);
  return same(original, after) ? rest : [...rest, { section, key, before: original, after }];
}

export interface ShownItem<T extends Item> {
  item: T;
  state: "living" | "added" | "changed" | "removed";
  /** The living form of a changed item. */
  before: T | null;
}

/** The items of a section as they would be, those that would go marked. */
export function withDraft<T extends Item>(
  section: Section,
  living: readonly T[],
  draft: Draft,
): ShownItem<T>[] {
  const staged = new Map(
    draft.filter((one) => one.section === section).map((one) => [one.key, one]),
  );
  const shown: ShownItem<T>[] = living.map((item) => {
    const change = staged.get(keyOf(section, item));
    staged.delete(keyOf(section, item));
    if (change === undefined) return { item, state: "living", before: item };
    if (change.after === null) return { item, state: "removed", before: item };
    return { item: change.after as T, state: "changed", before: item };
  });
  for (const change of staged.values()) {
    if (change.after !== null)
      shown.push({ item: change.after as T, state: "added", before: null });
  }
  return shown;
}

type Items = Record<Section, Record<string, unknown>[]>;

const nothing = (): Items => ({ grants: [], tags: [], rules: [] });

/** What is sent: a grant is taken away before it is given anew, since adding one only joins privileges. */
export function toChange(draft: Draft): { add: Items; remove: Items } {
  const [add, remove] = [nothing(), nothing()];
  for (const { section, before, after } of draft) {
    if (after !== null) add[section].push({ ...after });
    const gone = section === "grants" ? before : after === null ? before : null;
    if (gone !== null) {
      remove[section].push(
        section === "grants"
          ? { group: (gone as Grant).group, object: (gone as Grant).object }
          : { ...gone },
      );
    }
  }
  return { add, remove };
}

/** A draft without what somebody else has done in the meantime. */
export function rebased(draft: Draft, document: AccessDocument): Draft {
  return draft.flatMap((one) => {
    const living =
      (document[one.section] as Item[]).find((item) => keyOf(one.section, item) === one.key) ??
      null;
    return same(living, one.after) ? [] : [{ ...one, before: living }];
  });
}

const KEY = "lab.draft.";
const drafts = new Map<string, Draft>();
const listeners = new Set<() => void>();

function read(username: string): Draft {
  let draft = drafts.get(username);
  if (draft === undefined) {
    draft = [];
    try {
      const kept: unknown = JSON.parse(sessionStorage.getItem(KEY + username) ?? "[]");
      if (Array.isArray(kept)) draft = kept as Draft;
    } catch {
      // Nothing was kept.
    }
    drafts.set(username, draft);
  }
  return draft;
}

/** Keeps a draft for this window, also over a sign-in in between. */
export function setDraft(username: string, draft: Draft): void {
  drafts.set(username, draft);
  try {
    sessionStorage.setItem(KEY + username, JSON.stringify(draft));
  } catch {
    // It holds until the page is left.
  }
  for (const listener of listeners) listener();
}

export function useDraft(username: string): Draft {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => read(username),
  );
}
