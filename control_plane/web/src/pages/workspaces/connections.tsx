import { useMutation, useQuery } from "@tanstack/react-query";
import { Cable, Download, Plus } from "lucide-react";
import { useState } from "react";
import { useNavigate } from "react-router";
import { api, etagOf, unwrap } from "@/api/client";
import { DataTable } from "@/components/datatable";
import { ProblemNote } from "@/components/problem";
import { RemoveButton } from "@/components/removebutton";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { Field, Input } from "@/components/ui/input";
import { bytes } from "@/lib/format";
import { ConnectionDialog } from "./connectiondialog";
import {
  type Connection,
  type ConnectionConfig,
  useConnections,
  useForget,
  type Workspace,
} from "./data";

/** Where a workspace's data comes from. */
export function Connections({ workspace }: { workspace: Workspace }) {
  const connections = useConnections(workspace.id);
  const forget = useForget();
  const [editing, setEditing] = useState<Connection | "new" | null>(null);
  const [fetching, setFetching] = useState<Connection | null>(null);
  const remove = useMutation({
    mutationFn: (one: Connection) =>
      unwrap(
        api.DELETE("/api/v1/workspaces/{workspace_id}/connections/{connection_id}", {
          params: {
            path: { workspace_id: workspace.id, connection_id: one.id },
            header: { "if-match": etagOf(one.version) },
          },
        }),
      ),
    onSuccess: forget,
  });
  if (connections.error) {
    return <ProblemNote error={connections.error} onRetry={() => void connections.refetch()} />;
  }
  if (connections.isPending) return <SkeletonRows />;
  return (
    <div className="flex flex-col gap-3">
      {remove.error && <ProblemNote error={remove.error} />}
      <DataTable
        label="Connections"
        rows={connections.data}
        rowKey={(row) => row.id}
        noun="connection"
        actions={
          <Button variant="primary" onClick={() => setEditing("new")}>
            <Plus aria-hidden />
            New connection
          </Button>
        }
        empty={
          <Empty icon={Cable} title="No connection yet">
            A PostgreSQL database, a bucket, a folder or a web server that files come from.
          </Empty>
        }
        columns={[
          {
            id: "name",
            header: "Connection",
            value: (row) => row.name,
            cell: (row) => (
              <Button variant="ghost" size="sm" onClick={() => setEditing(row)}>
                {row.name}
              </Button>
            ),
          },
          {
            id: "kind",
            header: "Kind",
            value: (row) => row.config.kind ?? "",
            cell: (row) => <Badge>{row.config.kind}</Badge>,
          },
          {
            id: "place",
            header: "Leads to",
            value: (row) => placeOf(row.config),
            cell: (row) => <span className="font-mono break-all">{placeOf(row.config)}</span>,
            from: "md",
          },
          {
            id: "secret",
            header: "Secret",
            cell: (row) => (row.has_secret ? "kept" : "none"),
            from: "lg",
          },
          {
            id: "actions",
            header: "",
            align: "right",
            cell: (row) => (
              <span className="flex flex-wrap justify-end gap-1">
                <Button size="sm" onClick={() => setFetching(row)}>
                  <Download aria-hidden />
                  Fetch
                </Button>
                <RemoveButton
                  noun="connection"
                  name={row.name}
                  note="Its secret goes with it; tables that were made by it stay."
                  size="sm"
                  aria-label={`Remove ${row.name}`}
                  busy={remove.isPending && remove.variables?.id === row.id}
                  onRemove={() => remove.mutate(row)}
                />
              </span>
            ),
          },
        ]}
      />
      {editing && (
        <ConnectionDialog
          workspace={workspace}
          connection={editing === "new" ? null : editing}
          onClose={() => setEditing(null)}
        />
      )}
      {fetching && (
        <FetchDialog
          workspace={workspace}
          connection={fetching}
          onClose={() => setFetching(null)}
        />
      )}
    </div>
  );
}

function placeOf(config: ConnectionConfig): string {
  switch (config.kind) {
    case "postgresql":
      return `${config.user}@${config.host}:${config.port}/${config.database}`;
    case "s3":
      return `${config.endpoint_url}/${config.bucket}`;
    case "files":
      return config.folder;
    case "http":
      return config.url;
    default:
      return "";
  }
}

function FetchDialog({
  workspace,
  connection,
  onClose,
}: {
  workspace: Workspace;
  connection: Connection;
  onClose: () => void;
}) {
  const [name, setName] = useState("");
  const navigate = useNavigate();
  const forget = useForget();
  const path = { path: { workspace_id: workspace.id, connection_id: connection.id } };
  const objects = useQuery({
    queryKey: ["objects", connection.id, connection.version],
    retry: false,
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/workspaces/{workspace_id}/connections/{connection_id}/objects", {
          params: path,
        }),
      ),
  });
  const fetching = useMutation({
    mutationFn: () =>
      unwrap(
        api.POST("/api/v1/workspaces/{workspace_id}/connections/{connection_id}/fetches", {
          params: path,
          body: { object: name.trim() },
        }),
      ),
    onSuccess: () => {
      forget();
      navigate(`/workspaces/${workspace.id}/files`);
    },
  });
  const failure = fetching.error ?? objects.error;
  const wanted = name.trim().toLowerCase();
  const shown = (objects.data ?? []).filter((one) => one.name.toLowerCase().includes(wanted));
  return (
    <Dialog
      open
      onOpenChange={(open) => !open && onClose()}
      title={`Fetch by ${connection.name}`}
      description="It comes as a file, to be looked into and ingested."
      footer={
        <Button
          variant="primary"
          disabled={name.trim() === ""}
          busy={fetching.isPending}
          onClick={() => fetching.mutate()}
        >
          <Download aria-hidden />
          Fetch
        </Button>
      }
    >
      <div className="flex flex-col gap-3">
        {failure && <ProblemNote error={failure} again={fetching.error === null} />}
        <Field label="What" hint="schema.table, a key, or a path.">
          {(props) => (
            <Input
              {...props}
              className="font-mono"
              value={name}
              onChange={(event) => setName(event.target.value)}
            />
          )}
        </Field>
        {objects.isPending && <SkeletonRows rows={3} />}
        <ul aria-label="What is there" className="flex max-h-72 flex-col overflow-y-auto">
          {shown.slice(0, 200).map((one) => (
            <li key={one.name}>
              <button
                type="button"
                className="flex w-full cursor-pointer justify-between gap-3 rounded-sm px-2 py-1 text-left font-mono text-xs hover:bg-secondary"
                onClick={() => setName(one.name)}
              >
                <span className="break-all">{one.name}</span>
                {one.size_bytes !== null && (
                  <span className="shrink-0 text-muted-foreground">{bytes(one.size_bytes)}</span>
                )}
              </button>
            </li>
          ))}
        </ul>
      </div>
    </Dialog>
  );
}
