import { describe, expect, it } from "vitest";
import type { Column } from "@/api/types";
import { membersOf, shown } from "@/components/grid/nested";
import { byField, partitionValue, transformsIn } from "@/pages/explorer/partitions";

const column = (type: string, name = "x"): Column => ({ name, type, kind: "row" });

describe("members of a row type", () => {
  it.each([
    ["row(a bigint, b varchar(3))", ["a: bigint", "b: varchar(3)"]],
    ["row(a b integer)", ["a b: integer"]],
    ['row("a ""b"", c" integer, d date)', ['a "b", c: integer', "d: date"]],
    ["row(at timestamp(6) with time zone)", ["at: timestamp(6) with time zone"]],
    ["row(date date, row row(n decimal(12,2)))", ["date: date", "row: row(n decimal(12,2))"]],
  ])("%s", (type, members) => {
    expect(membersOf(type)?.map((one) => `${one.name}: ${one.type}`)).toEqual(members);
  });

  it.each([
    "bigint",
    "array(row(a bigint))",
    "row(bigint, varchar)",
    "row(timestamp(3) with time zone, interval day to second)",
    "row(a bigint, a bigint)",
  ])("%s has no names of its own", (type) => {
    expect(membersOf(type)).toBeNull();
  });
});

describe("a value", () => {
  it.each([
    ["row(a bigint, b varchar)", [1, null], { a: 1, b: null }],
    ["array(row(a bigint))", [[1], null], [{ a: 1 }, null]],
    ["map(varchar, row(a bigint))", { k: [1] }, { k: { a: 1 } }],
    ["row(a array(bigint), b row(c date))", [[1, 2], ["x"]], { a: [1, 2], b: { c: "x" } }],
    ["row(bigint, varchar)", [1, "x"], [1, "x"]],
    ["array(bigint)", [1, 2], [1, 2]],
    ["varchar", "row(a", "row(a"],
    // Not what the type says: as it came.
    ["row(a bigint)", [1, 2], [1, 2]],
    ["row(a bigint)", "text", "text"],
  ])("of %s", (type, value, told) => {
    expect(shown(value, column(type))).toEqual(told);
  });
});

describe("what a table is partitioned by", () => {
  const definition = (list: string) => `CREATE TABLE t (\n a bigint\n)\nWITH (\n${list}\n)`;

  it.each([
    ["   partitioning = ARRAY['region','month(at)']", ["region", "month(at)"]],
    ["   format = 'ORC',\n   partitioning = ARRAY['bucket(a, 4)']", ["bucket(a, 4)"]],
    ["   partitioning = ARRAY['\"it''s, a]\"']", ['"it\'s, a]"']],
    ["   format = 'PARQUET'", []],
  ])("%s", (list, transforms) => {
    expect(transformsIn(definition(list))).toEqual(transforms);
  });

  it.each([
    ["year(a)", 56, "2026"],
    ["month(a)", 672, "2026-01"],
    ["month(a)", -1, "1969-12"],
    ["hour(a)", 490_896, "2026-01-01 00:00 UTC"],
    ["day(a)", "2026-01-01", "2026-01-01"],
    ["bucket(a, 4)", 3, 3],
    ["a_month", 11, 11],
    ["month(a)", null, null],
  ])("%s of %s", (transform, value, told) => {
    expect(partitionValue(value, transform)).toBe(told);
  });

  const columns = [column("row(region varchar, n integer)", "partition"), column("bigint", "rows")];

  it("is a column each, in order", () => {
    const rows = [
      [["b", 10], 1],
      [["b", 9], 2],
      [[null, 1], 3],
    ];
    const told = byField(columns, rows, definition("partitioning = ARRAY['region','n']"));
    expect(told.columns.map((one) => [one.name, one.kind])).toEqual([
      ["region", "text"],
      ["n", "number"],
      ["rows", "row"],
    ]);
    expect(told.rows).toEqual([
      [null, 1, 3],
      ["b", 9, 2],
      ["b", 10, 1],
    ]);
  });

  it("are names alone where it was changed, or where its definition is not told", () => {
    const after = definition("partitioning = ARRAY['month(n)']");
    for (const told of [after, null]) {
      expect(byField(columns, [[["a", 10], 1]], told)).toMatchObject({
        by: ["region", "n"],
        rows: [["a", 10, 1]],
      });
    }
  });

  it("is nothing in a table of one part", () => {
    expect(byField([column("bigint", "rows")], [[1]], null)).toMatchObject({ by: [], rows: [[1]] });
  });
});
