import { BarChart, HeatmapChart, LineChart, ScatterChart } from "echarts/charts";
import {
  AriaComponent,
  GridComponent,
  LegendComponent,
  TooltipComponent,
  VisualMapComponent,
} from "echarts/components";
import { type EChartsType, init, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { useEffect, useMemo, useRef } from "react";
import type { ChartSpec, Column, Row } from "@/api/types";
import { useDark } from "@/lib/theme";
import { chartOption, DARK_SERIES, LIGHT_SERIES, type Palette } from "./options";

use([
  BarChart,
  LineChart,
  ScatterChart,
  HeatmapChart,
  GridComponent,
  TooltipComponent,
  LegendComponent,
  VisualMapComponent,
  AriaComponent,
  CanvasRenderer,
]);

/** The page's colours as the canvas takes them. */
function paletteOf(dark: boolean): Palette {
  return dark
    ? {
        text: "#e4e8ed",
        muted: "#a4adb9",
        line: "#3a434e",
        surface: "#262d36",
        series: DARK_SERIES,
        heat: ["#1f3a48", "#5cb8dd"],
      }
    : {
        text: "#232a33",
        muted: "#5c6672",
        line: "#dde2e8",
        surface: "#ffffff",
        series: LIGHT_SERIES,
        heat: ["#e4f1f6", "#3d93b5"],
      };
}

/** Draws a chart with ECharts, which is loaded with this module only. */
export default function ChartCanvas({
  spec,
  columns,
  rows,
  label,
}: {
  spec: ChartSpec;
  columns: readonly Column[];
  rows: readonly Row[];
  label: string;
}) {
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<EChartsType | null>(null);
  const dark = useDark();
  const option = useMemo(
    () => chartOption(spec, columns, rows, paletteOf(dark)),
    [spec, columns, rows, dark],
  );

  useEffect(() => {
    if (host.current === null) return;
    const made = init(host.current, null, { renderer: "canvas" });
    chart.current = made;
    const observer = new ResizeObserver(() => made.resize());
    observer.observe(host.current);
    return () => {
      observer.disconnect();
      made.dispose();
      chart.current = null;
    };
  }, []);

  useEffect(() => {
    chart.current?.setOption(option, { notMerge: true });
  }, [option]);

  return <div ref={host} role="img" aria-label={label} className="size-full min-h-0" />;
}
