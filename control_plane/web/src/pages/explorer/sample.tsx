import { useSearchParams } from "react-router";
import { StaticGrid } from "@/components/grid/staticgrid";
import { ProblemNote } from "@/components/problem";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { Field, Select } from "@/components/ui/input";
import { instant, plural } from "@/lib/format";
import { type TableRef, useSample, useSnapshots } from "./data";

/** Some rows as the reader sees them, now or as of a snapshot. */
export function SampleTab({ tableRef }: { tableRef: TableRef }) {
  const [search, setSearch] = useSearchParams();
  const snapshotId = search.get("snapshot");
  const sample = useSample(tableRef, snapshotId);
  const snapshots = useSnapshots(tableRef).data?.snapshots ?? [];
  return (
    <div className="flex flex-col gap-3">
      <div className="flex flex-wrap items-end justify-between gap-3">
        <p className="text-sm text-muted-foreground">
          {sample.data
            ? `${plural(sample.data.rows.length, "row")}${sample.data.truncated ? ", the first of more" : ""}, masked and filtered as for you.`
            : "Rows as you see them."}
        </p>
        {snapshots.length > 1 && (
          <Field label="As of" className="w-72">
            {(props) => (
              <Select
                {...props}
                value={snapshotId ?? ""}
                onChange={(event) =>
                  setSearch(event.target.value ? { snapshot: event.target.value } : {}, {
                    replace: true,
                  })
                }
              >
                <option value="">now</option>
                {snapshots.map((one) => (
                  <option key={one.id} value={one.id}>
                    {instant(one.committed_at)} ({one.operation})
                  </option>
                ))}
              </Select>
            )}
          </Field>
        )}
      </div>
      {sample.error ? (
        <ProblemNote error={sample.error} onRetry={() => void sample.refetch()} />
      ) : sample.isPending ? (
        <SkeletonRows rows={10} />
      ) : sample.data.rows.length === 0 ? (
        <Empty title="No row that you may see" className="rounded-lg border bg-card">
          The table may be empty, or its row filters let none through to you.
        </Empty>
      ) : (
        <StaticGrid
          label="Sample rows"
          columns={sample.data.columns}
          rows={sample.data.rows}
          maxHeightPx={620}
        />
      )}
    </div>
  );
}
