import { describe, expect, it } from "vitest";
import type { Completion } from "@/api/types";
import {
  columnsInScope,
  pieceAt,
  positionOf,
  quoted,
  split,
  wordEnd,
} from "@/pages/worksheet/statements";

describe("split", () => {
  it("parts statements at semicolons outside of quotes and comments", () => {
    const text = "SELECT ';' AS a; -- not ; here\nSELECT \"x;y\" /* ; */ FROM t;\n\n";
    expect(split(text).map((piece) => piece.text)).toEqual([
      "SELECT ';' AS a",
      '-- not ; here\nSELECT "x;y" /* ; */ FROM t',
    ]);
  });

  it("tells where each begins", () => {
    const text = "  SELECT 1;\n SELECT 2";
    for (const piece of split(text)) {
      expect(text.slice(piece.offset, piece.offset + piece.text.length)).toBe(piece.text);
    }
  });

  it("takes an open quote to the end", () => {
    expect(split("SELECT 'a; b").map((piece) => piece.text)).toEqual(["SELECT 'a; b"]);
  });

  it.each(["", "  \n ", ";;", " ; "])("finds nothing in %j", (text) => {
    expect(split(text)).toEqual([]);
  });
});

describe("pieceAt", () => {
  const pieces = split("SELECT 1;\nSELECT 2;\n");
  it.each([
    [0, "SELECT 1"],
    [8, "SELECT 1"],
    [10, "SELECT 2"],
    [20, "SELECT 2"],
  ])("at %i", (position, expected) => {
    expect(pieceAt(pieces, position)?.text).toBe(expected);
  });
});

describe("positions", () => {
  const text = "SELECT a,\n  boom\nFROM t";
  it.each([
    [1, 1, 0],
    [2, 3, 12],
    [3, 100, text.length],
    [9, 1, text.length],
    [2, 99, 16],
  ])("line %i, column %i", (line, column, expected) => {
    expect(positionOf(text, line, column)).toBe(expected);
  });

  it("underlines a whole word, or a whole quoted name", () => {
    expect(text.slice(12, wordEnd(text, 12))).toBe("boom");
    expect(wordEnd('"a b" c', 0)).toBe(5);
    expect(wordEnd("(", 0)).toBe(1);
  });
});

describe("columnsInScope", () => {
  const completion: Completion = {
    catalog: "lake",
    namespaces: [
      { name: "retail", tables: [{ name: "customer", columns: { c_name: "varchar" } }] },
      { name: "web", tables: [{ name: "events", columns: { at: "timestamp" } }] },
    ],
    functions: [],
    keywords: [],
  };

  it("offers those of every table that is named", () => {
    const found = columnsInScope(
      "SELECT FROM retail.customer c JOIN lake.web.events e ON",
      completion,
      null,
    );
    expect(found.map((column) => column.name)).toEqual(["c_name", "at"]);
  });

  it("looks into the worksheet's namespace for names without one", () => {
    expect(columnsInScope('select from "Customer"', completion, "retail")).toHaveLength(1);
    expect(columnsInScope("select from customer", completion, null)).toEqual([]);
  });
});

it.each([
  ["customer", "customer"],
  ["Customer", '"Customer"'],
  ['a"b', '"a""b"'],
  ["1st", '"1st"'],
])("quotes %s where SQL needs it", (name, expected) => {
  expect(quoted(name)).toBe(expected);
});
