import { describe, expect, it } from "vitest";
import { appended, EMPTY_LOG, MOST_LINES, matchingLines } from "@/pages/admin/logtext";

describe("a log that grows", () => {
  it("is put together and keeps its place", () => {
    const first = appended(EMPTY_LOG, { lines: ["a", "b"], next: 4, skipped: true });
    expect(first).toEqual({ lines: ["a", "b"], next: 4, skipped: true });
    expect(appended(first, { lines: ["c"], next: 6, skipped: false })).toEqual({
      lines: ["a", "b", "c"],
      next: 6,
      skipped: true,
    });
    expect(appended(first, { lines: [], next: 4, skipped: false })).toBe(first);
  });

  it("forgets its oldest lines and says so", () => {
    const many = Array.from({ length: MOST_LINES }, (_, index) => String(index));
    const full = appended(EMPTY_LOG, { lines: many, next: 9, skipped: false });
    expect(full.skipped).toBe(false);
    const over = appended(full, { lines: ["new"], next: 13, skipped: false });
    expect(over.lines).toHaveLength(MOST_LINES);
    expect([over.lines[0], over.lines.at(-1), over.skipped]).toEqual(["1", "new", true]);
  });

  it("is searched by all words in any case", () => {
    const lines = ["WARN disk is full", "INFO disk is fine", "warn nothing"];
    expect(matchingLines(lines, "disk warn")).toEqual(["WARN disk is full"]);
    expect(matchingLines(lines, " ")).toBe(lines);
  });
});
