import { ChartColumn } from "lucide-react";
import { lazy, Suspense, useMemo } from "react";
import type { ChartSpec, Column, Row } from "@/api/types";
import { Grid } from "@/components/grid/grid";
import { Empty, Skeleton } from "@/components/ui/feedback";
import { count } from "@/lib/format";
import { formatNumber, incomplete, MOST_POINTS, missingColumns, numberOf } from "./data";

const ChartCanvas = lazy(() => import("./canvas"));

/** A result as its spec says: a chart, a table or one big number. */
export function ChartView({
  spec,
  columns,
  rows,
  title,
}: {
  spec: ChartSpec;
  columns: readonly Column[];
  rows: readonly Row[];
  title: string;
}) {
  const missing = missingColumns(spec, columns);
  const lacks = incomplete(spec);
  const rowAt = useMemo(() => (index: number) => rows[index], [rows]);
  if (missing.length > 0) {
    return (
      <Empty icon={ChartColumn} title="The result has no such column any more">
        {missing.join(", ")}
      </Empty>
    );
  }
  if (lacks !== undefined) return <Empty icon={ChartColumn} title={lacks} />;
  if (spec.kind === "table") {
    return (
      <Grid
        label={title}
        columns={columns}
        rowCount={rows.length}
        rowAt={rowAt}
        className="h-full rounded-md border"
      />
    );
  }
  if (rows.length === 0) {
    return (
      <Empty icon={ChartColumn} title="No row to draw">
        The statement gave none to you.
      </Empty>
    );
  }
  if (spec.kind === "number") return <BigNumber spec={spec} columns={columns} rows={rows} />;
  return (
    <div className="flex size-full min-h-0 flex-col">
      <div className="min-h-0 flex-1">
        <Suspense fallback={<Skeleton className="size-full" />}>
          <ChartCanvas spec={spec} columns={columns} rows={rows} label={title} />
        </Suspense>
      </div>
      {rows.length > MOST_POINTS && (
        <p className="pt-1 text-xs text-warning">The first {count(MOST_POINTS)} rows are drawn.</p>
      )}
    </div>
  );
}

function BigNumber({
  spec,
  columns,
  rows,
}: {
  spec: ChartSpec;
  columns: readonly Column[];
  rows: readonly Row[];
}) {
  const name = spec.y?.[0];
  const index = columns.findIndex((column) => column.name === name);
  const value = numberOf(rows[0]?.[index]);
  return (
    <div className="flex size-full flex-col items-center justify-center gap-1 text-center">
      <p className="text-4xl font-semibold tracking-tight tabular">
        {value === null ? "–" : formatNumber(value, spec.number_format ?? "")}
      </p>
      <p className="text-sm text-muted-foreground">{spec.y_label || name}</p>
    </div>
  );
}
