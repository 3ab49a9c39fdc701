import { useQuery } from "@tanstack/react-query";
import { LayoutDashboard, Plus } from "lucide-react";
import { useState } from "react";
import { Link } from "react-router";
import { api, unwrap } from "@/api/client";
import { useMe } from "@/api/session";
import { KeptCard } from "@/components/list";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { buttonVariants } from "@/components/ui/button";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { Input } from "@/components/ui/input";
import { useWorkspaceFilter, WorkspaceFilter } from "@/components/workspacechoice";
import { plural } from "@/lib/format";
import { Page } from "@/shell/page";

export default function DashboardsPage() {
  const me = useMe();
  const [text, setText] = useState("");
  const workspace = useWorkspaceFilter();
  const boards = useQuery({
    queryKey: ["dashboards", workspace],
    queryFn: () =>
      unwrap(api.GET("/api/v1/dashboards", { params: { query: { workspace_id: workspace } } })),
  });
  const wanted = text.trim().toLowerCase();
  const shown = (boards.data ?? []).filter((one) =>
    `${one.title} ${one.description}`.toLowerCase().includes(wanted),
  );
  return (
    <Page
      title="Dashboards"
      description="Charts side by side, with filters. Each viewer's own rights fill them."
      actions={
        <Link to="/dashboards/new" className={buttonVariants({ variant: "primary" })}>
          <Plus aria-hidden />
          New dashboard
        </Link>
      }
    >
      <div className="flex flex-wrap gap-2">
        <Input
          type="search"
          aria-label="Filter dashboards"
          placeholder="Filter dashboards"
          className="max-w-72"
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
        <WorkspaceFilter />
      </div>
      {boards.error ? (
        <ProblemNote error={boards.error} onRetry={() => void boards.refetch()} />
      ) : boards.isPending ? (
        <SkeletonRows />
      ) : shown.length === 0 ? (
        <Empty
          icon={LayoutDashboard}
          title={wanted ? "No dashboard has this in its title" : "No dashboard yet"}
          className="rounded-lg border bg-card"
        >
          Save charts from the worksheet, then put them side by side here, in a workspace or shared
          with a group.
        </Empty>
      ) : (
        <ul className="grid gap-3 sm:grid-cols-2 xl:grid-cols-3">
          {shown.map((board) => (
            <li key={board.id}>
              <KeptCard
                to={`/dashboards/${board.id}`}
                title={board.title}
                description={board.description}
                owner={board.owner}
                mine={board.owner === me.username}
                shares={board.shares}
                workspace={board.workspace}
                updatedAt={board.updated_at}
                icon={<LayoutDashboard aria-hidden />}
                note={<Badge>{plural(board.tile_count, "tile")}</Badge>}
              />
            </li>
          ))}
        </ul>
      )}
    </Page>
  );
}
