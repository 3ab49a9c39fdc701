import { describe, expect, it } from "vitest";
import { problemOf } from "@/api/problem";
import { copyTitle, type Kept, theirsAfter } from "@/components/meanwhile";

const theirs: Kept = { version: 2, updated_by: "steward", can_edit: true };
const toRead: Kept = { ...theirs, can_edit: false };
const read = (found: Kept | number) => () =>
  typeof found === "number" ? Promise.reject(problemOf(found, null)) : Promise.resolve(found);

interface Case {
  why: string;
  status: number;
  found: Kept | number;
  told: Kept | null | undefined;
}

describe("a save that was refused", () => {
  it.each<Case>([
    { why: "somebody else was first", status: 412, found: theirs, told: theirs },
    { why: "they took the right to change it, too", status: 412, found: toRead, told: toRead },
    { why: "the right to change it is gone", status: 403, found: toRead, told: toRead },
    { why: "they removed it", status: 404, found: 404, told: null },
    { why: "they removed it after they had saved", status: 412, found: 404, told: null },
    { why: "a group that may not be shared with", status: 403, found: theirs, told: undefined },
    { why: "a workspace of others", status: 404, found: theirs, told: undefined },
    { why: "theirs can't be read now", status: 412, found: 503, told: undefined },
    { why: "a service is away", status: 503, found: theirs, told: undefined },
    { why: "a value is wrong", status: 422, found: theirs, told: undefined },
  ])("$why", async ({ status, found, told }) => {
    expect(await theirsAfter(problemOf(status, null), read(found))).toEqual(told);
  });

  it("is no one else's doing where nothing answered", async () => {
    expect(await theirsAfter(new TypeError("failed to fetch"), read(theirs))).toBeUndefined();
  });
});

describe("the name of one's own beside theirs", () => {
  it.each([
    ["Sales", "Sales (copy)"],
    ["  ", "Untitled (copy)"],
  ])("%s", (title, name) => {
    expect(copyTitle(title)).toBe(name);
  });

  it("is never too long to be kept", () => {
    expect(copyTitle("x".repeat(200))).toHaveLength(200);
  });
});
