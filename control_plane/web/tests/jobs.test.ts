import { describe, expect, it } from "vitest";
import { hasEnded, parameterNames, scheduleText, toLines } from "@/pages/jobs/data";

describe("parameters of a job", () => {
  it("are the names outside of strings, names and comments, each once", () => {
    const statement =
      "SELECT ':a', \":b\", x::bigint -- :c\nFROM t /* :d */ WHERE y = :since AND z > :since AND d = :scheduled_date";
    expect(parameterNames({ kind: "sql", statement })).toEqual(["since"]);
  });

  it("are whole arguments of a program", () => {
    const args = ["--day", ":scheduled_date", ":n", "a:b", ":n "];
    expect(parameterNames({ kind: "spark", source: "x", arguments: args, modules: {} })).toEqual([
      "n",
    ]);
  });
});

it("arguments are lines that hold something", () => {
  expect(toLines("--day\n\n:n\n  \n")).toEqual(["--day", ":n"]);
});

it("usual schedules are told in words, others as they are", () => {
  expect(scheduleText({ cron: "0 6 * * mon-fri", time_zone: "UTC" })).toBe(
    "on weekdays at 06:00, UTC",
  );
  expect(scheduleText({ cron: "7 1 2 3 *", time_zone: "Asia/Tokyo" })).toBe(
    "7 1 2 3 *, Asia/Tokyo",
  );
});

it("a run that waits for its next try has not ended", () => {
  expect(hasEnded("retrying")).toBe(false);
  expect(hasEnded("skipped")).toBe(true);
});
