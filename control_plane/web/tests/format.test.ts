import { describe, expect, it } from "vitest";
import { ago, bytes, clip, compact, count, duration, plural } from "@/lib/format";

describe("numbers", () => {
  it("groups and counts", () => {
    expect(count(1_234_567)).toBe("1,234,567");
    expect(plural(1, "row")).toBe("1 row");
    expect(plural(2000, "query", "queries")).toBe("2,000 queries");
    expect(compact(1_230_000)).toBe("1.2M");
  });

  it.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1536, "1.5 KiB"],
    [1_948_311, "1.9 MiB"],
    [5 * 1024 ** 4, "5.0 TiB"],
  ])("%i bytes", (value, expected) => {
    expect(bytes(value)).toBe(expected);
  });

  it.each([
    [0, "0 ms"],
    [999.4, "999 ms"],
    [1500, "1.50 s"],
    [12_345, "12.3 s"],
    [200_000, "3 min 20 s"],
    [7_260_000, "2 h 1 min"],
    [90_000_000, "1 d 1 h"],
  ])("%i ms", (value, expected) => {
    expect(duration(value)).toBe(expected);
  });
});

describe("times", () => {
  const now = Date.parse("2026-01-15T09:30:00Z");
  it.each([
    ["2026-01-15T09:29:58Z", "just now"],
    ["2026-01-15T09:27:00Z", "3 min. ago"],
    ["2026-01-14T09:30:00Z", "yesterday"],
    ["2026-01-15T11:30:00Z", "in 2 hr."],
    ["no time", "no time"],
  ])("%s", (iso, expected) => {
    expect(ago(iso, now)).toBe(expected);
  });
});

it("clips long text", () => {
  expect(clip("abcdef", 4)).toBe("abc…");
  expect(clip("abc", 4)).toBe("abc");
});
