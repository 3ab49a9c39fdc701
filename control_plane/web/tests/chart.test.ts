import { describe, expect, it } from "vitest";
import type { ChartSpec, Column } from "@/api/types";
import {
  formatNumber,
  incomplete,
  missingColumns,
  plot,
  suggestSpec,
} from "@/components/chart/data";
import { chartOption, LIGHT_SERIES } from "@/components/chart/options";

const column = (name: string, kind: Column["kind"]): Column => ({ name, type: kind, kind });
const REGION = column("region", "text");
const MONTH = column("month", "date");
const REVENUE = column("revenue", "number");
const ORDERS = column("orders", "number");
const KEY = column("c_custkey", "number");

const spec = (parts: Partial<ChartSpec>): ChartSpec => ({
  kind: "bar",
  y: [],
  stacked: false,
  horizontal: false,
  legend: true,
  sort: "none",
  x_label: "",
  y_label: "",
  number_format: "",
  ...parts,
});

describe("suggestSpec", () => {
  it.each([
    [
      "time and measures",
      [MONTH, REVENUE, ORDERS],
      12,
      { kind: "line", x: "month", y: ["revenue", "orders"] },
    ],
    ["a split time", [REGION, MONTH, REVENUE], 12, { kind: "line", x: "month", series: "region" }],
    [
      "categories",
      [REGION, REVENUE, ORDERS],
      3,
      { kind: "bar", x: "region", y: ["revenue", "orders"] },
    ],
    ["one number", [REVENUE], 1, { kind: "number", y: ["revenue"] }],
    ["two numbers", [REVENUE, ORDERS], 100, { kind: "scatter", x: "revenue", y: ["orders"] }],
    ["keys are no measures", [KEY, REGION], 100, { kind: "table" }],
    ["text only", [REGION], 100, { kind: "table" }],
  ] as const)("%s", (_, columns, count, expected) => {
    expect(suggestSpec(columns, count)).toMatchObject(expected);
  });
});

describe("plot", () => {
  const columns = [REGION, MONTH, REVENUE];
  const rows = [
    ["EMEA", "2026-01-01", "10.5"],
    ["AMER", "2026-01-01", "4"],
    ["EMEA", "2026-02-01", "1"],
    ["EMEA", "2026-02-01", "2"],
    ["AMER", null, null],
  ];

  it("splits by series, adds up what shares a place, and leaves gaps", () => {
    const plotted = plot(spec({ x: "month", y: ["revenue"], series: "region" }), columns, rows);
    expect(plotted.categories).toEqual(["2026-01-01", "2026-02-01", "(null)"]);
    expect(plotted.series).toEqual([
      { name: "EMEA", values: [10.5, 3, null] },
      { name: "AMER", values: [4, null, null] },
    ]);
  });

  it("sorts by value and tells what it left out", () => {
    const plotted = plot(
      spec({ x: "region", y: ["revenue"], sort: "value_ascending", limit: 1 }),
      columns,
      rows,
    );
    expect(plotted).toMatchObject({ categories: ["AMER"], omitted: 1 });
  });
});

it("says what a spec lacks", () => {
  expect(incomplete(spec({ kind: "bar" }))).toMatch(/axis/);
  expect(incomplete(spec({ kind: "heatmap", x: "a", series: "b" }))).toMatch(/colour/);
  expect(incomplete(spec({ kind: "table" }))).toBeUndefined();
  expect(missingColumns(spec({ x: "gone", y: ["revenue"] }), [REVENUE])).toEqual(["gone"]);
});

it.each([
  [1_234_567, "", "1,234,567"],
  [0.123456, "", "0.1235"],
  [1234.5, ",.2f", "1,234.50"],
  [0.256, ".1%", "25.6%"],
  [1_230_000, "s", "1.2M"],
  [12.7, "d", "13"],
  [5, "nonsense", "5"],
])("formats %d by %j", (value, format, expected) => {
  expect(formatNumber(value, format)).toBe(expected);
});

describe("chartOption", () => {
  const palette = {
    text: "#000000",
    muted: "#444444",
    line: "#cccccc",
    surface: "#ffffff",
    series: LIGHT_SERIES,
    heat: ["#ffffff", "#0000ff"] as const,
  };

  it.each(["bar", "line", "area", "scatter", "heatmap"] as const)(
    "%s never takes names for markup",
    (kind) => {
      const option = chartOption(
        spec({ kind, x: "region", y: ["revenue"], series: "month", value: "revenue" }),
        [REGION, MONTH, REVENUE],
        [["<b>x</b>", "2026-01-01", 3]],
        palette,
      );
      expect(option).toMatchObject({ tooltip: { renderMode: "richText" } });
      expect(Array.isArray(option.series) && option.series.length).toBe(1);
    },
  );

  it.each([
    [12, 0],
    [13, "auto"],
  ])("names all of %i categories, or as many as fit", (many, interval) => {
    const rows = Array.from({ length: many }, (_, index) => [`a long name ${index}`, "", 1]);
    const option = chartOption(
      spec({ kind: "bar", x: "region", y: ["revenue"] }),
      [REGION, MONTH, REVENUE],
      rows,
      palette,
    );
    expect(option).toMatchObject({ xAxis: { axisLabel: { interval, hideOverlap: true } } });
  });
});
