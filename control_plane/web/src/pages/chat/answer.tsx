import { ChartColumn, Copy, Info, SquareTerminal, Table2 } from "lucide-react";
import { lazy, Suspense, useMemo, useState } from "react";
import { Link } from "react-router";
import type { Answer } from "@/api/chat";
import { useInfo } from "@/api/session";
import { incomplete, missingColumns } from "@/components/chart/data";
import { StaticGrid } from "@/components/grid/staticgrid";
import { Button, buttonVariants } from "@/components/ui/button";
import { Skeleton } from "@/components/ui/feedback";
import { Tabs } from "@/components/ui/tabs";
import { complain, notify } from "@/components/ui/toast";
import { plural } from "@/lib/format";
import { governedTablePath, worksheetPath } from "@/lib/paths";
import { columnsOf, specOf } from "./drawing";

const Markdown = lazy(() => import("@/components/markdown"));
const ChartView = lazy(async () => ({
  default: (await import("@/components/chart/view")).ChartView,
}));

/** An answer: its words, the result behind them, the SQL that gave it, and what limits it. */
export function AnswerView({ answer }: { answer: Answer }) {
  return (
    <div className="flex min-w-0 flex-col gap-3">
      <Words answer={answer} />
      {answer.sql !== "" && <Result answer={answer} />}
      {answer.sql !== "" && <Sql answer={answer} />}
      <Notes answer={answer} />
    </div>
  );
}

/**
 * The template's words are values of rows, and shown as they are. A model's may be Markdown; a link in them could
 * have come from a row, so that none leads anywhere.
 */
function Words({ answer }: { answer: Answer }) {
  if (answer.narrator !== "model") {
    return <p className="text-sm whitespace-pre-wrap break-words">{answer.text}</p>;
  }
  return (
    <Suspense fallback={<Skeleton className="w-3/4" />}>
      <Markdown text={answer.text} links={false} />
    </Suspense>
  );
}

type Tab = "chart" | "rows";

function Result({ answer }: { answer: Answer }) {
  const columns = useMemo(() => columnsOf(answer.columns, answer.types), [answer]);
  const spec = useMemo(() => answer.chart && specOf(answer.chart), [answer]);
  const drawn =
    spec !== null &&
    spec.kind !== "table" &&
    answer.rows.length > 0 &&
    incomplete(spec) === undefined &&
    missingColumns(spec, columns).length === 0;
  const [tab, setTab] = useState<Tab>(drawn ? "chart" : "rows");
  const title = answer.reading || "Result";
  const kept = answer.rows.length;
  const table = (
    <>
      <StaticGrid label={title} columns={columns} rows={answer.rows} maxHeightPx={320} />
      {kept < answer.row_count && (
        <p className="pt-1 text-xs text-muted-foreground">
          The first {plural(kept, "row")} of {plural(answer.row_count, "row")}
          {answer.truncated ? " or more" : ""}; the worksheet gives you all.
        </p>
      )}
    </>
  );
  if (!drawn || spec === null) return <div className="min-w-0">{table}</div>;
  return (
    <Tabs
      label="Result"
      value={tab}
      onChange={setTab}
      className="min-w-0 rounded-lg border"
      panelClassName="p-3"
      tabs={[
        { value: "chart", label: "Chart", icon: <ChartColumn aria-hidden /> },
        { value: "rows", label: "Rows", icon: <Table2 aria-hidden />, count: kept },
      ]}
    >
      {tab === "chart" ? (
        <div className={spec.kind === "number" ? "h-28" : "h-72"}>
          <Suspense fallback={<Skeleton className="size-full" />}>
            <ChartView spec={spec} columns={columns} rows={answer.rows} title={title} />
          </Suspense>
        </div>
      ) : (
        table
      )}
    </Tabs>
  );
}

function Sql({ answer }: { answer: Answer }) {
  const catalog = useInfo()?.default_catalog;
  const copy = () => {
    navigator.clipboard.writeText(answer.sql).then(
      () => notify("SQL copied"),
      () => complain("The SQL could not be copied", "The browser does not let this page."),
    );
  };
  return (
    <section aria-label="SQL" className="min-w-0 rounded-lg border bg-muted">
      <header className="flex min-h-8 flex-wrap items-center gap-1 border-b px-3 py-0.5">
        <h3 className="flex-1 text-xs font-medium text-muted-foreground">SQL that ran as you</h3>
        <Button variant="ghost" size="sm" onClick={copy}>
          <Copy aria-hidden />
          Copy
        </Button>
        <Link
          to={worksheetPath(answer.sql, catalog)}
          className={buttonVariants({ variant: "ghost", size: "sm" })}
        >
          <SquareTerminal aria-hidden />
          Open in worksheet
        </Link>
      </header>
      <pre
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
        tabIndex={0}
        className="max-h-56 overflow-auto p-3 font-mono text-xs whitespace-pre-wrap break-words"
      >
        {answer.sql}
      </pre>
    </section>
  );
}

function Notes({ answer }: { answer: Answer }) {
  const catalog = useInfo()?.default_catalog;
  const { notes, hints, rules } = answer;
  if (notes.length + hints.length + rules.length === 0 && answer.reading === "") return null;
  return (
    <ul className="flex flex-col gap-1 text-xs text-muted-foreground">
      {answer.reading !== "" && <li className="break-words">Understood as: {answer.reading}</li>}
      {notes.map((note) => (
        <li key={note} className="flex items-start gap-1.5 break-words">
          <Info className="mt-0.5 size-3 shrink-0" aria-hidden />
          <span className="min-w-0">{note}</span>
        </li>
      ))}
      {catalog !== undefined &&
        rules.map((rule) => (
          <li key={rule.table}>
            <Link
              to={governedTablePath(catalog, rule.table, "access")}
              className="inline-flex min-h-6 items-center text-primary underline underline-offset-2"
            >
              Why you see {rule.table} as you do
            </Link>
          </li>
        ))}
      {hints.map((hint) => (
        <li key={hint} className="break-words">
          {hint}
        </li>
      ))}
    </ul>
  );
}
