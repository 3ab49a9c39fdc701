import { expect, test } from "vitest";
import { again, RETRY_MS } from "@/api/again";
import { problemOf } from "@/api/problem";

const state = (error: unknown) => ({ state: { error } });
const away = state(problemOf(503, null));

test("what failed because a service is away is asked again soon, whatever its own pace", () => {
  expect(again(away)).toBe(RETRY_MS);
  expect(again(away, false)).toBe(RETRY_MS);
  expect(again(away, 30_000)).toBe(RETRY_MS);
  expect(again(away, 1000)).toBe(1000);
});

test("what may not be is not asked for again, and what came keeps its pace", () => {
  expect(again(state(problemOf(404, null)))).toBe(false);
  expect(again(state(problemOf(403, null)), 30_000)).toBe(30_000);
  expect(again(state(null))).toBe(false);
  expect(again(state(null), 2000)).toBe(2000);
});
