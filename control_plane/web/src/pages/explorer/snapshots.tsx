import { Clock, GitCompareArrows, Lock, Minus, Plus, Table2 } from "lucide-react";
import { Link, useSearchParams } from "react-router";
import type { Snapshot } from "@/api/types";
import { StaticGrid } from "@/components/grid/staticgrid";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { Button, buttonVariants } from "@/components/ui/button";
import { Card, CardHeader } from "@/components/ui/card";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { Field, Select } from "@/components/ui/input";
import { count, instant, plural } from "@/lib/format";
import { tablePath } from "@/lib/paths";
import { type TableRef, useDiff, useSnapshots } from "./data";

const SUMMARY = [
  ["added-records", "rows added"],
  ["deleted-records", "rows deleted"],
  ["total-records", "rows in all"],
  ["added-data-files", "files added"],
] as const;

/** A table's history; any two points of it can be compared. */
export function SnapshotsTab({ tableRef }: { tableRef: TableRef }) {
  const snapshots = useSnapshots(tableRef);
  const [search, setSearch] = useSearchParams();
  const [from, to] = [search.get("from") ?? "", search.get("to") ?? ""];
  if (snapshots.error) {
    return <ProblemNote error={snapshots.error} onRetry={() => void snapshots.refetch()} />;
  }
  if (snapshots.isPending) return <SkeletonRows />;
  if (snapshots.data.denied) {
    return (
      <Empty icon={Lock} title="You may not see this table's snapshots">
        {snapshots.data.denied}
      </Empty>
    );
  }
  const list = snapshots.data.snapshots;
  if (list.length === 0) return <Empty icon={Clock} title="Nothing was written yet" />;
  const compare = (a: string, b: string) => setSearch({ from: a, to: b }, { replace: true });
  return (
    <div className="flex flex-col gap-4">
      {list.length > 1 && (
        <Card className="p-4">
          <div className="flex flex-wrap items-end gap-3">
            <Choice label="From" value={from} list={list} onChange={(id) => compare(id, to)} />
            <Choice label="To" value={to} list={list} onChange={(id) => compare(from, id)} />
            {(from || to) && (
              <Button variant="ghost" onClick={() => setSearch({}, { replace: true })}>
                Close the comparison
              </Button>
            )}
          </div>
          {from && to && from !== to && <Diff tableRef={tableRef} from={from} to={to} />}
        </Card>
      )}
      <ol className="flex flex-col">
        {list.map((snapshot) => (
          <Entry
            key={snapshot.id}
            snapshot={snapshot}
            tableRef={tableRef}
            onCompare={
              snapshot.parent_id ? () => compare(snapshot.parent_id ?? "", snapshot.id) : undefined
            }
          />
        ))}
      </ol>
    </div>
  );
}

function Choice({
  label,
  value,
  list,
  onChange,
}: {
  label: string;
  value: string;
  list: readonly Snapshot[];
  onChange: (id: string) => void;
}) {
  return (
    <Field label={label} className="w-72">
      {(props) => (
        <Select {...props} value={value} onChange={(event) => onChange(event.target.value)}>
          <option value="">A snapshot…</option>
          {list.map((one) => (
            <option key={one.id} value={one.id}>
              {instant(one.committed_at)} ({one.operation})
            </option>
          ))}
        </Select>
      )}
    </Field>
  );
}

function Entry({
  snapshot,
  tableRef,
  onCompare,
}: {
  snapshot: Snapshot;
  tableRef: TableRef;
  onCompare?: () => void;
}) {
  const { catalog, namespace, table } = tableRef;
  return (
    <li className="relative flex gap-4 pb-5 pl-6 before:absolute before:top-2 before:left-1.5 before:h-full before:w-px before:bg-border last:before:hidden">
      <span
        aria-hidden
        className={`absolute top-1.5 left-0 size-3 rounded-full border-2 ${snapshot.current ? "border-primary bg-primary" : "border-border-strong bg-background"}`}
      />
      <div className="min-w-0 flex-1">
        <p className="flex flex-wrap items-center gap-2 text-sm">
          <span className="font-medium">{instant(snapshot.committed_at)}</span>
          <Badge>{snapshot.operation}</Badge>
          {snapshot.current && <Badge tone="primary">current</Badge>}
          <span className="font-mono text-2xs text-muted-foreground">{snapshot.id}</span>
        </p>
        <p className="mt-0.5 flex flex-wrap gap-x-4 text-xs text-muted-foreground tabular">
          {SUMMARY.map(([key, label]) =>
            snapshot.summary[key] ? (
              <span key={key}>
                {count(Number(snapshot.summary[key]))} {label}
              </span>
            ) : null,
          )}
        </p>
      </div>
      <div className="flex shrink-0 flex-wrap gap-1.5 self-start">
        {onCompare && (
          <Button size="sm" onClick={onCompare}>
            <GitCompareArrows aria-hidden />
            Changes
          </Button>
        )}
        <Link
          to={`${tablePath(catalog, namespace, table, "sample")}?snapshot=${snapshot.id}`}
          className={buttonVariants({ size: "sm" })}
        >
          <Table2 aria-hidden />
          Rows then
        </Link>
      </div>
    </li>
  );
}

function Diff({ tableRef, from, to }: { tableRef: TableRef; from: string; to: string }) {
  const diff = useDiff(tableRef, from, to);
  if (diff.error) {
    return <ProblemNote error={diff.error} className="mt-4" onRetry={() => void diff.refetch()} />;
  }
  if (diff.isPending) return <SkeletonRows />;
  const { columns, added, removed, added_count, removed_count } = diff.data;
  return (
    <div className="mt-4 flex flex-col gap-4">
      <p className="flex flex-wrap gap-2 text-sm">
        <Badge tone="success">
          <Plus aria-hidden />
          {plural(added_count, "row")} added
        </Badge>
        <Badge tone="danger">
          <Minus aria-hidden />
          {plural(removed_count, "row")} removed
        </Badge>
        <span className="text-xs text-muted-foreground">as you see both snapshots</span>
      </p>
      {added.length > 0 && (
        <section>
          <CardHeader level={3} title="Added" className="px-0" />
          <StaticGrid label="Rows added" columns={columns} rows={added} maxHeightPx={300} />
        </section>
      )}
      {removed.length > 0 && (
        <section>
          <CardHeader level={3} title="Removed" className="px-0" />
          <StaticGrid label="Rows removed" columns={columns} rows={removed} maxHeightPx={300} />
        </section>
      )}
    </div>
  );
}
