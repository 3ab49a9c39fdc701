import { useQuery } from "@tanstack/react-query";
import { useParams } from "react-router";
import { api, unwrap } from "@/api/client";
import { useMe } from "@/api/session";
import type { Dashboard } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { SkeletonRows } from "@/components/ui/feedback";
import { Page } from "@/shell/page";
import { Board } from "./board";

export default function DashboardPage() {
  const { dashboardId = "" } = useParams();
  const { username } = useMe();
  const isNew = dashboardId === "new";
  const board = useQuery({
    queryKey: ["dashboard", dashboardId],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/dashboards/{dashboard_id}", {
          params: { path: { dashboard_id: dashboardId } },
        }),
      ),
    enabled: !isNew,
    staleTime: 0,
  });
  if (isNew) return <Board key="new" board={emptyBoard(username)} isNew />;
  // A board that is being changed stays, whatever becomes of a later look at it.
  if (board.error && board.data === undefined) {
    return (
      <Page title="Dashboard" crumbs={[{ label: "Dashboards", to: "/dashboards" }]}>
        <ProblemNote error={board.error} onRetry={() => void board.refetch()} />
      </Page>
    );
  }
  if (board.data === undefined) return <SkeletonRows rows={10} />;
  return <Board key={board.data.id} board={board.data} />;
}

function emptyBoard(owner: string): Dashboard {
  const now = new Date().toISOString();
  return {
    id: "",
    title: "",
    description: "",
    owner,
    shares: [],
    version: 0,
    can_edit: true,
    can_manage: true,
    workspace: null,
    created_at: now,
    updated_at: now,
    updated_by: owner,
    tiles: [],
    filters: [],
    charts: [],
  };
}
