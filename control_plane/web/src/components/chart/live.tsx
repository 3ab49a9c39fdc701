import type { ChartSpec, Query } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { Skeleton } from "@/components/ui/feedback";
import { useRows } from "@/query/userows";
import { ChartView } from "./view";

export const CHART_ROWS = 20_000;

/** A chart filled with the viewer's own rows. */
export function LiveChart({
  queryKey,
  start,
  spec,
  title,
}: {
  queryKey: readonly unknown[];
  start: () => Promise<Query>;
  spec: ChartSpec;
  title: string;
}) {
  const rows = useRows(queryKey, start, CHART_ROWS);
  if (rows.error) return <ProblemNote error={rows.error} onRetry={() => void rows.refetch()} />;
  if (rows.data === undefined) {
    return (
      <div
        role="status"
        aria-label={`Loading ${title}`}
        className="flex size-full items-end gap-2 p-2"
      >
        {["h-2/5", "h-3/5", "h-1/2", "h-4/5", "h-2/3", "h-1/3"].map((height) => (
          <Skeleton key={height} className={`flex-1 ${height}`} />
        ))}
      </div>
    );
  }
  return <ChartView spec={spec} columns={rows.data.columns} rows={rows.data.rows} title={title} />;
}
