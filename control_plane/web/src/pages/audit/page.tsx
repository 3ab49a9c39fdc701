import { useQuery } from "@tanstack/react-query";
import { ChevronRight, ScrollText, Search } from "lucide-react";
import { useState } from "react";
import { useSearchParams } from "react-router";
import { api, unwrap } from "@/api/client";
import { useMay, useMe } from "@/api/session";
import type { AuditLine, AuditReport } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { Badge, type Tone } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Card, CardHeader } from "@/components/ui/card";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { Field, Input, Select } from "@/components/ui/input";
import { Checkbox } from "@/components/ui/switch";
import { clip, duration, instant, plural } from "@/lib/format";
import { Page } from "@/shell/page";
import { LineDetail } from "./detail";

const SPANS = [
  ["", "all that is kept"],
  ["3600", "the last hour"],
  ["86400", "the last day"],
  ["604800", "the last 7 days"],
  ["2592000", "the last 30 days"],
] as const;
const PAGE = 100;

const OUTCOMES: Record<AuditLine["outcome"], Tone> = {
  finished: "success",
  failed: "warning",
  denied: "danger",
  running: "primary",
  unknown: "neutral",
};

/** Who read what, by which rules. The search stands in the address, so that it can be sent to somebody. */
export default function AuditPage() {
  const everybody = useMay("read_audit");
  const me = useMe();
  const [search, setSearch] = useSearchParams();
  const [limit, setLimit] = useState(PAGE);
  const get = (name: string) => search.get(name) ?? "";
  const query = {
    user: get("user") || undefined,
    table: get("table") || undefined,
    since_s: get("since") ? Number(get("since")) : undefined,
    denied: get("denied") === "1" || undefined,
    query_id: get("query_id") || undefined,
    limit,
  };
  const audit = useQuery({
    queryKey: ["audit", query],
    queryFn: () => unwrap(api.GET("/api/v1/audit", { params: { query } })),
    staleTime: 5000,
    placeholderData: (before) => before,
  });
  return (
    <Page
      title="Audit"
      wide
      description={
        everybody
          ? "Who read what, by which rules, and who was refused."
          : `What ${me.username} asked, by which rules, and what was refused. Auditors and lab admins see everybody's.`
      }
    >
      <SearchForm
        key={search.toString()}
        everybody={everybody}
        get={get}
        onSearch={(next) => {
          setLimit(PAGE);
          setSearch(next);
        }}
      />
      {audit.error ? (
        <ProblemNote error={audit.error} onRetry={() => void audit.refetch()} />
      ) : audit.isPending ? (
        <SkeletonRows rows={10} />
      ) : (
        <Found report={audit.data} opened={get("query_id")} />
      )}
      {audit.data && audit.data.lines.length >= limit && limit < 1000 && (
        <Button
          className="self-center"
          busy={audit.isFetching}
          onClick={() => setLimit(Math.min(1000, limit * 2))}
        >
          Older ones
        </Button>
      )}
    </Page>
  );
}

function SearchForm({
  everybody,
  get,
  onSearch,
}: {
  everybody: boolean;
  get: (name: string) => string;
  onSearch: (search: Record<string, string>) => void;
}) {
  const [user, setUser] = useState(get("user"));
  const [table, setTable] = useState(get("table"));
  const [queryId, setQueryId] = useState(get("query_id"));
  const [since, setSince] = useState(get("since"));
  const [denied, setDenied] = useState(get("denied") === "1");
  const submit = () => {
    const all = {
      user: user.trim(),
      table: table.trim(),
      query_id: queryId.trim(),
      since,
      denied: denied ? "1" : "",
    };
    onSearch(Object.fromEntries(Object.entries(all).filter(([, value]) => value !== "")));
  };
  return (
    <form
      aria-label="Search the audit"
      className="grid items-end gap-3 rounded-lg border bg-card p-3 sm:grid-cols-2 lg:grid-cols-[repeat(4,minmax(0,1fr))_auto_auto]"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      {everybody && (
        <Field label="User">
          {(props) => (
            <Input {...props} value={user} onChange={(event) => setUser(event.target.value)} />
          )}
        </Field>
      )}
      <Field label="Table">
        {(props) => (
          <Input
            {...props}
            className="font-mono"
            placeholder="retail.customer"
            value={table}
            onChange={(event) => setTable(event.target.value)}
          />
        )}
      </Field>
      <Field label="Query">
        {(props) => (
          <Input
            {...props}
            className="font-mono"
            placeholder="20260102_030405_00006_abcde"
            value={queryId}
            onChange={(event) => setQueryId(event.target.value)}
          />
        )}
      </Field>
      <Field label="Within">
        {(props) => (
          <Select {...props} value={since} onChange={(event) => setSince(event.target.value)}>
            {SPANS.map(([value, label]) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </Select>
        )}
      </Field>
      <div className="flex h-8 items-center">
        <Checkbox checked={denied} onChange={setDenied}>
          Refused only
        </Checkbox>
      </div>
      <Button type="submit" variant="primary">
        <Search aria-hidden />
        Search
      </Button>
    </form>
  );
}

function Found({ report, opened }: { report: AuditReport; opened: string }) {
  return (
    <>
      {report.waiting > 0 && (
        <p className="text-sm text-warning">
          {plural(report.waiting, "record")} not in the audit yet: the newest queries may be
          missing.
        </p>
      )}
      <Card>
        <CardHeader
          title={plural(report.lines.length, "query", "queries")}
          description={`Kept for ${plural(report.retention_days, "day")}.`}
        />
        {report.lines.length === 0 ? (
          <Empty icon={ScrollText} title="No query of that kind">
            A query stands here some seconds after it has ended.
          </Empty>
        ) : (
          <ul>
            {report.lines.map((line) => (
              <Line key={line.query_id} line={line} open={line.query_id === opened} />
            ))}
          </ul>
        )}
      </Card>
      {report.events.length > 0 && (
        <Card>
          <CardHeader
            title="Beside queries"
            description="Changes of access data, gaps, raw engines."
          />
          <ul className="divide-y border-t">
            {report.events.map((event) => (
              <li
                key={`${event.at} ${event.what} ${event.who}`}
                className="flex flex-wrap gap-x-3 px-4 py-2 text-sm"
              >
                <span className="text-xs text-muted-foreground tabular">{instant(event.at)}</span>
                <span className="font-medium">{event.who}</span>
                <Badge tone="outline">{event.what}</Badge>
                <span className="min-w-0 flex-1 truncate font-mono text-xs text-muted-foreground">
                  {clip(JSON.stringify(event.detail), 300)}
                </span>
              </li>
            ))}
          </ul>
        </Card>
      )}
    </>
  );
}

function Line({ line, open }: { line: AuditLine; open: boolean }) {
  const [shown, setShown] = useState(open);
  const masked = line.tables.reduce((sum, table) => sum + table.masked.length, 0);
  const filters = line.tables.reduce((sum, table) => sum + table.filters, 0);
  const took =
    line.ended_at === null ? null : Date.parse(line.ended_at) - Date.parse(line.begun_at);
  return (
    <li className="border-t">
      <button
        type="button"
        aria-expanded={shown}
        onClick={() => setShown(!shown)}
        className="flex w-full items-start gap-3 px-4 py-2 text-left text-sm -outline-offset-2 hover:bg-accent/50"
      >
        <ChevronRight
          className={`mt-1 size-3.5 shrink-0 text-muted-foreground transition-transform ${shown ? "rotate-90" : ""}`}
          aria-hidden
        />
        <span className="flex min-w-0 flex-1 flex-col gap-0.5">
          <span className="line-clamp-2 font-mono text-xs break-words">
            {clip(line.statement.replace(/\s+/g, " "), 260) || line.query_id}
          </span>
          <span className="flex flex-wrap items-center gap-x-3 gap-y-1 text-xs text-muted-foreground">
            <span className="font-medium text-foreground">{line.user}</span>
            <span className="tabular">{instant(line.begun_at)}</span>
            {took !== null && <span className="tabular">{duration(took)}</span>}
            <span className="tabular">{plural(line.rows, "row")}</span>
            {line.tables.length > 0 && (
              <span>{[...new Set(line.tables.map((one) => one.table))].join(", ")}</span>
            )}
            {filters > 0 && <Badge tone="warning">{plural(filters, "row filter")}</Badge>}
            {masked > 0 && <Badge tone="warning">{plural(masked, "column")} masked</Badge>}
          </span>
        </span>
        <Badge tone={OUTCOMES[line.outcome]}>{line.outcome}</Badge>
      </button>
      {shown && <LineDetail line={line} />}
    </li>
  );
}
