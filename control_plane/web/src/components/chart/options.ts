/** ECharts' options for a chart. Pure; colours come from the page's theme. */

import type { EChartsCoreOption } from "echarts/core";
import type { ChartSpec, Column, Row } from "@/api/types";
import { compact } from "@/lib/format";
import { formatNumber, isTime, labelOf, numberOf, plot, points } from "./data";

export interface Palette {
  text: string;
  muted: string;
  line: string;
  surface: string;
  series: readonly string[];
  heat: readonly [string, string];
}

/** Told apart by people who see colours differently, too: Okabe and Ito's, shifted for contrast. */
export const LIGHT_SERIES = [
  "#0b6b8f",
  "#d2691e",
  "#2f8f5b",
  "#8e5aa8",
  "#b8860b",
  "#c0395a",
  "#4f6fc4",
  "#6b7280",
] as const;
export const DARK_SERIES = [
  "#5cb8dd",
  "#f0995a",
  "#6fcf97",
  "#c39bd8",
  "#e3bd54",
  "#f08ba4",
  "#92a8ee",
  "#a7b0bd",
] as const;

export function chartOption(
  spec: ChartSpec,
  columns: readonly Column[],
  rows: readonly Row[],
  palette: Palette,
): EChartsCoreOption {
  const format = (value: unknown) =>
    typeof value === "number"
      ? formatNumber(value, spec.number_format ?? "")
      : String(value ?? "–");
  const base = {
    color: [...palette.series],
    animationDuration: 250,
    textStyle: { fontFamily: "Inter Variable, sans-serif", color: palette.text },
    // Drawn as text, never as markup: names and values may hold anything.
    tooltip: {
      renderMode: "richText",
      trigger: spec.kind === "scatter" || spec.kind === "heatmap" ? "item" : "axis",
      axisPointer: { type: spec.kind === "bar" ? "shadow" : "line" },
      confine: true,
      backgroundColor: palette.surface,
      borderColor: palette.line,
      textStyle: { color: palette.text, fontSize: 12 },
      valueFormatter: format,
    },
    aria: { enabled: false },
  };
  if (spec.kind === "heatmap") return { ...base, ...heatmap(spec, columns, rows, palette) };
  if (spec.kind === "scatter") return { ...base, ...scatter(spec, columns, rows, palette) };
  return { ...base, ...cartesian(spec, columns, rows, palette) };
}

/** So many names stand below an axis, each that has the room. */
const FEW = 12;

function axes(palette: Palette) {
  const label = { color: palette.muted, fontSize: 11, hideOverlap: true };
  const name = { color: palette.muted, fontSize: 11 };
  return {
    category: {
      axisLabel: { ...label, width: 120, overflow: "truncate" },
      axisLine: { lineStyle: { color: palette.line } },
      axisTick: { show: false },
      nameTextStyle: name,
      nameLocation: "middle",
      nameGap: 28,
    },
    value: {
      type: "value",
      axisLabel: { ...label, formatter: (value: number) => compact(value) },
      splitLine: { lineStyle: { color: palette.line, opacity: 0.6 } },
      nameTextStyle: name,
      nameLocation: "middle",
      nameGap: 44,
    },
  };
}

function legend(show: boolean, palette: Palette) {
  return show
    ? {
        type: "scroll",
        top: 0,
        left: 0,
        itemHeight: 9,
        itemWidth: 14,
        icon: "roundRect",
        textStyle: { color: palette.text, fontSize: 12 },
        pageTextStyle: { color: palette.muted },
        pageIconColor: palette.muted,
      }
    : { show: false };
}

function frame(hasLegend: boolean, xName: boolean, yName: boolean) {
  return {
    top: hasLegend ? 34 : 12,
    right: 18,
    bottom: xName ? 28 : 6,
    left: yName ? 24 : 6,
    outerBoundsMode: "same",
    containLabel: true,
  };
}

function cartesian(
  spec: ChartSpec,
  columns: readonly Column[],
  rows: readonly Row[],
  palette: Palette,
) {
  const plotted = plot(spec, columns, rows);
  const { category, value } = axes(palette);
  const shown = (spec.legend ?? true) && plotted.series.length > 1;
  const across = {
    ...category,
    axisLabel: {
      ...category.axisLabel,
      // Left to itself ECharts leaves out every second as soon as the longest might not fit.
      interval: plotted.categories.length <= FEW ? 0 : "auto",
    },
    type: "category",
    data: plotted.categories,
    name: spec.x_label ?? "",
  };
  const up = { ...value, name: spec.y_label ?? "" };
  const flat = spec.kind === "bar" && spec.horizontal;
  return {
    legend: legend(shown, palette),
    grid: frame(
      shown,
      !!(flat ? spec.y_label : spec.x_label),
      !!(flat ? spec.x_label : spec.y_label),
    ),
    xAxis: flat ? up : across,
    yAxis: flat ? { ...across, inverse: true, nameGap: 80 } : up,
    series: plotted.series.map((one) => ({
      name: one.name,
      type: spec.kind === "bar" ? "bar" : "line",
      data: one.values,
      stack: spec.stacked ? "all" : undefined,
      areaStyle: spec.kind === "area" ? { opacity: 0.22 } : undefined,
      showSymbol: plotted.categories.length <= 40,
      symbolSize: 5,
      lineStyle: { width: 2 },
      barMaxWidth: 44,
      itemStyle: spec.kind === "bar" && !spec.stacked ? { borderRadius: 2 } : undefined,
      emphasis: { focus: "series" },
      sampling: "lttb",
      large: true,
    })),
  };
}

function scatter(
  spec: ChartSpec,
  columns: readonly Column[],
  rows: readonly Row[],
  palette: Palette,
) {
  const groups = points(spec, columns, rows);
  const { category, value } = axes(palette);
  const x = columns.find((column) => column.name === spec.x);
  const shown = (spec.legend ?? true) && groups.length > 1;
  const across =
    x?.kind === "number"
      ? { ...value, scale: true }
      : isTime(x)
        ? { ...category, type: "time" }
        : { ...category, type: "category" };
  return {
    legend: legend(shown, palette),
    grid: frame(shown, true, true),
    xAxis: { ...across, name: spec.x_label || spec.x || "", nameGap: 28 },
    yAxis: { ...value, scale: true, name: spec.y_label || spec.y?.[0] || "" },
    series: groups.map((group) => ({
      name: group.name,
      type: "scatter",
      data: group.points,
      symbolSize: group.points.length > 2000 ? 3 : 7,
      large: group.points.length > 2000,
      itemStyle: { opacity: 0.75 },
    })),
  };
}

function heatmap(
  spec: ChartSpec,
  columns: readonly Column[],
  rows: readonly Row[],
  palette: Palette,
) {
  const at = (name: string | null | undefined) => columns.findIndex((one) => one.name === name);
  const [x, y, value] = [at(spec.x), at(spec.series ?? spec.y?.[0]), at(spec.value)];
  const [across, down] = [new Map<string, number>(), new Map<string, number>()];
  const place = (places: Map<string, number>, label: string) => {
    const known = places.get(label) ?? places.size;
    places.set(label, known);
    return known;
  };
  const cells = new Map<string, [number, number, number]>();
  for (const row of rows.slice(0, 10_000)) {
    const number = numberOf(row[value]);
    if (number === null) continue;
    const cell: [number, number] = [place(across, labelOf(row[x])), place(down, labelOf(row[y]))];
    const key = cell.join(" ");
    cells.set(key, [...cell, (cells.get(key)?.[2] ?? 0) + number]);
  }
  const data = [...cells.values()];
  const numbers = data.map((cell) => cell[2]);
  const { category } = axes(palette);
  const axis = (places: Map<string, number>, name: string) => ({
    ...category,
    type: "category",
    data: [...places.keys()],
    splitArea: { show: false },
    name,
  });
  return {
    grid: { ...frame(false, !!spec.x_label, !!spec.y_label), right: 70 },
    xAxis: axis(across, spec.x_label ?? ""),
    yAxis: { ...axis(down, spec.y_label ?? ""), inverse: true },
    visualMap: {
      min: Math.min(...numbers, 0),
      max: Math.max(...numbers, 1),
      right: 4,
      top: "center",
      itemWidth: 12,
      itemHeight: 110,
      calculable: false,
      inRange: { color: [...palette.heat] },
      textStyle: { color: palette.muted, fontSize: 11 },
      formatter: (one: number) => compact(one),
    },
    series: [
      {
        type: "heatmap",
        data,
        label: {
          show: data.length <= 150,
          color: palette.text,
          fontSize: 11,
          formatter: (one: { value: number[] }) =>
            formatNumber(one.value[2] ?? 0, spec.number_format || "s"),
        },
        itemStyle: { borderColor: palette.surface, borderWidth: 1 },
      },
    ],
  };
}
