import { useMutation, useQuery } from "@tanstack/react-query";
import { Wrench } from "lucide-react";
import { useState } from "react";
import { Link } from "react-router";
import { again } from "@/api/again";
import { api, unwrap } from "@/api/client";
import { useInfo } from "@/api/session";
import type { MaintenancePlan, MaintenanceRun } from "@/api/types";
import { DataTable } from "@/components/datatable";
import { ProblemNote } from "@/components/problem";
import { Badge, type Tone } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Card, CardHeader } from "@/components/ui/card";
import { Dialog } from "@/components/ui/dialog";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { Field, Select } from "@/components/ui/input";
import { ago, bytes, count, duration, instant, plural } from "@/lib/format";
import { useNow } from "@/lib/hooks";
import { governedTablePath } from "@/lib/paths";

const SHOWN_RUNS = 200;

const TONES: Readonly<Record<string, Tone>> = {
  done: "success",
  run: "primary",
  running: "primary",
  failed: "danger",
  conflict: "warning",
  interrupted: "warning",
  waits: "warning",
  unsafe: "warning",
};

function Outcome({ is }: { is: string }) {
  return <Badge tone={TONES[is] ?? "neutral"}>{is}</Badge>;
}

/** What maintenance did to tables, what it would do now, and by which policies. */
export function MaintenancePanel() {
  const runs = useQuery({
    queryKey: ["maintenance-runs"],
    queryFn: () =>
      unwrap(api.GET("/api/v1/maintenance/runs", { params: { query: { limit: SHOWN_RUNS } } })),
    refetchInterval: (query) => again(query, 30_000),
  });
  const [opened, setOpened] = useState<MaintenanceRun | null>(null);
  const now = useNow(30_000);
  if (runs.error && runs.data === undefined) {
    return <ProblemNote error={runs.error} onRetry={() => void runs.refetch()} />;
  }
  if (runs.data === undefined) return <SkeletonRows />;
  return (
    <div className="flex min-w-0 flex-col gap-4">
      <Schedule />
      <section className="flex min-w-0 flex-col gap-2">
        <h2 className="text-sm font-semibold">Runs</h2>
        <DataTable
          label="Maintenance runs"
          rows={runs.data}
          rowKey={(run) => String(run.id)}
          filterLabel="Filter runs"
          noun="run"
          empty={
            <Empty icon={Wrench} title="No table was maintained yet">
              The schedule maintains what its policy says is due; <code>lab maintain</code> does at
              once.
            </Empty>
          }
          columns={[
            {
              id: "table",
              header: "Table",
              value: (run) => run.table,
              cell: (run) => (
                <button
                  type="button"
                  className="min-h-6 text-left font-medium text-primary underline underline-offset-2"
                  onClick={() => setOpened(run)}
                >
                  {run.table}
                </button>
              ),
            },
            {
              id: "outcome",
              header: "Outcome",
              value: (run) => run.outcome,
              cell: (run) => <Outcome is={run.outcome} />,
            },
            {
              id: "started",
              header: "Began",
              value: (run) => run.started_at,
              cell: (run) => (
                <span title={instant(run.started_at)}>{ago(run.started_at, now)}</span>
              ),
            },
            {
              id: "files",
              header: "Files",
              align: "right",
              from: "sm",
              value: (run) => run.before?.files ?? -1,
              cell: (run) => <Change from={run.before?.files} to={run.after?.files} as={count} />,
            },
            {
              id: "bytes",
              header: "Size",
              align: "right",
              from: "md",
              value: (run) => run.before?.bytes ?? -1,
              cell: (run) => <Change from={run.before?.bytes} to={run.after?.bytes} as={bytes} />,
            },
            {
              id: "by",
              header: "By",
              from: "md",
              value: (run) => (run.scheduled ? "schedule" : run.asked_by),
              cell: (run) => (run.scheduled ? "the schedule" : run.asked_by),
            },
          ]}
        />
      </section>
      <Policies />
      <RunDialog run={opened} onClose={() => setOpened(null)} />
    </div>
  );
}

function Change({
  from,
  to,
  as,
}: {
  from: number | undefined;
  to: number | undefined;
  as: (value: number) => string;
}) {
  if (from === undefined) return <span className="text-muted-foreground">–</span>;
  if (to === undefined || to === from) return as(from);
  return `${as(from)} → ${as(to)}`;
}

function Schedule() {
  const scope = useQuery({
    queryKey: ["maintenance-scope"],
    queryFn: () => unwrap(api.GET("/api/v1/maintenance/scope")),
  });
  const [table, setTable] = useState("");
  const plan = useMutation({
    mutationFn: (name: string) =>
      unwrap(api.POST("/api/v1/maintenance/plans", { body: { table: name } })),
  });
  if (scope.error) {
    return <ProblemNote error={scope.error} onRetry={() => void scope.refetch()} />;
  }
  if (scope.data === undefined) return <SkeletonRows rows={2} />;
  const { tables, every_s, min_retention_s, unsafe, catalog_kind } = scope.data;
  const chosen = table || tables[0] || "";
  return (
    <Card>
      <CardHeader
        title="What is due"
        description={`${
          every_s > 0
            ? `The schedule looks every ${duration(every_s * 1000)}.`
            : "The schedule is off."
        } Nothing younger than ${duration(min_retention_s * 1000)} is removed.`}
      />
      <div className="flex flex-col gap-3 px-4 pb-4">
        {Object.entries(unsafe).map(([procedure, why]) => (
          <p key={procedure} className="text-xs text-muted-foreground">
            <code>{procedure}</code> is never run on {catalog_kind}: {why}
          </p>
        ))}
        {tables.length === 0 ? (
          <p className="text-sm text-muted-foreground">
            You hold <code>maintain</code> on no table, so that you can have none planned.
          </p>
        ) : (
          <form
            className="flex flex-wrap items-end gap-2"
            onSubmit={(event) => {
              event.preventDefault();
              plan.mutate(chosen);
            }}
          >
            <Field label="Table" className="w-64">
              {(props) => (
                <Select
                  {...props}
                  value={chosen}
                  onChange={(event) => {
                    setTable(event.target.value);
                    plan.reset();
                  }}
                >
                  {tables.map((name) => (
                    <option key={name}>{name}</option>
                  ))}
                </Select>
              )}
            </Field>
            <Button type="submit" busy={plan.isPending}>
              What would be done
            </Button>
          </form>
        )}
        {plan.error && <ProblemNote error={plan.error} />}
        {plan.data && <PlanView plan={plan.data} />}
      </div>
    </Card>
  );
}

function PlanView({ plan }: { plan: MaintenancePlan }) {
  const { size } = plan;
  return (
    <div className="flex flex-col gap-2 rounded-md border p-3">
      <p className="text-sm">
        <span className="font-medium">{plan.table}</span>: {plural(size.files, "file")} (
        {count(size.small_files)} small), {bytes(size.bytes)}, {plural(size.snapshots, "snapshot")}
      </p>
      <Steps
        steps={plan.steps.map((step) => ({ ...step, state: step.verdict, duration_s: null }))}
      />
      <p className="text-xs text-muted-foreground">
        Nothing was done. At once:{" "}
        <code className="text-foreground">lab maintain {plan.table}</code>
      </p>
    </div>
  );
}

interface StepLine {
  procedure: string;
  state: string;
  reason: string;
  statement?: string | null;
  duration_s?: number | null;
}

function Steps({ steps }: { steps: readonly StepLine[] }) {
  return (
    <ul className="flex flex-col gap-2">
      {steps.map((step) => (
        <li key={step.procedure} className="flex min-w-0 flex-col gap-0.5 text-xs">
          <span className="flex flex-wrap items-center gap-2">
            <code className="font-medium">{step.procedure}</code>
            <Outcome is={step.state} />
            {typeof step.duration_s === "number" && (
              <span className="text-muted-foreground">{duration(step.duration_s * 1000)}</span>
            )}
          </span>
          <span className="text-muted-foreground break-words">{step.reason}</span>
          {step.statement && (
            <code className="rounded-sm bg-muted px-1 font-mono text-2xs break-all">
              {step.statement}
            </code>
          )}
        </li>
      ))}
    </ul>
  );
}

function RunDialog({ run, onClose }: { run: MaintenanceRun | null; onClose: () => void }) {
  const catalog = useInfo()?.default_catalog;
  return (
    <Dialog
      open={run !== null}
      onOpenChange={onClose}
      shape="right"
      title={run === null ? "Run" : `Maintenance of ${run.table}`}
      description={
        run === null
          ? undefined
          : `${run.scheduled ? "By the schedule" : `Asked for by ${run.asked_by}`}, ${instant(run.started_at)}`
      }
    >
      {run !== null && (
        <div className="flex flex-col gap-4">
          {run.error && <p className="text-sm text-destructive break-words">{run.error}</p>}
          <Steps steps={run.steps.map((step) => ({ ...step, state: step.outcome }))} />
          {catalog !== undefined && (
            <Link
              to={governedTablePath(catalog, run.table, "snapshots")}
              className="text-sm text-primary underline underline-offset-2"
            >
              Snapshots of {run.table}
            </Link>
          )}
        </div>
      )}
    </Dialog>
  );
}

function Policies() {
  const policies = useQuery({
    queryKey: ["maintenance-policies"],
    queryFn: () => unwrap(api.GET("/api/v1/maintenance/policies")),
  });
  if (policies.error || policies.data === undefined) return null;
  const { revision, author, created_at, document } = policies.data;
  const entries = (document as { policies?: Record<string, unknown>[] }).policies ?? [];
  return (
    <section className="flex min-w-0 flex-col gap-2">
      <h2 className="text-sm font-semibold">Policies</h2>
      <p className="text-xs text-muted-foreground">
        Revision {count(revision)} by {author}, {instant(created_at)}. The narrower object wins,
        field by field; <code className="text-foreground">lab maintain policy</code> changes them.
      </p>
      <DataTable
        label="Maintenance policies"
        rows={entries}
        rowKey={(entry) => String(entry.object)}
        columns={[
          {
            id: "object",
            header: "Object",
            value: (entry) => String(entry.object),
            cell: (entry) => <code className="font-medium">{String(entry.object)}</code>,
          },
          {
            id: "fields",
            header: "Says",
            cell: (entry) => (
              <span className="flex flex-wrap gap-1">
                {Object.entries(entry)
                  .filter(([name]) => name !== "object")
                  .map(([name, value]) => (
                    <Badge key={name} tone="outline">
                      {name}: {String(value)}
                    </Badge>
                  ))}
              </span>
            ),
          },
        ]}
      />
    </section>
  );
}
