/** From a result to what a chart draws. All pure. */

import type { ChartSpec, Column, Row, Value } from "@/api/types";
import { cellText } from "@/components/grid/values";

/** More rows than these are not drawn. */
export const MOST_POINTS = 20_000;

export function numberOf(value: Value): number | null {
  if (value === null || value === undefined || value === "") return null;
  const number = typeof value === "boolean" ? Number(value) : Number(value);
  return Number.isFinite(number) ? number : null;
}

export const isMeasure = (column: Column) => column.kind === "number";
export const isTime = (column: Column | undefined) =>
  column?.kind === "date" || column?.kind === "timestamp";

const IDENTIFIER = /(^|_)(id|code|number|year|zip)$|key$/i;

/** A chart that fits a result's columns, as a start for whoever draws it. */
export function suggestSpec(columns: readonly Column[], rowCount: number): ChartSpec {
  const measures = columns.filter((column) => isMeasure(column) && !IDENTIFIER.test(column.name));
  const time = columns.find(isTime);
  const categories = columns.filter((column) => !measures.includes(column) && column !== time);
  const base = {
    y: [],
    stacked: false,
    horizontal: false,
    legend: true,
    sort: "none" as const,
    x_label: "",
    y_label: "",
    number_format: "",
  };
  const first = measures[0];
  if (first === undefined) return { ...base, kind: "table" };
  if (rowCount === 1) return { ...base, kind: "number", y: [first.name] };
  if (time !== undefined) {
    const split = measures.length === 1 ? categories[0]?.name : undefined;
    const y = split ? [first.name] : measures.slice(0, 4).map((column) => column.name);
    return { ...base, kind: "line", x: time.name, y, series: split ?? null, sort: "x" };
  }
  const x = categories[0];
  if (x === undefined) {
    return measures[1] === undefined
      ? { ...base, kind: "table" }
      : { ...base, kind: "scatter", x: first.name, y: [measures[1].name] };
  }
  const split = measures.length === 1 ? categories[1]?.name : undefined;
  return {
    ...base,
    kind: "bar",
    x: x.name,
    y: split ? [first.name] : measures.slice(0, 3).map((column) => column.name),
    series: split ?? null,
    stacked: split !== undefined,
  };
}

/** What a spec names and the result does not have. */
export function missingColumns(spec: ChartSpec, columns: readonly Column[]): string[] {
  const known = new Set(columns.map((column) => column.name));
  const named = [spec.x, ...(spec.y ?? []), spec.series, spec.value];
  return [...new Set(named.filter((name): name is string => !!name && !known.has(name)))];
}

/** What a spec still needs before anything can be drawn, in words; undefined when it is whole. */
export function incomplete(spec: ChartSpec): string | undefined {
  const { kind, x, y = [], series, value } = spec;
  if (kind === "table") return undefined;
  if (kind === "number")
    return y.length > 0 ? undefined : "Choose the column whose value is shown.";
  if (kind === "heatmap") {
    return x && (series || y[0]) && value
      ? undefined
      : "Choose columns for across, down and the colour.";
  }
  return x && y.length > 0 ? undefined : "Choose a column for the axis and at least one measure.";
}

export interface Series {
  name: string;
  /** One value per category; null where the result has none. */
  values: (number | null)[];
}

export interface Plotted {
  categories: string[];
  series: Series[];
  /** Rows that were left out beyond the limits. */
  omitted: number;
}

const NULL_LABEL = "(null)";

export function labelOf(value: Value): string {
  return value === null || value === undefined ? NULL_LABEL : cellText(value, 80);
}

/** Rows by category and series. Rows that share both are added up, as a stack would show them. */
export function plot(spec: ChartSpec, columns: readonly Column[], rows: readonly Row[]): Plotted {
  const at = (name: string | null | undefined) => columns.findIndex((one) => one.name === name);
  const x = at(spec.x);
  const split = at(spec.series);
  const measures = (spec.y ?? []).map(at).filter((index) => index >= 0);
  const drawn = rows.slice(0, MOST_POINTS);
  const categories = new Map<string, number>();
  const series = new Map<string, Map<number, number>>();
  const single = measures.length === 1;
  for (const row of drawn) {
    const label = labelOf(row[x]);
    let position = categories.get(label);
    if (position === undefined) {
      position = categories.size;
      categories.set(label, position);
    }
    for (const measure of measures) {
      const value = numberOf(row[measure]);
      if (value === null) continue;
      const measureName = columns[measure]?.name ?? "";
      const name =
        split < 0
          ? measureName
          : single
            ? labelOf(row[split])
            : `${labelOf(row[split])} · ${measureName}`;
      let values = series.get(name);
      if (values === undefined) {
        values = new Map();
        series.set(name, values);
      }
      values.set(position, (values.get(position) ?? 0) + value);
    }
  }
  const names = [...categories.keys()];
  const order = ordered(spec, names, series).slice(0, spec.limit ?? 10_000);
  return {
    categories: order.map((index) => names[index] ?? ""),
    series: [...series].map(([name, values]) => ({
      name,
      values: order.map((index) => values.get(index) ?? null),
    })),
    omitted: rows.length - drawn.length + names.length - order.length,
  };
}

function ordered(
  spec: ChartSpec,
  names: readonly string[],
  series: ReadonlyMap<string, ReadonlyMap<number, number>>,
): number[] {
  const order = names.map((_, index) => index);
  const total = (index: number) => {
    let sum = 0;
    for (const values of series.values()) sum += values.get(index) ?? 0;
    return sum;
  };
  const collator = new Intl.Collator("en", { numeric: true });
  switch (spec.sort) {
    case "x":
      return order.sort((a, b) => collator.compare(names[a] ?? "", names[b] ?? ""));
    case "value_ascending":
      return order.sort((a, b) => total(a) - total(b));
    case "value_descending":
      return order.sort((a, b) => total(b) - total(a));
    default:
      return order;
  }
}

/** Points of a scatter chart by series; `x` and `y` are numbers, or times in milliseconds. */
export function points(
  spec: ChartSpec,
  columns: readonly Column[],
  rows: readonly Row[],
): { name: string; points: [number | string, number][] }[] {
  const at = (name: string | null | undefined) => columns.findIndex((one) => one.name === name);
  const [x, split] = [at(spec.x), at(spec.series)];
  const found = new Map<string, [number | string, number][]>();
  for (const row of rows.slice(0, MOST_POINTS)) {
    for (const name of spec.y ?? []) {
      const value = numberOf(row[at(name)]);
      const numeric = columns[x]?.kind === "number";
      const across = numeric ? numberOf(row[x]) : labelOf(row[x]);
      if (value === null || across === null) continue;
      const key = split < 0 ? name : labelOf(row[split]);
      const list = found.get(key) ?? [];
      list.push([across, value]);
      found.set(key, list);
    }
  }
  return [...found].map(([name, list]) => ({ name, points: list }));
}

/**
 * A number as a format of a few letters says: "," groups thousands, ".2f" two decimals, "%" percent, "s" short
 * (1.2M). Without one: whole numbers grouped, others with up to four digits.
 */
export function formatNumber(value: number, format: string): string {
  const match = /^(,?)(?:\.(\d{1,2}))?([fds%]?)$/.exec(format.trim());
  const [, group = "", digits, kind = ""] = match ?? [];
  if (match === null || format.trim() === "") {
    const fraction = Number.isInteger(value) ? 0 : Math.abs(value) >= 100 ? 1 : 4;
    return new Intl.NumberFormat("en", { maximumFractionDigits: fraction }).format(value);
  }
  const places = digits === undefined ? undefined : Number(digits);
  return new Intl.NumberFormat("en", {
    useGrouping: group === "," || kind === "s",
    style: kind === "%" ? "percent" : "decimal",
    notation: kind === "s" ? "compact" : "standard",
    minimumFractionDigits: kind === "d" ? 0 : kind === "s" ? 0 : places,
    maximumFractionDigits: kind === "d" ? 0 : (places ?? (kind === "s" ? 1 : 3)),
  }).format(value);
}
