import type { UseQueryResult } from "@tanstack/react-query";
import { Files, LayoutGrid, Lock } from "lucide-react";
import type { Column, Row } from "@/api/types";
import { StaticGrid } from "@/components/grid/staticgrid";
import { ProblemNote } from "@/components/problem";
import { Card, CardHeader } from "@/components/ui/card";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { plural } from "@/lib/format";
import { type TableRef, useFiles, usePartitions } from "./data";

interface Metadata {
  columns: Column[];
  rows: Row[];
  truncated: boolean;
  denied?: string | null;
}

/** What a table is made of in the object store. */
export function FilesTab({ tableRef }: { tableRef: TableRef }) {
  return (
    <div className="flex flex-col gap-4">
      <Section
        title="Partitions"
        noun="partition"
        icon={LayoutGrid}
        query={usePartitions(tableRef)}
      />
      <Section title="Data files" noun="file" icon={Files} query={useFiles(tableRef)} />
    </div>
  );
}

function Section({
  title,
  noun,
  icon,
  query,
}: {
  title: string;
  noun: string;
  icon: typeof Files;
  query: UseQueryResult<Metadata>;
}) {
  return (
    <Card>
      <CardHeader
        title={title}
        description={
          query.data && !query.data.denied
            ? `${plural(query.data.rows.length, noun)}${query.data.truncated ? ", the first of more" : ""}`
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
      ) : query.data.rows.length === 0 ? (
        <Empty icon={icon} title={`No ${noun}`} />
      ) : (
        <StaticGrid
          label={title}
          columns={query.data.columns}
          rows={query.data.rows}
          maxHeightPx={340}
          className="border-t [&_[role=grid]]:rounded-t-none [&_[role=grid]]:border-0"
        />
      )}
    </Card>
  );
}
