import { CSPProvider } from "@base-ui/react/csp-provider";
import { QueryClientProvider } from "@tanstack/react-query";
import { lazy, useState } from "react";
import { createBrowserRouter, Navigate, RouterProvider } from "react-router";
import { makeQueryClient } from "@/api/queryClient";
import { useSession } from "@/api/session";
import { ProblemNote } from "@/components/problem";
import { Spinner } from "@/components/ui/feedback";
import { Toaster } from "@/components/ui/toast";
import { TooltipProvider } from "@/components/ui/tooltip";
import { Home } from "@/pages/home";
import { Landing } from "@/pages/landing";
import { NotFound, RouteFailure } from "@/shell/crash";
import { SessionEnded } from "@/shell/expired";
import { Layout } from "@/shell/layout";
import { Logo } from "@/shell/logo";

const Worksheet = lazy(() => import("@/pages/worksheet/page"));
const Explorer = lazy(() => import("@/pages/explorer/page"));
const Charts = lazy(() => import("@/pages/charts/list"));
const ChartPage = lazy(() => import("@/pages/charts/page"));
const Dashboards = lazy(() => import("@/pages/dashboards/list"));
const DashboardPage = lazy(() => import("@/pages/dashboards/page"));
const Jobs = lazy(() => import("@/pages/jobs/list"));
const JobPage = lazy(() => import("@/pages/jobs/page"));
const JobEdit = lazy(() => import("@/pages/jobs/edit"));
const JobRunPage = lazy(() => import("@/pages/jobs/run"));
const Governance = lazy(() => import("@/pages/governance/page"));
const Audit = lazy(() => import("@/pages/audit/page"));
const Chat = lazy(() => import("@/pages/chat/page"));
const Admin = lazy(() => import("@/pages/admin/page"));
const Workspaces = lazy(() => import("@/pages/workspaces/list"));
const WorkspacePage = lazy(() => import("@/pages/workspaces/page"));

function Gate() {
  const session = useSession();
  if (session.data) {
    return (
      <>
        <Layout />
        <SessionEnded />
      </>
    );
  }
  if (session.isPending) {
    return (
      <div className="flex min-h-full flex-col items-center justify-center gap-4">
        <Logo className="size-10" />
        <Spinner label="Opening the console" />
      </div>
    );
  }
  if (session.error) {
    return (
      <main className="mx-auto flex min-h-full max-w-lg flex-col justify-center gap-4 p-6">
        <Logo className="size-10" />
        <h1 className="text-xl font-semibold">The console is not available</h1>
        <ProblemNote error={session.error} onRetry={() => void session.refetch()} />
      </main>
    );
  }
  return <Landing />;
}

function makeRouter() {
  return createBrowserRouter([
    {
      element: <Gate />,
      errorElement: <RouteFailure />,
      children: [
        {
          errorElement: <RouteFailure />,
          children: [
            { index: true, element: <Home /> },
            { path: "worksheet", element: <Worksheet /> },
            { path: "worksheet/saved/:savedId", element: <Worksheet /> },
            { path: "worksheet/query/:queryId", element: <Worksheet /> },
            { path: "explorer", element: <Explorer /> },
            { path: "explorer/:catalog", element: <Explorer /> },
            { path: "explorer/:catalog/:namespace", element: <Explorer /> },
            { path: "explorer/:catalog/:namespace/:table", element: <Explorer /> },
            { path: "explorer/:catalog/:namespace/:table/:tab", element: <Explorer /> },
            { path: "charts", element: <Charts /> },
            { path: "charts/:chartId", element: <ChartPage /> },
            { path: "dashboards", element: <Dashboards /> },
            { path: "dashboards/:dashboardId", element: <DashboardPage /> },
            { path: "workspaces", element: <Workspaces /> },
            { path: "workspaces/:workspaceId", element: <WorkspacePage /> },
            { path: "workspaces/:workspaceId/:section", element: <WorkspacePage /> },
            { path: "jobs", element: <Jobs /> },
            { path: "jobs/new", element: <JobEdit /> },
            { path: "jobs/:jobId", element: <JobPage /> },
            { path: "jobs/:jobId/edit", element: <JobEdit /> },
            { path: "jobs/:jobId/runs/:runId", element: <JobRunPage /> },
            { path: "governance", element: <Navigate to="/governance/tags" replace /> },
            { path: "governance/:section", element: <Governance /> },
            { path: "governance/:section/:item", element: <Governance /> },
            { path: "chat", element: <Chat /> },
            { path: "chat/:conversationId", element: <Chat /> },
            { path: "audit", element: <Audit /> },
            { path: "admin", element: <Navigate to="/admin/health" replace /> },
            { path: "admin/:section", element: <Admin /> },
            { path: "*", element: <NotFound /> },
          ],
        },
      ],
    },
  ]);
}

export function App() {
  const [client] = useState(makeQueryClient);
  const [router] = useState(makeRouter);
  return (
    <CSPProvider disableStyleElements>
      <QueryClientProvider client={client}>
        <TooltipProvider>
          <RouterProvider router={router} />
          <Toaster />
        </TooltipProvider>
      </QueryClientProvider>
    </CSPProvider>
  );
}
