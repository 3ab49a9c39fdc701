import { describe, expect, it } from "vitest";
import { chosenOf, filterParameters, filterTexts } from "@/pages/dashboards/filters";
import { parseShare, tidy } from "@/pages/governance/ruledialog";
import { parseValue, toParameters, valueError, valuesFor } from "@/query/parametervalues";

describe("values", () => {
  it.each([
    ["varchar", "a'b", "a'b"],
    ["bigint", "42", 42],
    ["bigint", "9223372036854775807", "9223372036854775807"],
    ["double", "0.5", 0.5],
    ["decimal", "12.50", "12.50"],
    ["boolean", "TRUE", true],
    ["date", "2026-01-31", "2026-01-31"],
    ["timestamp", "2026-01-31T17:00", "2026-01-31 17:00"],
    ["varchar", "", null],
    ["bigint", "[1, 2]", [1, 2]],
  ] as const)("%s %s", (type, text, expected) => {
    expect(parseValue({ type, text })).toEqual(expected);
  });

  it.each([
    ["bigint", "4.5"],
    ["double", "x"],
    ["decimal", "1,5"],
    ["boolean", "yes"],
    ["date", "31.1.2026"],
    ["timestamp", "noon"],
  ] as const)("%s refuses %s with words", (type, text) => {
    expect(valueError({ type, text })).toBeTruthy();
  });

  it("keeps known values for the names that there are", () => {
    const known = {
      since: { type: "date" as const, text: "2026-01-01" },
      old: { type: "varchar" as const, text: "x" },
    };
    expect(Object.keys(valuesFor(["since", "region"], known))).toEqual(["since", "region"]);
    expect(toParameters(valuesFor(["since"], known))).toEqual([
      { name: "since", type: "date", value: "2026-01-01" },
    ]);
  });
});

describe("dashboard filters", () => {
  const filters = [
    {
      parameter: "region",
      label: "",
      type: "varchar" as const,
      multiple: false,
      default: "EMEA",
    },
  ];

  it("take the address before the default", () => {
    expect(filterTexts(filters, new URLSearchParams())).toEqual({ region: "EMEA" });
    expect(filterTexts(filters, new URLSearchParams("f.region=AMER"))).toEqual({ region: "AMER" });
  });

  it("send nothing for a text that is no value", () => {
    expect(
      filterParameters([{ parameter: "n", label: "", type: "bigint", multiple: false }], {
        n: "x",
      }),
    ).toEqual([{ name: "n", type: "bigint", value: null }]);
  });

  it("read several choices", () => {
    expect(chosenOf("[a, b]")).toEqual(["a", "b"]);
    expect(chosenOf("")).toEqual([]);
  });
});

describe("rules", () => {
  it("read shares as numbers and texts", () => {
    expect(parseShare("1, -2, EMEA, 'AMER'")).toEqual([1, -2, "EMEA", "AMER"]);
  });

  it("keep only what their kind has", () => {
    expect(
      tidy({
        id: " r ",
        kind: "column_deny",
        tag: "pii",
        mask: "hash",
        expression: "x",
        values: { a: [1] },
        description: " ",
      }),
    ).toEqual({ id: "r", kind: "column_deny", tag: "pii" });
    expect(
      tidy({ id: "r", kind: "row_filter", object: "a.b", expression: "true", values: { a: [] } }),
    ).toEqual({
      id: "r",
      kind: "row_filter",
      object: "a.b",
      expression: "true",
    });
  });
});
