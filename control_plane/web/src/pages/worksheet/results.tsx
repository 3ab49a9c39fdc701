import { ChartColumn, CircleAlert, Download, Gauge, Play, Table2 } from "lucide-react";
import { lazy, type ReactNode, Suspense, useState } from "react";
import type { Query, QueryError } from "@/api/types";
import { Grid, MOST_ROWS } from "@/components/grid/grid";
import { ProblemNote } from "@/components/problem";
import { isOver, StateBadge } from "@/components/state";
import { Button, buttonVariants } from "@/components/ui/button";
import { Empty, Failure, SkeletonRows, Spinner } from "@/components/ui/feedback";
import { Kbd } from "@/components/ui/kbd";
import { Menu, MenuItem } from "@/components/ui/menu";
import { Tabs } from "@/components/ui/tabs";
import { bytes, compact, count, duration, plural } from "@/lib/format";
import { useNow } from "@/lib/hooks";
import type { Run, RunSnapshot } from "@/query/run";
import type { Sheet } from "./sheets";
import { positionOf } from "./statements";
import { StatisticsPanel } from "./statistics";

const ChartPanel = lazy(() => import("./chartpanel"));

type Tab = "rows" | "chart" | "statistics";

const FORMATS = [
  { format: "csv", label: "CSV" },
  { format: "parquet", label: "Parquet" },
  { format: "arrow", label: "Arrow IPC" },
  { format: "jsonl", label: "JSON lines" },
] as const;

/** What came of the statement that ran last. */
export function Results({
  run,
  snapshot,
  sheet,
  onShowError,
}: {
  run: Run | undefined;
  snapshot: RunSnapshot | null;
  sheet: Sheet;
  onShowError: (position: number) => void;
}) {
  const [tab, setTab] = useState<Tab>("rows");
  if (run === undefined || snapshot === null) {
    return (
      <div className="min-h-0 flex-1 overflow-auto">
        <Empty icon={Play} title="Nothing has run in this worksheet yet">
          <p>
            Write a statement and press <Kbd keys={["Mod", "Enter"]} />. Several statements are
            parted by semicolons; the one at the cursor runs.
          </p>
        </Empty>
      </div>
    );
  }
  return (
    <Tabs
      label="Result"
      value={tab}
      onChange={setTab}
      className="min-h-40 flex-1"
      panelClassName="flex flex-col"
      actions={<Downloads query={snapshot.query} />}
      tabs={[
        { value: "rows", label: "Result", icon: <Table2 aria-hidden /> },
        { value: "chart", label: "Chart", icon: <ChartColumn aria-hidden /> },
        { value: "statistics", label: "Statistics", icon: <Gauge aria-hidden /> },
      ]}
    >
      <Status snapshot={snapshot} />
      {tab === "rows" && <Rows run={run} snapshot={snapshot} onShowError={onShowError} />}
      {tab === "chart" && (
        <Suspense fallback={<SkeletonRows />}>
          <ChartPanel run={run} snapshot={snapshot} sheet={sheet} />
        </Suspense>
      )}
      {tab === "statistics" && <StatisticsPanel snapshot={snapshot} />}
    </Tabs>
  );
}

function Downloads({ query }: { query: Query | null }) {
  if (query === null || !query.available || query.row_count === 0) return null;
  return (
    <Menu
      align="end"
      trigger={
        <Button variant="ghost" size="sm">
          <Download aria-hidden />
          Download
        </Button>
      }
    >
      {FORMATS.map(({ format, label }) => (
        <MenuItem
          key={format}
          render={<a href={`/api/v1/queries/${query.id}/download?format=${format}`} download />}
        >
          {label}
        </MenuItem>
      ))}
    </Menu>
  );
}

/** One line: how it stands, how long it has run, what it has read. Read out when it changes its state. */
function Status({ snapshot }: { snapshot: RunSnapshot }) {
  const over = snapshot.state !== "starting" && isOver(snapshot.state);
  const now = useNow(over ? 60_000 : 200);
  const elapsedMs = (snapshot.endedAt ?? now) - snapshot.startedAt;
  const { statistics, query } = snapshot;
  const progress = over ? null : (statistics?.progress ?? null);
  return (
    <div className="shrink-0">
      <div className="flex min-h-8 flex-wrap items-center gap-x-3 gap-y-0.5 px-3 py-1 text-xs text-muted-foreground">
        <span role="status">
          {snapshot.state === "starting" ? (
            <Spinner label="Starting" />
          ) : (
            <StateBadge state={snapshot.state} />
          )}
        </span>
        {snapshot.columns !== null && (
          <span className="font-medium text-foreground tabular">
            {plural(snapshot.rowCount, "row")}
          </span>
        )}
        {query?.update_type && (
          <span className="font-medium text-foreground">
            {query.update_type}
            {query.update_count !== null && `: ${plural(query.update_count, "row")}`}
          </span>
        )}
        <span className="tabular">{duration(elapsedMs)}</span>
        {statistics && statistics.processed_rows > 0 && (
          <span className="hidden tabular sm:inline">
            {compact(statistics.processed_rows)} rows read, {bytes(statistics.processed_bytes)}
          </span>
        )}
        {statistics?.queued && <span>waiting in Trino's queue</span>}
        {query?.truncated && (
          <span className="text-warning">
            stopped at {count(snapshot.rowCount)} rows; a download holds all of them
          </span>
        )}
        {snapshot.rowCount > MOST_ROWS && (
          <span className="text-warning">the first {count(MOST_ROWS)} are shown</span>
        )}
        {query?.trino_query_id && (
          <span className="ml-auto hidden font-mono text-2xs lg:inline">
            {query.trino_query_id}
          </span>
        )}
      </div>
      <div className="h-0.5 bg-border" aria-hidden>
        {!over && (
          <div
            style={{ width: `${Math.round((progress ?? 0.05) * 100)}%` }}
            className="h-full bg-primary transition-[width] duration-300"
          />
        )}
      </div>
    </div>
  );
}

function Rows({
  run,
  snapshot,
  onShowError,
}: {
  run: Run;
  snapshot: RunSnapshot;
  onShowError: (position: number) => void;
}) {
  const { query, columns, problem } = snapshot;
  const notes: ReactNode[] = [];
  if (problem !== null) notes.push(<ProblemNote key="problem" error={problem} className="m-3" />);
  if (query?.error) {
    notes.push(
      <StatementError
        key="error"
        error={query.error}
        onShow={
          query.error.line
            ? () =>
                onShowError(
                  (snapshot.request?.offset ?? 0) +
                    positionOf(query.statement, query.error?.line ?? 1, query.error?.column ?? 1),
                )
            : undefined
        }
      />,
    );
  }
  for (const warning of query?.warnings ?? []) {
    notes.push(
      <p key={warning} className="mx-3 mt-2 text-xs text-warning">
        {warning}
      </p>,
    );
  }
  const failed = problem !== null || query?.error;
  return (
    <>
      {notes}
      {columns !== null && columns.length > 0 && (snapshot.rowCount > 0 || !failed) ? (
        <Grid
          label="Result"
          columns={columns}
          rowCount={snapshot.rowCount}
          rowAt={(index) => run.rows.at(index)}
          onVisible={run.need}
          className="min-h-0 flex-1"
        />
      ) : failed ? null : !isFinal(snapshot) ? (
        <SkeletonRows rows={5} />
      ) : (
        <NoRows snapshot={snapshot} />
      )}
      {columns !== null &&
        snapshot.rowCount === 0 &&
        snapshot.state === "finished" &&
        !query?.update_type && (
          <Empty title="No row" className="absolute inset-x-0 bottom-4 pointer-events-none">
            The statement gave no row. Rules may hide rows from you: the explorer says which.
          </Empty>
        )}
    </>
  );
}

function isFinal(snapshot: RunSnapshot): boolean {
  return snapshot.state !== "starting" && isOver(snapshot.state);
}

function NoRows({ snapshot }: { snapshot: RunSnapshot }) {
  const { state, query } = snapshot;
  if (state === "finished") {
    return <Empty title={query?.update_type ? `${query.update_type} is done` : "Done"} />;
  }
  if (state === "canceled") return <Empty title="Canceled">Trino has stopped it.</Empty>;
  if (state === "abandoned") {
    return (
      <Empty title="Nobody listened any more">
        A query is canceled when its page is closed while it runs. Run it again.
      </Empty>
    );
  }
  if (state === "lost") {
    return <Empty title="The console was restarted while it ran">Run it again.</Empty>;
  }
  return <Empty title="Its rows are not kept any more">Run it again to see them.</Empty>;
}

/** What Trino says of a statement, with a way to the place in it. */
function StatementError({ error, onShow }: { error: QueryError; onShow?: () => void }) {
  return (
    <Failure
      className="m-3"
      title={error.denied ? "You may not do this" : (error.name ?? "The statement failed")}
    >
      <p className="font-mono text-xs whitespace-pre-wrap">{error.message}</p>
      <div className="mt-1.5 flex flex-wrap items-center gap-2">
        {onShow && (
          <Button size="sm" onClick={onShow}>
            <CircleAlert aria-hidden />
            Line {error.line}, column {error.column}
          </Button>
        )}
        {error.denied && (
          <a href="/explorer" className={buttonVariants({ size: "sm" })}>
            What may I read?
          </a>
        )}
      </div>
    </Failure>
  );
}
