import { useMutation } from "@tanstack/react-query";
import { CircleStop, History } from "lucide-react";
import { Link } from "react-router";
import { api, unwrap } from "@/api/client";
import { useInfo } from "@/api/session";
import { DataTable } from "@/components/datatable";
import { ProblemNote } from "@/components/problem";
import { Badge, type Tone } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { count } from "@/lib/format";
import { useNow } from "@/lib/hooks";
import { tablePath } from "@/lib/paths";
import { whoAndWhen } from "./columns";
import { type Ingest, useForget, useIngests, type Workspace } from "./data";

const TONES: Record<Ingest["state"], Tone> = {
  running: "primary",
  finished: "success",
  failed: "danger",
  canceled: "neutral",
  lost: "warning",
};

/** What was brought into the workspace's tables, by whom, and how it went. */
export function Ingests({ workspace }: { workspace: Workspace }) {
  const ingests = useIngests(workspace.id);
  const forget = useForget();
  const now = useNow(30_000);
  const catalog = useInfo()?.default_catalog ?? "lake";
  const cancel = useMutation({
    mutationFn: (id: string) =>
      unwrap(
        api.DELETE("/api/v1/workspaces/{workspace_id}/ingests/{ingest_id}", {
          params: { path: { workspace_id: workspace.id, ingest_id: id } },
        }),
      ),
    onSuccess: forget,
  });
  if (ingests.error) {
    return <ProblemNote error={ingests.error} onRetry={() => void ingests.refetch()} />;
  }
  if (ingests.isPending) return <SkeletonRows />;
  return (
    <div className="flex flex-col gap-3">
      {cancel.error && <ProblemNote error={cancel.error} />}
      <DataTable
        label="Ingests"
        rows={ingests.data}
        rowKey={(row) => row.id}
        noun="ingest"
        empty={
          <Empty icon={History} title="Nothing was ingested yet">
            Upload a file, or fetch one by a connection, and bring it into a table.
          </Empty>
        }
        columns={[
          {
            id: "table",
            header: "Table",
            value: (row) => row.table,
            cell: (row) => (
              <Link
                className="font-mono hover:underline"
                to={tablePath(catalog, workspace.namespace, row.table.split(".")[1] ?? "")}
              >
                {row.table}
              </Link>
            ),
          },
          {
            id: "mode",
            header: "How",
            value: (row) => row.mode,
            cell: (row) => row.mode,
            from: "sm",
          },
          {
            id: "source",
            header: "From",
            value: (row) => row.source,
            cell: (row) => <span className="break-all">{row.source}</span>,
            from: "md",
          },
          {
            id: "state",
            header: "State",
            value: (row) => row.state,
            cell: (row) => <Outcome ingest={row} />,
          },
          ...whoAndWhen<Ingest>((row) => row.owner, { header: "Begun", from: "sm", now }),
          {
            id: "actions",
            header: "",
            align: "right",
            cell: (row) =>
              row.state === "running" && (
                <Button size="sm" onClick={() => cancel.mutate(row.id)}>
                  <CircleStop aria-hidden />
                  Cancel
                </Button>
              ),
          },
        ]}
      />
    </div>
  );
}

function Outcome({ ingest }: { ingest: Ingest }) {
  const rows = ingest.result?.rows ?? ingest.progress.rows ?? 0;
  return (
    <span className="flex flex-col gap-0.5">
      <span className="flex items-center gap-1.5">
        <Badge tone={TONES[ingest.state]}>{ingest.state}</Badge>
        {rows > 0 && <span className="text-xs tabular">{count(rows)} rows</span>}
      </span>
      {ingest.error && (
        <span className="text-xs whitespace-pre-line text-destructive">{ingest.error.title}</span>
      )}
    </span>
  );
}
