import { describe, expect, it } from "vitest";
import { asProblem, mayPass, problemOf } from "@/api/problem";
import {
  cellText,
  detailText,
  fittingWidths,
  tabSeparated,
  valueText,
} from "@/components/grid/values";
import { safeHref } from "@/components/markdown";
import { keyName, matching } from "@/lib/hotkeys";
import { splitTable, tablePath, worksheetPath } from "@/lib/paths";
import { navFor } from "@/shell/nav";
import { filtered } from "@/shell/palette";
import { initials } from "@/shell/usermenu";

describe("addresses", () => {
  it("encode names that hold anything", () => {
    expect(tablePath("lake", "a/b", "<img>", "sample")).toBe(
      "/explorer/lake/a%2Fb/%3Cimg%3E/sample",
    );
    expect(worksheetPath("SELECT 'a&b'", "lake")).toBe(
      "/worksheet?sql=SELECT+%27a%26b%27&catalog=lake",
    );
    expect(splitTable("lake.retail.customer")).toEqual(["retail", "customer"]);
  });

  it.each([
    ["https://example.org", "https://example.org"],
    ["mailto:a@example.org", "mailto:a@example.org"],
    ["/explorer", "/explorer"],
    ["//evil.example", undefined],
    ["javascript:alert(1)", undefined],
    ["JaVaScRiPt:alert(1)", undefined],
    ["data:text/html,x", undefined],
    ["vbscript:x", undefined],
  ])("%s in a text", (href, expected) => {
    expect(safeHref(href)).toBe(expected);
  });
});

describe("values", () => {
  it("are text whatever they are", () => {
    expect(valueText({ a: [1, null] })).toBe('{"a":[1,null]}');
    expect(valueText(null)).toBe("");
    expect(cellText("a\nb\tc")).toBe("a↵b⇥c");
    expect(cellText("x".repeat(400))).toHaveLength(301);
    expect(detailText('{"a":1}')).toBe('{\n  "a": 1\n}');
    expect(detailText("{no json")).toBe("{no json");
    expect(
      tabSeparated([
        ["a\tb", null],
        [1, "c\nd"],
      ]),
    ).toBe("a b\t\n1\tc d");
  });

  it("make columns as wide as they need, within limits", () => {
    const columns = [
      { name: "n", type: "bigint", kind: "number" as const },
      { name: "long", type: "varchar", kind: "text" as const },
    ];
    const [narrow, wide] = fittingWidths(columns, [[1, "x".repeat(500)]]);
    expect(narrow).toBeLessThan(100);
    expect(wide).toBe(380);
  });
});

describe("keys", () => {
  it("are named with their modifiers", () => {
    expect(keyName({ key: "K", ctrlKey: true, metaKey: false, altKey: false })).toBe("Mod+k");
    expect(keyName({ key: "?", ctrlKey: false, metaKey: false, altKey: false })).toBe("?");
  });

  it("are sequences first", () => {
    const hotkeys = { "g w": () => undefined, w: () => undefined };
    expect(matching(hotkeys, "g", "w")).toBe("g w");
    expect(matching(hotkeys, "x", "w")).toBe("w");
    expect(matching(hotkeys, "g", "x")).toBeUndefined();
  });
});

describe("problems", () => {
  it("tell what they are whatever the body is", () => {
    expect(problemOf(404, null).message).toBe("There is nothing here");
    expect(problemOf(418, "x").message).toContain("418");
    expect(
      problemOf(422, { title: "no such table", permitted: "retail", line: 3 }).facts,
    ).toMatchObject({
      title: "no such table",
      permitted: "retail",
      line: 3,
    });
  });

  it("may pass or not", () => {
    expect(mayPass(asProblem(new TypeError("Failed to fetch")))).toBe(true);
    expect(mayPass(problemOf(503, null))).toBe(true);
    expect(mayPass(problemOf(404, null))).toBe(false);
  });
});

describe("shell", () => {
  it("shows governance to those who may read access data only", () => {
    expect(navFor([]).map((item) => item.path)).not.toContain("/governance");
    expect(navFor(["read_access"]).map((item) => item.path)).toContain("/governance");
  });

  it("finds commands by all words that were typed", () => {
    const commands = [
      { id: "1", group: "Pages", label: "Audit", run: () => undefined },
      {
        id: "2",
        group: "Saved queries",
        label: "Revenue by month",
        detail: "steward",
        run: () => undefined,
      },
    ];
    expect(filtered(commands, "rev steward").map((one) => one.id)).toEqual(["2"]);
    expect(filtered(commands, "")).toHaveLength(2);
  });

  it("has initials for every name", () => {
    expect(initials("Stella Steward")).toBe("SS");
    expect(initials("analyst_emea")).toBe("AE");
    expect(initials("")).toBe("");
  });
});
