import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ChartColumn } from "lucide-react";
import { useEffect, useMemo, useState } from "react";
import { useNavigate } from "react-router";
import { api, unwrap } from "@/api/client";
import type { ChartSpec, WorkspaceRef } from "@/api/types";
import { suggestSpec } from "@/components/chart/data";
import { SpecEditor } from "@/components/chart/speceditor";
import { ChartView } from "@/components/chart/view";
import { ProblemNote } from "@/components/problem";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { Field, Input } from "@/components/ui/input";
import { notify } from "@/components/ui/toast";
import { WorkspaceChoice } from "@/components/workspacechoice";
import type { Run, RunSnapshot } from "@/query/run";
import type { Sheet } from "./sheets";

const DRAWN_ROWS = 20_000;

/** A result as a chart, which can be kept: its statement and how it is drawn, never its rows. */
export default function ChartPanel({
  run,
  snapshot,
  sheet,
}: {
  run: Run;
  snapshot: RunSnapshot;
  sheet: Sheet;
}) {
  const { columns, rowCount } = snapshot;
  const over = snapshot.endedAt !== null;
  const [chosen, setChosen] = useState<{ for: string; spec: ChartSpec } | null>(null);
  const [saving, setSaving] = useState(false);
  const shape = (columns ?? []).map((column) => `${column.name} ${column.type}`).join();
  const suggested = useMemo(() => suggestSpec(columns ?? [], rowCount), [columns, rowCount]);
  const spec = chosen?.for === shape ? chosen.spec : suggested;
  const rows = useQuery({
    queryKey: ["chart-rows", snapshot.query?.id, over ? rowCount : 0],
    queryFn: () => run.firstRows(DRAWN_ROWS),
    enabled: over && rowCount > 0,
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });
  if (columns === null || (over && rowCount === 0)) {
    return <Empty icon={ChartColumn} title="There is no row to draw" />;
  }
  return (
    <div className="flex min-h-0 flex-1 flex-col overflow-y-auto md:flex-row md:overflow-hidden">
      <div className="h-80 min-w-0 shrink-0 p-4 md:h-auto md:flex-1">
        {rows.error ? (
          <ProblemNote error={rows.error} again />
        ) : rows.data === undefined ? (
          <SkeletonRows />
        ) : (
          <ChartView spec={spec} columns={columns} rows={rows.data} title={sheet.title} />
        )}
      </div>
      <aside
        aria-label="How the chart is drawn"
        className="flex shrink-0 flex-col gap-4 border-t p-4 md:w-64 md:overflow-y-auto md:border-t-0 md:border-l"
      >
        <Button variant="primary" onClick={() => setSaving(true)} disabled={!over}>
          Save as a chart
        </Button>
        <SpecEditor
          spec={spec}
          columns={columns}
          onChange={(next) => setChosen({ for: shape, spec: next })}
        />
      </aside>
      <SaveChart
        open={saving}
        onOpenChange={setSaving}
        query={snapshot.query}
        spec={spec}
        sheet={sheet}
      />
    </div>
  );
}

function SaveChart({
  open,
  onOpenChange,
  query,
  spec,
  sheet,
}: {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  /** As it ran: the values of its parameters are the chart's defaults. */
  query: RunSnapshot["query"];
  spec: ChartSpec;
  sheet: Sheet;
}) {
  const [title, setTitle] = useState("");
  const [workspace, setWorkspace] = useState<WorkspaceRef | null>(null);
  const navigate = useNavigate();
  const client = useQueryClient();
  const save = useMutation({
    mutationFn: () =>
      unwrap(
        api.POST("/api/v1/charts", {
          body: {
            title: title.trim(),
            description: "",
            statement: query?.statement ?? "",
            catalog: query?.catalog ?? null,
            namespace: query?.namespace ?? null,
            parameters: (query?.parameters ?? []).map((one) => ({
              name: one.name,
              type: one.type,
              label: "",
              default: one.value,
            })),
            spec,
            shares: [],
            workspace_id: workspace?.id,
          },
        }),
      ),
    onSuccess: (chart) => {
      void client.invalidateQueries({ queryKey: ["charts"] });
      notify(`Saved “${chart.title}”`);
      navigate(`/charts/${chart.id}`);
    },
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: a name is proposed when it opens
  useEffect(() => {
    if (open) setTitle(sheet.title.startsWith("Worksheet ") ? "" : sheet.title);
  }, [open]);
  return (
    <Dialog
      open={open}
      onOpenChange={onOpenChange}
      title="Save as a chart"
      description="The statement and the drawing are kept. Whoever sees the chart sees their own rows."
      footer={
        <Button
          variant="primary"
          busy={save.isPending}
          disabled={title.trim() === ""}
          onClick={() => save.mutate()}
        >
          Save
        </Button>
      }
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (title.trim() !== "") save.mutate();
        }}
        className="flex flex-col gap-3"
      >
        {save.error && <ProblemNote error={save.error} />}
        <Field label="Title">
          {(props) => (
            <Input
              {...props}
              value={title}
              maxLength={200}
              onChange={(event) => setTitle(event.target.value)}
            />
          )}
        </Field>
        <WorkspaceChoice value={workspace} onChange={setWorkspace} />
      </form>
    </Dialog>
  );
}
