import { GitFork } from "lucide-react";
import { Link, useSearchParams } from "react-router";
import type { Lineage } from "@/api/types";
import { DataTable } from "@/components/datatable";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { Card, CardHeader } from "@/components/ui/card";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { Field, Select } from "@/components/ui/input";
import { clip, count, instant, plural } from "@/lib/format";
import { governedTablePath } from "@/lib/paths";
import { type TableRef, useLineage } from "./data";

const SPANS = [
  [86_400, "the last day"],
  [7 * 86_400, "the last 7 days"],
  [30 * 86_400, "the last 30 days"],
  [90 * 86_400, "the last 90 days"],
] as const;

/** Where rows came from and went, as the audit saw it. */
export function LineageTab({ tableRef }: { tableRef: TableRef }) {
  const [search, setSearch] = useSearchParams();
  const since = Number(search.get("since") ?? 30 * 86_400);
  const lineage = useLineage(tableRef, since);
  return (
    <div className="flex flex-col gap-4">
      <div className="flex flex-wrap items-end justify-between gap-3">
        <p className="max-w-prose text-sm text-muted-foreground">
          {lineage.data && !lineage.data.complete
            ? "From your own queries; auditors and lab admins see everybody's."
            : "From the queries that the audit knows."}
        </p>
        <Field label="Within" className="w-48">
          {(props) => (
            <Select
              {...props}
              value={since}
              onChange={(event) => setSearch({ since: event.target.value }, { replace: true })}
            >
              {SPANS.map(([seconds, label]) => (
                <option key={seconds} value={seconds}>
                  {label}
                </option>
              ))}
            </Select>
          )}
        </Field>
      </div>
      {lineage.error ? (
        <ProblemNote error={lineage.error} onRetry={() => void lineage.refetch()} />
      ) : lineage.isPending ? (
        <SkeletonRows />
      ) : (
        <>
          <Graph lineage={lineage.data} catalog={tableRef.catalog} />
          <Uses title="Written by" noun="query" uses={lineage.data.written_by} />
          <Uses title="Read by" noun="query" uses={lineage.data.read_by} />
        </>
      )}
    </div>
  );
}

const [NODE_W, NODE_H, GAP_X, GAP_Y] = [184, 44, 72, 14];

/** Tables as boxes, sources at the left, targets at the right. */
function Graph({ lineage, catalog }: { lineage: Lineage; catalog: string }) {
  const { upstream, downstream } = lineage;
  if (upstream.length + downstream.length === 0) {
    return (
      <Empty
        icon={GitFork}
        title="No query moved rows into or out of this table"
        className="rounded-lg border bg-card"
      >
        INSERT … SELECT, CREATE TABLE … AS and MERGE show up here once they ran.
      </Empty>
    );
  }
  const rows = Math.max(upstream.length, downstream.length, 1);
  const height = rows * (NODE_H + GAP_Y) + GAP_Y;
  const width = NODE_W * 3 + GAP_X * 2 + 8;
  const middle = height / 2 - NODE_H / 2;
  const y = (index: number, total: number) =>
    height / 2 - (total * (NODE_H + GAP_Y) - GAP_Y) / 2 + index * (NODE_H + GAP_Y);
  const x = [4, 4 + NODE_W + GAP_X, 4 + 2 * (NODE_W + GAP_X)] as const;
  const edge = (fromX: number, fromY: number, toX: number, toY: number) => {
    const bend = (fromX + toX) / 2;
    return `M ${fromX} ${fromY} C ${bend} ${fromY}, ${bend} ${toY}, ${toX} ${toY}`;
  };
  return (
    <section
      aria-label="Lineage"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
      tabIndex={0}
      className="overflow-x-auto rounded-lg border bg-card p-3"
    >
      <svg
        width={width}
        height={height}
        className="mx-auto block"
        role="group"
        aria-label={`Tables around ${lineage.table}`}
      >
        <g fill="none" className="stroke-border-strong" strokeWidth="1.5">
          {upstream.map((one, index) => (
            <path
              key={one.source}
              d={edge(
                x[0] + NODE_W,
                y(index, upstream.length) + NODE_H / 2,
                x[1],
                middle + NODE_H / 2,
              )}
            />
          ))}
          {downstream.map((one, index) => (
            <path
              key={one.target}
              d={edge(
                x[1] + NODE_W,
                middle + NODE_H / 2,
                x[2],
                y(index, downstream.length) + NODE_H / 2,
              )}
            />
          ))}
        </g>
        {upstream.map((one, index) => (
          <TableNode
            key={one.source}
            x={x[0]}
            y={y(index, upstream.length)}
            name={one.source}
            note={`${count(one.queries)} × by ${one.users.join(", ")}`}
            catalog={catalog}
          />
        ))}
        <TableNode
          x={x[1]}
          y={middle}
          name={lineage.table}
          note="this table"
          catalog={catalog}
          own
        />
        {downstream.map((one, index) => (
          <TableNode
            key={one.target}
            x={x[2]}
            y={y(index, downstream.length)}
            name={one.target}
            note={`${count(one.queries)} × by ${one.users.join(", ")}`}
            catalog={catalog}
          />
        ))}
      </svg>
    </section>
  );
}

function TableNode({
  x,
  y,
  name,
  note,
  catalog,
  own = false,
}: {
  x: number;
  y: number;
  name: string;
  note: string;
  catalog: string;
  own?: boolean;
}) {
  const box = (
    <>
      <rect
        x={x}
        y={y}
        width={NODE_W}
        height={NODE_H}
        rx="7"
        className={
          own ? "fill-primary-soft stroke-primary" : "fill-background stroke-border-strong"
        }
      />
      <text x={x + 12} y={y + 18} className="fill-foreground text-xs font-medium">
        {clip(name, 25)}
      </text>
      <text x={x + 12} y={y + 34} className="fill-muted-foreground text-2xs">
        {clip(note, 30)}
      </text>
      <title>{`${name}: ${note}`}</title>
    </>
  );
  return own ? <g>{box}</g> : <Link to={governedTablePath(catalog, name, "lineage")}>{box}</Link>;
}

function Uses({ title, noun, uses }: { title: string; noun: string; uses: Lineage["read_by"] }) {
  return (
    <Card>
      <CardHeader title={title} description={plural(uses.length, noun, "queries")} />
      <div className="px-4 pb-4">
        <DataTable
          label={title}
          rows={uses}
          rowKey={(row) => row.query_id}
          columns={[
            {
              id: "at",
              header: "When",
              value: (row) => row.at,
              cell: (row) => <span className="text-xs whitespace-nowrap">{instant(row.at)}</span>,
            },
            { id: "user", header: "Who", value: (row) => row.user, cell: (row) => row.user },
            {
              id: "statement",
              header: "Statement",
              value: (row) => row.statement,
              cell: (row) => (
                <Link
                  to={`/audit?query_id=${encodeURIComponent(row.query_id)}`}
                  className="line-clamp-2 min-w-48 font-mono text-xs break-words text-primary hover:underline"
                >
                  {clip(row.statement, 200) || row.query_id}
                </Link>
              ),
            },
            {
              id: "rows",
              header: "Rows",
              value: (row) => row.rows,
              cell: (row) => count(row.rows),
              align: "right",
              from: "sm",
            },
            {
              id: "outcome",
              header: "Outcome",
              value: (row) => row.outcome,
              cell: (row) => (
                <Badge tone={row.outcome === "finished" ? "success" : "warning"}>
                  {row.outcome}
                </Badge>
              ),
              from: "sm",
            },
          ]}
          empty={<Empty title="None in this time" />}
        />
      </div>
    </Card>
  );
}
