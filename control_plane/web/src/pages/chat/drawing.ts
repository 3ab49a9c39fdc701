/** From an answer's result to what the console's charts and grids take. All pure. */

import type { AgentChart, AgentChartKind } from "@/api/chat";
import type { ChartKind, ChartSpec, Column } from "@/api/types";

const CHARTS: Readonly<Record<AgentChartKind, ChartKind>> = {
  big_number: "number",
  bar: "bar",
  line: "line",
  scatter: "scatter",
  table: "table",
};
const FORMATS: Readonly<Record<string, string>> = {
  money: ",.2f",
  ratio: ".1%",
  milliseconds: ",.0f",
  days: ",.0f",
};
const UNITS: Readonly<Record<string, string>> = { milliseconds: "ms", days: "days" };

const KINDS: Readonly<Record<string, Column["kind"]>> = {
  tinyint: "number",
  smallint: "number",
  integer: "number",
  bigint: "number",
  real: "number",
  double: "number",
  decimal: "number",
  varchar: "text",
  char: "text",
  uuid: "text",
  ipaddress: "text",
  boolean: "boolean",
  date: "date",
  time: "time",
  timestamp: "timestamp",
  interval: "interval",
  array: "array",
  map: "map",
  row: "row",
  json: "json",
  varbinary: "binary",
};

/** Columns of Trino's types, as results of the worksheet have them. */
export function columnsOf(names: readonly string[], types: readonly string[]): Column[] {
  return names.map((name, index) => {
    const type = types[index] ?? "";
    return { name, type, kind: KINDS[/^[a-z]+/.exec(type.toLowerCase())?.[0] ?? ""] ?? "other" };
  });
}

export function specOf(chart: AgentChart): ChartSpec {
  const measure = chart.y[0];
  const format = measure === undefined ? "" : (chart.formats[measure] ?? "");
  const unit = UNITS[format];
  return {
    kind: CHARTS[chart.kind],
    x: chart.x,
    y: [...chart.y],
    series: chart.series,
    stacked: false,
    horizontal: false,
    legend: chart.series !== null || chart.y.length > 1,
    sort: chart.kind === "line" ? "x" : "none",
    x_label: "",
    y_label: unit && measure ? `${measure} (${unit})` : "",
    number_format: FORMATS[format] ?? "",
  };
}
