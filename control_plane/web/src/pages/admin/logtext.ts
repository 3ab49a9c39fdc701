/** Lines of a log that grows. All pure. */

import type { LogLines } from "@/api/types";

/** More than these are forgotten, the oldest first. */
export const MOST_LINES = 5000;

export interface LogText {
  lines: readonly string[];
  /** There are older lines that are not here. */
  skipped: boolean;
  /** Where the following lines begin; undefined before the first were read. */
  next: number | undefined;
}

export const EMPTY_LOG: LogText = { lines: [], skipped: false, next: undefined };

export function appended(
  before: LogText,
  part: Pick<LogLines, "lines" | "next" | "skipped">,
): LogText {
  if (part.lines.length === 0 && before.next === part.next) return before;
  const all = [...before.lines, ...part.lines];
  const lines = all.slice(-MOST_LINES);
  return {
    lines,
    skipped: before.skipped || part.skipped || lines.length < all.length,
    next: part.next,
  };
}

/** The lines that have all words of a text, in any case. */
export function matchingLines(lines: readonly string[], text: string): readonly string[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return lines;
  return lines.filter((line) => {
    const hay = line.toLowerCase();
    return words.every((word) => hay.includes(word));
  });
}
