import type { ReactNode } from "react";
import { Empty } from "@/components/ui/feedback";
import { bytes, count, duration } from "@/lib/format";
import type { RunSnapshot } from "@/query/run";

/** Trino's numbers of a run. */
export function StatisticsPanel({ snapshot }: { snapshot: RunSnapshot }) {
  const { statistics, query } = snapshot;
  if (statistics === null) return <Empty title="Trino has told no numbers of this run" />;
  const facts: [string, ReactNode][] = [
    ["Elapsed", duration(statistics.elapsed_s * 1000)],
    ["Waited in the queue", duration(statistics.queued_s * 1000)],
    ["CPU", duration(statistics.cpu_s * 1000)],
    ["Wall time of all threads", duration(statistics.wall_s * 1000)],
    ["Rows read", count(statistics.processed_rows)],
    ["Data processed", bytes(statistics.processed_bytes)],
    ["Read from files", bytes(statistics.physical_input_bytes)],
    ["Peak memory", bytes(statistics.peak_memory_bytes)],
    ["Spilled to disk", bytes(statistics.spilled_bytes)],
    ["Splits", `${count(statistics.completed_splits)} of ${count(statistics.splits)}`],
    ["Nodes", count(statistics.nodes)],
    ["Trino's state", statistics.state],
    [
      "Query",
      <code key="id" className="font-mono text-xs">
        {query?.trino_query_id ?? "–"}
      </code>,
    ],
  ];
  return (
    <dl className="grid max-w-3xl gap-x-8 overflow-auto p-4 sm:grid-cols-2">
      {facts.map(([name, value]) => (
        <div
          key={name}
          className="flex min-h-8 items-center justify-between gap-4 border-b text-sm"
        >
          <dt className="text-muted-foreground">{name}</dt>
          <dd className="text-right tabular">{value}</dd>
        </div>
      ))}
    </dl>
  );
}
