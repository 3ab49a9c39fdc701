import { useQuery } from "@tanstack/react-query";
import { ArrowRight, Database, FileCode2, LayoutDashboard, Plus, Table2 } from "lucide-react";
import { Link } from "react-router";
import { api, unwrap } from "@/api/client";
import { useInfo, useMe } from "@/api/session";
import type { CompletionNamespace } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { StateBadge } from "@/components/state";
import { buttonVariants } from "@/components/ui/button";
import { Card, CardHeader } from "@/components/ui/card";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { ago, clip, plural } from "@/lib/format";
import { useNow } from "@/lib/hooks";
import { tablePath } from "@/lib/paths";
import { Page } from "@/shell/page";

/** Where somebody starts: what they may read, what they ran last, what was shared with them. */
export function Home() {
  const me = useMe();
  const first = me.name.split(" ")[0] || me.username;
  return (
    <Page
      title="Home"
      heading={`Hello, ${first}`}
      description={
        me.groups.length > 0
          ? `You are in ${me.groups.join(", ")}. What you see everywhere follows from that.`
          : "You are in no group, so no table is granted to you yet. A steward or a lab admin can change that."
      }
      actions={
        <>
          <Link to="/explorer" className={buttonVariants()}>
            <Table2 aria-hidden />
            Explore tables
          </Link>
          <Link to="/worksheet?new=1" className={buttonVariants({ variant: "primary" })}>
            <Plus aria-hidden />
            New worksheet
          </Link>
        </>
      }
    >
      <div className="grid items-start gap-4 lg:grid-cols-5">
        <div className="flex flex-col gap-4 lg:col-span-3">
          <Recent />
          <Saved />
        </div>
        <div className="flex flex-col gap-4 lg:col-span-2">
          <Readable />
          <Boards />
        </div>
      </div>
    </Page>
  );
}

function More({ to, children }: { to: string; children: string }) {
  return (
    <Link to={to} className={buttonVariants({ variant: "ghost", size: "sm" })}>
      {children}
      <ArrowRight aria-hidden />
    </Link>
  );
}

const ROW = "flex min-h-10 items-center gap-3 border-t px-4 py-1.5 text-sm hover:bg-accent/60";

function Recent() {
  const now = useNow(30_000);
  const history = useQuery({
    queryKey: ["history", { limit: 6 }],
    queryFn: () => unwrap(api.GET("/api/v1/queries", { params: { query: { limit: 6 } } })),
    staleTime: 5000,
  });
  return (
    <Card>
      <CardHeader title="Recent queries" actions={<More to="/worksheet?panel=history">All</More>} />
      {history.error ? (
        <ProblemNote error={history.error} again className="mx-4 mb-4" />
      ) : history.isPending ? (
        <SkeletonRows rows={4} />
      ) : history.data.queries.length === 0 ? (
        <Empty icon={FileCode2} title="You have run nothing yet">
          Open a worksheet and ask something: every statement stays in your history.
        </Empty>
      ) : (
        <ul>
          {history.data.queries.map((query) => (
            <li key={query.id}>
              <Link to={`/worksheet/query/${query.id}`} className={ROW}>
                <span className="min-w-0 flex-1 truncate font-mono text-xs">
                  {clip(query.statement.replace(/\s+/g, " "), 160)}
                </span>
                <StateBadge state={query.state} />
                <span className="w-20 shrink-0 text-right text-xs text-muted-foreground">
                  {ago(query.created_at, now)}
                </span>
              </Link>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function Saved() {
  const saved = useQuery({
    queryKey: ["saved-queries", ""],
    queryFn: () => unwrap(api.GET("/api/v1/saved-queries")),
  });
  return (
    <Card>
      <CardHeader title="Saved queries" actions={<More to="/worksheet?panel=saved">All</More>} />
      {saved.error ? (
        <ProblemNote error={saved.error} again className="mx-4 mb-4" />
      ) : saved.isPending ? (
        <SkeletonRows rows={3} />
      ) : saved.data.length === 0 ? (
        <Empty icon={FileCode2} title="No saved query">
          Save one from the worksheet, and share it with a group: they run it with their own rights.
        </Empty>
      ) : (
        <ul>
          {saved.data.slice(0, 6).map((query) => (
            <li key={query.id}>
              <Link to={`/worksheet/saved/${query.id}`} className={ROW}>
                <FileCode2 className="size-4 shrink-0 text-muted-foreground" aria-hidden />
                <span className="min-w-0 flex-1 truncate">{query.title}</span>
                <span className="text-xs text-muted-foreground">{query.owner}</span>
              </Link>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function namespaces(found: readonly CompletionNamespace[]) {
  return found.filter((one) => one.name !== "information_schema" && one.tables.length > 0);
}

function Readable() {
  const catalog = useInfo()?.default_catalog;
  const completion = useQuery({
    queryKey: ["completion", catalog],
    queryFn: () =>
      unwrap(api.GET("/api/v1/sql/completion", { params: { query: { catalog: catalog ?? "" } } })),
    enabled: catalog !== undefined,
    staleTime: 60_000,
  });
  return (
    <Card>
      <CardHeader title="Tables you may read" actions={<More to="/explorer">Explorer</More>} />
      {completion.error ? (
        <ProblemNote error={completion.error} again className="mx-4 mb-4" />
      ) : completion.isPending ? (
        <SkeletonRows rows={4} />
      ) : namespaces(completion.data.namespaces).length === 0 ? (
        <Empty icon={Database} title="No table is granted to you">
          Ask a data steward to grant one of your groups what you need.
        </Empty>
      ) : (
        <ul className="pb-2">
          {namespaces(completion.data.namespaces).map((namespace) => (
            <li key={namespace.name} className="border-t px-4 py-2.5">
              <p className="flex items-baseline justify-between text-sm font-medium">
                {namespace.name}
                <span className="text-xs font-normal text-muted-foreground">
                  {plural(namespace.tables.length, "table")}
                </span>
              </p>
              <p className="mt-1 flex flex-wrap gap-x-3 gap-y-0.5">
                {namespace.tables.slice(0, 12).map((table) => (
                  <Link
                    key={table.name}
                    to={tablePath(catalog ?? "", namespace.name, table.name)}
                    className="inline-flex min-h-6 items-center font-mono text-xs text-primary hover:underline"
                  >
                    {table.name}
                  </Link>
                ))}
              </p>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function Boards() {
  const boards = useQuery({
    queryKey: ["dashboards"],
    queryFn: () => unwrap(api.GET("/api/v1/dashboards")),
  });
  return (
    <Card>
      <CardHeader title="Dashboards" actions={<More to="/dashboards">All</More>} />
      {boards.error ? (
        <ProblemNote error={boards.error} again className="mx-4 mb-4" />
      ) : boards.isPending ? (
        <SkeletonRows rows={3} />
      ) : boards.data.length === 0 ? (
        <Empty icon={LayoutDashboard} title="No dashboard">
          Turn a result into a chart, then put charts side by side.
        </Empty>
      ) : (
        <ul>
          {boards.data.slice(0, 6).map((board) => (
            <li key={board.id}>
              <Link to={`/dashboards/${board.id}`} className={ROW}>
                <LayoutDashboard className="size-4 shrink-0 text-muted-foreground" aria-hidden />
                <span className="min-w-0 flex-1 truncate">{board.title}</span>
                <span className="text-xs text-muted-foreground">
                  {plural(board.tile_count, "tile")}
                </span>
              </Link>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
