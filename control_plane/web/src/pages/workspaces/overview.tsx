import { useMutation, useQuery } from "@tanstack/react-query";
import { ChartColumn, LayoutDashboard, Settings2, Table2, Trash2 } from "lucide-react";
import { type ReactNode, useState } from "react";
import { Link, useNavigate } from "react-router";
import { api, unwrap } from "@/api/client";
import { useInfo } from "@/api/session";
import { ProblemNote } from "@/components/problem";
import { Button, buttonVariants } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { SkeletonRows } from "@/components/ui/feedback";
import { Field, Input } from "@/components/ui/input";
import { Checkbox } from "@/components/ui/switch";
import { notify } from "@/components/ui/toast";
import { ofWorkspace } from "@/components/workspacechoice";
import { bytes, instant, plural } from "@/lib/format";
import { useForget, type Workspace } from "./data";
import { SettingsDialog } from "./settingsdialog";

const MIB = 1024 * 1024;

/** What a workspace is, what it takes, and its end. */
export function Overview({ workspace }: { workspace: Workspace }) {
  const [changing, setChanging] = useState(false);
  const [removing, setRemoving] = useState(false);
  const catalog = useInfo()?.default_catalog ?? "lake";
  const room = workspace.quota.storage_mib * MIB;
  const used = workspace.usage.size_bytes / room;
  return (
    <div className="flex flex-col gap-4">
      {workspace.error && (
        <p role="status" className="rounded-md bg-warning-soft px-3 py-2 text-sm text-warning">
          It goes on by itself: {workspace.error}
        </p>
      )}
      {(workspace.warnings ?? []).map((one) => (
        <p
          key={one}
          role="status"
          className="rounded-md bg-warning-soft px-3 py-2 text-sm text-warning"
        >
          {one}
        </p>
      ))}
      <dl className="grid gap-x-6 gap-y-3 rounded-lg border bg-card p-4 text-sm sm:grid-cols-2 lg:grid-cols-3">
        <Fact term="Namespace">
          <code className="font-mono">
            {catalog}.{workspace.namespace}
          </code>
        </Fact>
        <Fact term="Group">
          <code className="font-mono">{workspace.group}</code>
        </Fact>
        <Fact term="Files lie in">
          <code className="font-mono break-all">{workspace.location ?? "the warehouse"}</code>
        </Fact>
        <Fact term="Owners">{workspace.owners.join(", ")}</Fact>
        <Fact term="Made">
          {instant(workspace.created_at)} by {workspace.created_by}
        </Fact>
        <Fact term="At once">
          {plural(workspace.quota.queries, "query", "queries")},{" "}
          {plural(workspace.quota.jobs, "job")}
        </Fact>
        <Fact term="Storage">
          <span className="flex flex-col gap-1">
            <span>
              {bytes(workspace.usage.size_bytes)} of {bytes(room)} in{" "}
              {plural(workspace.usage.tables, "table")}
            </span>
            <meter
              aria-label="Storage used"
              className="h-1.5 w-full"
              min={0}
              max={1}
              high={0.9}
              value={Math.min(used, 1)}
            />
          </span>
        </Fact>
      </dl>
      <div className="flex flex-wrap gap-2">
        <Link
          to={`/explorer/${encodeURIComponent(catalog)}/${encodeURIComponent(workspace.namespace)}`}
          className={buttonVariants({})}
        >
          <Table2 aria-hidden />
          Tables
        </Link>
        {workspace.role !== "viewer" && (
          <>
            <Link to={ofWorkspace("/charts", workspace.id)} className={buttonVariants({})}>
              <ChartColumn aria-hidden />
              Charts
            </Link>
            <Link to={ofWorkspace("/dashboards", workspace.id)} className={buttonVariants({})}>
              <LayoutDashboard aria-hidden />
              Dashboards
            </Link>
          </>
        )}
        {workspace.may_manage && (
          <Button onClick={() => setChanging(true)}>
            <Settings2 aria-hidden />
            Settings
          </Button>
        )}
        {workspace.may_manage && (
          <Button variant="danger" onClick={() => setRemoving(true)}>
            <Trash2 aria-hidden />
            Remove workspace
          </Button>
        )}
      </div>
      <SettingsDialog workspace={workspace} open={changing} onOpenChange={setChanging} />
      <Remove workspace={workspace} open={removing} onOpenChange={setRemoving} />
    </div>
  );
}

function Fact({ term, children }: { term: string; children: ReactNode }) {
  return (
    <div className="min-w-0">
      <dt className="text-xs text-muted-foreground">{term}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Remove({
  workspace,
  open,
  onOpenChange,
}: {
  workspace: Workspace;
  open: boolean;
  onOpenChange: (open: boolean) => void;
}) {
  const [tables, setTables] = useState(false);
  const [typed, setTyped] = useState("");
  const forget = useForget();
  const navigate = useNavigate();
  const path = { path: { workspace_id: workspace.id } };
  const plan = useQuery({
    queryKey: ["workspaces", workspace.id, "removal", tables],
    enabled: open,
    queryFn: () =>
      unwrap(
        api.POST("/api/v1/workspaces/{workspace_id}/removal", {
          params: path,
          body: { tables, only_try: true },
        }),
      ),
  });
  const remove = useMutation({
    mutationFn: () =>
      unwrap(
        api.POST("/api/v1/workspaces/{workspace_id}/removal", {
          params: path,
          body: { tables, only_try: false },
        }),
      ),
    onSuccess: (gone) => {
      forget();
      notify(`${gone.name} ${gone.done ? "is gone" : "is being removed"}`);
      navigate("/workspaces");
    },
  });
  return (
    <Dialog
      open={open}
      onOpenChange={onOpenChange}
      title={`Remove ${workspace.name}`}
      description="What goes is gone for good; the history of access data and the audit keep what was."
      footer={
        <Button
          variant="danger"
          disabled={typed !== workspace.name || plan.data?.refused !== null}
          busy={remove.isPending}
          onClick={() => remove.mutate()}
        >
          Remove for good
        </Button>
      }
    >
      <div className="flex flex-col gap-3 text-sm">
        {(remove.error ?? plan.error) && (
          <ProblemNote error={remove.error ?? plan.error} again={remove.error === null} />
        )}
        {plan.data ? (
          <>
            <Going what="Tables and views" names={plan.data.tables} />
            <Going what="Members lose it" names={plan.data.members} />
            <Going what="Access data" names={plan.data.access ?? []} />
            <p>Its connections, uploads, registrations, charts and dashboards go, too.</p>
            {plan.data.refused && (
              <p role="status" className="text-destructive">
                {plan.data.refused}
              </p>
            )}
          </>
        ) : (
          !plan.error && <SkeletonRows rows={3} />
        )}
        <Checkbox checked={tables} onChange={setTables}>
          Its tables go, with their rows
        </Checkbox>
        <Field label={`Type ${workspace.name} to confirm`}>
          {(props) => (
            <Input
              {...props}
              className="font-mono"
              value={typed}
              onChange={(event) => setTyped(event.target.value)}
            />
          )}
        </Field>
      </div>
    </Dialog>
  );
}

function Going({ what, names }: { what: string; names: readonly string[] }) {
  return (
    <div>
      <h3 className="text-xs font-medium">
        {what}: {names.length === 0 && "none"}
      </h3>
      <ul className="max-h-32 overflow-y-auto font-mono text-xs">
        {names.map((name) => (
          <li key={name} className="break-all">
            {name}
          </li>
        ))}
      </ul>
    </div>
  );
}
