import { useCallback } from "react";
import type { Column, Row } from "@/api/types";
import { cn } from "@/lib/cn";
import { Grid } from "./grid";

/** A small result that is there whole. Its height follows the number of rows up to a limit. */
export function StaticGrid({
  label,
  columns,
  rows,
  maxHeightPx = 480,
  className,
}: {
  label: string;
  columns: readonly Column[];
  rows: readonly Row[];
  maxHeightPx?: number;
  className?: string;
}) {
  const rowAt = useCallback((index: number) => rows[index], [rows]);
  const height = Math.min(maxHeightPx, 44 + Math.max(1, rows.length) * 28 + 16);
  return (
    <div style={{ height }} className={cn("min-h-0", className)}>
      <Grid
        label={label}
        columns={columns}
        rowCount={rows.length}
        rowAt={rowAt}
        className="h-full rounded-md border"
      />
    </div>
  );
}
