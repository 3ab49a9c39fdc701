import type { Column, Row, Value } from "@/api/types";
import { shown } from "./nested";

/** A value as text, in full; null has none. Values are shown as text nodes only, never as markup. */
export function valueText(value: Value): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return value;
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

/** Text of one line for a cell: line breaks shown, the rest left out after `limit` characters. */
export function cellText(value: Value, limit = 300): string {
  const text = valueText(value);
  const head = text.length > limit ? `${text.slice(0, limit)}…` : text;
  return head.replace(/\r\n|\n|\r/g, "↵").replace(/\t/g, "⇥");
}

/** Pretty JSON for what has members, the text itself otherwise. */
export function detailText(value: Value): string {
  if (typeof value === "object" && value !== null) return JSON.stringify(value, null, 2);
  const text = valueText(value);
  if (/^[[{]/.test(text)) {
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  }
  return text;
}

export function isRightAligned(column: Column): boolean {
  return column.kind === "number";
}

const CHARACTER_PX = 7.25;
const PADDING_PX = 26;
const [NARROWEST_PX, WIDEST_PX] = [64, 380];

/** Widths in pixels that fit the columns' names, types and the given rows. */
export function fittingWidths(columns: readonly Column[], rows: readonly Row[]): number[] {
  return columns.map((column, index) => {
    let longest = Math.max(column.name.length + 1, column.type.length * 0.85);
    for (const row of rows)
      longest = Math.max(longest, cellText(shown(row[index], column), 60).length);
    const width = Math.ceil(longest * CHARACTER_PX) + PADDING_PX;
    return Math.min(WIDEST_PX, Math.max(NARROWEST_PX, width));
  });
}

/** Rows as text to paste into a spreadsheet: tabs between values, line breaks and tabs inside replaced. */
export function tabSeparated(rows: readonly Row[]): string {
  return rows
    .map((row) => row.map((value) => valueText(value).replace(/[\t\r\n]+/g, " ")).join("\t"))
    .join("\n");
}
