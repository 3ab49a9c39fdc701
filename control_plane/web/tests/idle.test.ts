import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { idleHeaders, watchInput } from "@/lib/idle";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test("a request says for how long its reader has done nothing", () => {
  const page = new EventTarget();
  watchInput(page);
  page.dispatchEvent(new Event("keydown"));
  expect(idleHeaders()).toEqual({ "X-Idle-S": "0" });
  vi.advanceTimersByTime(301_500);
  expect(idleHeaders()).toEqual({ "X-Idle-S": "301" });
  page.dispatchEvent(new Event("pointermove"));
  expect(idleHeaders()).toEqual({ "X-Idle-S": "0" });
});

test("a clock that was set back is no negative time", () => {
  const page = new EventTarget();
  watchInput(page);
  page.dispatchEvent(new Event("wheel"));
  vi.setSystemTime(Date.now() - 60_000);
  expect(idleHeaders()).toEqual({ "X-Idle-S": "0" });
});
