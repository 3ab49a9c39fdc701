import { useQuery } from "@tanstack/react-query";
import { ChartColumn } from "lucide-react";
import { useState } from "react";
import { Link } from "react-router";
import { api, unwrap } from "@/api/client";
import { useMe } from "@/api/session";
import { KINDS } from "@/components/chart/speceditor";
import { KeptCard } from "@/components/list";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { buttonVariants } from "@/components/ui/button";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { Input } from "@/components/ui/input";
import { useWorkspaceFilter, WorkspaceFilter } from "@/components/workspacechoice";
import { useDebounced } from "@/lib/hooks";
import { Page } from "@/shell/page";

export default function ChartsPage() {
  const me = useMe();
  const [text, setText] = useState("");
  const searched = useDebounced(text.trim(), 200);
  const workspace = useWorkspaceFilter();
  const charts = useQuery({
    queryKey: ["charts", searched, workspace],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/charts", {
          params: { query: { text: searched || undefined, workspace_id: workspace } },
        }),
      ),
    placeholderData: (before) => before,
  });
  return (
    <Page
      title="Charts"
      description="Kept with their statement, never with rows: whoever looks at one sees their own."
      actions={
        <Link to="/worksheet?new=1" className={buttonVariants({ variant: "primary" })}>
          Draw a result
        </Link>
      }
    >
      <div className="flex flex-wrap gap-2">
        <Input
          type="search"
          aria-label="Filter charts"
          placeholder="Filter charts"
          className="max-w-72"
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
        <WorkspaceFilter />
      </div>
      {charts.error ? (
        <ProblemNote error={charts.error} onRetry={() => void charts.refetch()} />
      ) : charts.isPending ? (
        <SkeletonRows />
      ) : charts.data.length === 0 ? (
        <Empty
          icon={ChartColumn}
          title={searched ? "No chart has this in its title" : "No chart yet"}
          className="rounded-lg border bg-card"
        >
          Run a statement in the worksheet, choose Chart beside its result, and save what you see.
        </Empty>
      ) : (
        <ul className="grid gap-3 sm:grid-cols-2 xl:grid-cols-3">
          {charts.data.map((chart) => (
            <li key={chart.id}>
              <KeptCard
                to={`/charts/${chart.id}`}
                title={chart.title}
                description={chart.description}
                owner={chart.owner}
                mine={chart.owner === me.username}
                shares={chart.shares}
                workspace={chart.workspace}
                updatedAt={chart.updated_at}
                icon={<ChartColumn aria-hidden />}
                note={<Badge>{KINDS.find((one) => one.kind === chart.spec.kind)?.label}</Badge>}
              />
            </li>
          ))}
        </ul>
      )}
    </Page>
  );
}
