import type { UseQueryResult } from "@tanstack/react-query";
import { Files, LayoutGrid, Lock } from "lucide-react";
import { useMemo } from "react";
import type { Column, Row } from "@/api/types";
import { StaticGrid } from "@/components/grid/staticgrid";
import { ProblemNote } from "@/components/problem";
import { Card, CardHeader } from "@/components/ui/card";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { plural } from "@/lib/format";
import { type TableRef, useFiles, usePartitions, useTableDetail } from "./data";
import { byField } from "./partitions";

interface Metadata {
  columns: Column[];
  rows: Row[];
  truncated: boolean;
  denied?: string | null;
}

/** What a table is made of in the object store. */
export function FilesTab({ tableRef }: { tableRef: TableRef }) {
  const partitions = usePartitions(tableRef);
  const definition = useTableDetail(tableRef).data?.definition;
  const found = partitions.data;
  const told = useMemo(
    () => (found ? byField(found.columns, found.rows, definition) : null),
    [found, definition],
  );
  return (
    <div className="flex flex-col gap-4">
      <Section
        title="Partitions"
        noun="partition"
        icon={LayoutGrid}
        query={partitions}
        told={told}
        note={
          told?.by.length ? `by ${told.by.join(", ")}` : "not partitioned: all files are one part"
        }
      />
      <Section title="Files" noun="file" icon={Files} query={useFiles(tableRef)} />
    </div>
  );
}

function Section({
  title,
  noun,
  icon,
  query,
  told,
  note,
}: {
  title: string;
  noun: string;
  icon: typeof Files;
  query: UseQueryResult<Metadata>;
  /** The rows as they are shown, if not as they came. */
  told?: { columns: Column[]; rows: Row[] } | null;
  note?: string;
}) {
  const rows = told ?? query.data;
  const more = query.data?.truncated ? ", the first of more" : "";
  return (
    <Card>
      <CardHeader
        title={title}
        description={
          query.data && !query.data.denied
            ? [`${plural(query.data.rows.length, noun)}${more}`, note].filter(Boolean).join(", ")
            : undefined
        }
      />
      {query.error ? (
        <ProblemNote
          error={query.error}
          className="mx-4 mb-4"
          onRetry={() => void query.refetch()}
        />
      ) : query.isPending ? (
        <SkeletonRows rows={4} />
      ) : query.data.denied ? (
        <Empty icon={Lock} title="You may not see this">
          {query.data.denied}
        </Empty>
      ) : rows === undefined || rows.rows.length === 0 ? (
        <Empty icon={icon} title={`No ${noun}`} />
      ) : (
        <StaticGrid
          label={title}
          columns={rows.columns}
          rows={rows.rows}
          maxHeightPx={340}
          className="border-t [&_[role=grid]]:rounded-t-none [&_[role=grid]]:border-0"
        />
      )}
    </Card>
  );
}
