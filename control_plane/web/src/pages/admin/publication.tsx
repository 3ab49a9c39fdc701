import { useMutation, useQueryClient } from "@tanstack/react-query";
import { CircleCheck, RefreshCw, Send, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import { api, unwrap } from "@/api/client";
import { asProblem } from "@/api/problem";
import { useMay } from "@/api/session";
import { ProblemNote } from "@/components/problem";
import { Button } from "@/components/ui/button";
import { Card, CardHeader } from "@/components/ui/card";
import { SkeletonRows } from "@/components/ui/feedback";
import { complain, notify } from "@/components/ui/toast";
import { count, duration, instant, plural } from "@/lib/format";
import { useDrift } from "@/pages/governance/data";
import { useGovernor } from "./data";

/** Whether rules and grants are where the engines and the catalog ask for them. */
export function PublicationPanel() {
  const drift = useDrift();
  const governor = useGovernor();
  const client = useQueryClient();
  const mayChange = useMay("edit_rules");
  const refresh = () => {
    void client.invalidateQueries({ queryKey: ["drift"] });
    void client.invalidateQueries({ queryKey: ["governor"] });
  };
  const publish = useMutation({
    mutationFn: () => unwrap(api.POST("/api/v1/publication")),
    onSuccess: (report) => {
      refresh();
      notify(`Revision ${report.published ?? report.revision} is published`);
    },
    onError: (error) => complain("Publishing failed", asProblem(error).message),
  });
  const reconcile = useMutation({
    mutationFn: () => unwrap(api.POST("/api/v1/reconcile")),
    onSuccess: (report) => {
      refresh();
      notify("The catalog was compared", plural(report.changes.length, "change"));
    },
    onError: (error) => complain("Reconciling failed", asProblem(error).message),
  });
  return (
    <div className="grid items-start gap-4 lg:grid-cols-2">
      <Card>
        <CardHeader
          title="OPA's bundle"
          description="What Trino's policies are decided by."
          actions={
            mayChange && (
              <Button size="sm" busy={publish.isPending} onClick={() => publish.mutate()}>
                <Send aria-hidden />
                Publish now
              </Button>
            )
          }
        />
        {drift.error ? (
          <ProblemNote error={drift.error} again className="mx-4 mb-4" />
        ) : drift.data === undefined ? (
          <SkeletonRows rows={4} />
        ) : (
          <Facts
            facts={[
              ["Living revision", drift.data.revision ?? "none yet"],
              ["Published revision", drift.data.published ?? "none yet"],
              [
                "Signed",
                drift.data.bundle_age_s === null
                  ? "–"
                  : `${duration(drift.data.bundle_age_s * 1000)} ago`,
              ],
              [
                "Digest",
                <code key="digest" className="font-mono text-2xs break-all">
                  {drift.data.access_digest ?? "–"}
                </code>,
              ],
            ]}
            problems={drift.data.problems}
            fine="What lies in the store is what stands here."
          />
        )}
      </Card>
      <Card>
        <CardHeader
          title="The catalog's grants"
          description="What raw engines are held by."
          actions={
            mayChange && (
              <Button size="sm" busy={reconcile.isPending} onClick={() => reconcile.mutate()}>
                <RefreshCw aria-hidden />
                Reconcile now
              </Button>
            )
          }
        />
        {governor.error ? (
          <ProblemNote error={governor.error} again className="mx-4 mb-4" />
        ) : governor.data === undefined ? (
          <SkeletonRows rows={4} />
        ) : governor.data.reconcile === null ? (
          <p className="px-4 pb-4 text-sm text-muted-foreground">It was not compared yet.</p>
        ) : (
          <Facts
            facts={[
              ["Catalog", governor.data.reconcile.catalog_kind],
              ["By revision", governor.data.reconcile.revision ?? "–"],
              ["Compared", instant(governor.data.reconcile.started_at)],
              ["Tables", count(governor.data.reconcile.tables)],
              ["Took", duration(governor.data.reconcile.duration_s * 1000)],
            ]}
            problems={[
              ...Object.entries(governor.data.errors).map(([what, error]) => `${what}: ${error}`),
              ...governor.data.reconcile.errors,
              ...governor.data.reconcile.pending.map((one) => `waits: ${one}`),
            ]}
            fine="The catalog grants what the access data says."
          />
        )}
      </Card>
    </div>
  );
}

function Facts({
  facts,
  problems,
  fine,
}: {
  facts: readonly (readonly [string, ReactNode])[];
  problems: readonly string[];
  fine: string;
}) {
  return (
    <div className="px-4 pb-4">
      <dl>
        {facts.map(([name, value]) => (
          <div
            key={name}
            className="flex min-h-8 items-center justify-between gap-4 border-t text-sm"
          >
            <dt className="text-muted-foreground">{name}</dt>
            <dd className="text-right tabular">{value}</dd>
          </div>
        ))}
      </dl>
      {problems.length === 0 ? (
        <p className="mt-3 flex items-center gap-2 text-sm text-success">
          <CircleCheck className="size-4" aria-hidden />
          {fine}
        </p>
      ) : (
        <ul className="mt-3 flex flex-col gap-1">
          {problems.map((problem) => (
            <li key={problem} className="flex items-start gap-2 text-sm text-warning">
              <TriangleAlert className="mt-0.5 size-4 shrink-0" aria-hidden />
              {problem}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
