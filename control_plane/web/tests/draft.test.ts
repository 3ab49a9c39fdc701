import { describe, expect, it } from "vitest";
import type { AccessDocument, Grant, Rule, TagAssignment } from "@/api/types";
import {
  type Draft,
  keyOf,
  rebased,
  same,
  stage,
  toChange,
  withDraft,
} from "@/pages/governance/draft";

const TAG: TagAssignment = { object: "retail.customer.c_phone", tag: "pii.phone" };
const GRANT: Grant = { group: "auditors", object: "retail.*", privileges: ["select"] };
const RULE: Rule = { id: "mask-phone", kind: "column_mask", tag: "pii.phone", mask: "last_4" };

describe("stage", () => {
  it("collects a change and forgets it when it is undone", () => {
    const removed = stage([], "tags", TAG, null);
    expect(removed).toHaveLength(1);
    expect(stage(removed, "tags", TAG, TAG)).toEqual([]);
  });

  it("keeps the living form through several changes of one item", () => {
    const once = stage([], "rules", RULE, { ...RULE, mask: "null" });
    const twice = stage(once, "rules", { ...RULE, mask: "null" }, { ...RULE, mask: "hash" });
    expect(twice).toMatchObject([{ before: RULE, after: { mask: "hash" } }]);
    expect(stage(twice, "rules", RULE, { ...RULE })).toEqual([]);
  });

  it("forgets an added item that is taken away again", () => {
    const added = stage([], "tags", null, TAG);
    expect(stage(added, "tags", TAG, null)).toEqual([]);
  });
});

describe("withDraft", () => {
  it("shows what would be, and marks what would go", () => {
    const other = { object: "hr.*", tag: "people" };
    const draft = stage(stage([], "tags", TAG, null), "tags", null, other);
    expect(
      withDraft("tags", [TAG], draft).map(({ item, state }) => [keyOf("tags", item), state]),
    ).toEqual([
      [keyOf("tags", TAG), "removed"],
      [keyOf("tags", other), "added"],
    ]);
  });
});

describe("toChange", () => {
  it("takes a grant away before it is given with fewer privileges", () => {
    const draft = stage([], "grants", { ...GRANT, privileges: ["insert", "select"] }, GRANT);
    expect(toChange(draft)).toMatchObject({
      add: { grants: [GRANT] },
      remove: { grants: [{ group: "auditors", object: "retail.*" }] },
    });
  });

  it("replaces a rule without removing it", () => {
    const draft = stage([], "rules", RULE, { ...RULE, mask: "hash" });
    expect(toChange(draft)).toMatchObject({
      add: { rules: [{ mask: "hash" }] },
      remove: { rules: [] },
    });
  });
});

describe("rebased", () => {
  const document = (parts: Partial<AccessDocument>): AccessDocument => ({
    grants: [],
    tags: [],
    rules: [],
    ...parts,
  });

  it("drops what somebody else has done already", () => {
    const draft = stage([], "tags", null, TAG);
    expect(rebased(draft, document({ tags: [TAG] }))).toEqual([]);
  });

  it("takes the others' form as what it changes", () => {
    const theirs: Rule = { ...RULE, mask: "null" };
    const draft: Draft = stage([], "rules", RULE, { ...RULE, mask: "hash" });
    expect(rebased(draft, document({ rules: [theirs] }))).toMatchObject([
      { before: theirs, after: { mask: "hash" } },
    ]);
  });
});

it("finds items the same whatever the order of their keys", () => {
  expect(same({ object: "a", tag: "b" }, { tag: "b", object: "a" })).toBe(true);
  expect(same({ object: "a", tag: "b" }, null)).toBe(false);
});
