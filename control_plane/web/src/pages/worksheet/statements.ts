/** Places in a text of several statements. All pure. */

import type { Completion, StatementInfo } from "@/api/types";

export interface Piece {
  text: string;
  /** Where it begins in the whole text, in UTF-16 code units. */
  offset: number;
}

/**
 * Where statements lie in a text: semicolons outside of quotes and comments part them. For the moment that
 * the API has not answered yet; what it says of a text wins.
 */
export function split(text: string): Piece[] {
  const pieces: Piece[] = [];
  const token = /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|'(?:[^']|'')*(?:'|$)|"(?:[^"]|"")*(?:"|$)|;/g;
  let start = 0;
  const add = (end: number) => {
    const raw = text.slice(start, end);
    const lead = raw.length - raw.trimStart().length;
    if (raw.trim() !== "") pieces.push({ text: raw.trim(), offset: start + lead });
  };
  for (const match of text.matchAll(token)) {
    if (match[0] === ";") {
      add(match.index);
      start = match.index + 1;
    }
  }
  add(text.length);
  return pieces;
}

/** The statement that the cursor stands in or behind; the last one before it where it stands between two. */
export function pieceAt(pieces: readonly Piece[], position: number): Piece | undefined {
  let found = pieces[0];
  for (const piece of pieces) if (piece.offset <= position) found = piece;
  return found;
}

/** What the API said of the statement that begins at `offset`. */
export function infoAt(
  statements: readonly StatementInfo[],
  offset: number,
): StatementInfo | undefined {
  return statements.find((one) => one.start <= offset && offset < Math.max(one.end, one.start + 1));
}

/** Line and column, each from 1, as a position in `text`; outside of it the nearest one. */
export function positionOf(text: string, line: number, column: number): number {
  let start = 0;
  for (let current = 1; current < line; current += 1) {
    const next = text.indexOf("\n", start);
    if (next < 0) return text.length;
    start = next + 1;
  }
  const end = text.indexOf("\n", start);
  return Math.min(start + Math.max(0, column - 1), end < 0 ? text.length : end);
}

/** The end of the word at a position: what an error is underlined for. At least one character. */
export function wordEnd(text: string, position: number): number {
  const match = /^[\w$]+|^"(?:[^"]|"")*"|^'(?:[^']|'')*'/.exec(
    text.slice(position, position + 200),
  );
  return Math.min(text.length, position + (match ? match[0].length : 1));
}

export interface ScopedColumn {
  name: string;
  type: string;
  table: string;
}

const unquoted = (name: string) => name.replace(/^"|"$/g, "").toLowerCase();

/** Columns of the tables that a statement names after FROM, JOIN, INTO or UPDATE. */
export function columnsInScope(
  statement: string,
  completion: Completion,
  namespace: string | null,
): ScopedColumn[] {
  const found = new Map<string, ScopedColumn>();
  const named =
    /\b(?:from|join|into|update|table)\s+((?:"[^"]+"|[\w$]+)(?:\s*\.\s*(?:"[^"]+"|[\w$]+))*)/gi;
  for (const match of statement.matchAll(named)) {
    const parts = (match[1] ?? "").split(/\s*\.\s*/).map(unquoted);
    const table = parts.at(-1);
    const space = parts.at(-2) ?? namespace;
    const holder = completion.namespaces.find(
      (one) => one.name.toLowerCase() === space?.toLowerCase(),
    );
    const known = holder?.tables.find((one) => one.name.toLowerCase() === table);
    for (const [name, type] of Object.entries(known?.columns ?? {})) {
      found.set(`${table}.${name}`, { name, type, table: table ?? "" });
    }
  }
  return [...found.values()];
}

const PLAIN = /^[a-z_][a-z0-9_]*$/;

/** A name as SQL takes it, in quotes where it has to be. */
export function quoted(name: string): string {
  return PLAIN.test(name) ? name : `"${name.replace(/"/g, '""')}"`;
}
