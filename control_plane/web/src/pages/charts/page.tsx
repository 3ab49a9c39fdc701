import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Pencil, RotateCw, Save, SquareTerminal } from "lucide-react";
import { useEffect, useState } from "react";
import { Link, useNavigate, useParams } from "react-router";
import { api, etagOf, unwrap } from "@/api/client";
import { asProblem } from "@/api/problem";
import type { Chart, ChartSpec, SaveChart, Share, WorkspaceRef } from "@/api/types";
import { CHART_ROWS, LiveChart } from "@/components/chart/live";
import { SpecEditor } from "@/components/chart/speceditor";
import { copyTitle, MeanwhileDialog, useMeanwhile } from "@/components/meanwhile";
import { ProblemNote } from "@/components/problem";
import { RemoveButton } from "@/components/removebutton";
import { Shares } from "@/components/shares";
import { Button, buttonVariants } from "@/components/ui/button";
import { Card } from "@/components/ui/card";
import { Dialog } from "@/components/ui/dialog";
import { SkeletonRows } from "@/components/ui/feedback";
import { Field, Input, Textarea } from "@/components/ui/input";
import { complain, notify } from "@/components/ui/toast";
import { InWorkspace, WorkspaceChoice } from "@/components/workspacechoice";
import { worksheetPath } from "@/lib/paths";
import { fromSpecs, type ParameterValue, toParameters, valueError } from "@/query/parametervalues";
import { useRows } from "@/query/userows";
import { Page } from "@/shell/page";

export default function ChartPage() {
  const { chartId = "" } = useParams();
  const chart = useQuery({
    queryKey: ["chart", chartId],
    queryFn: () =>
      unwrap(api.GET("/api/v1/charts/{chart_id}", { params: { path: { chart_id: chartId } } })),
    staleTime: 0,
  });
  // A chart that is being changed stays, whatever becomes of a later look at it.
  if (chart.error && chart.data === undefined) {
    return (
      <Page title="Chart" crumbs={[{ label: "Charts", to: "/charts" }]}>
        <ProblemNote error={chart.error} onRetry={() => void chart.refetch()} />
      </Page>
    );
  }
  if (chart.data === undefined) return <SkeletonRows rows={10} />;
  return <Loaded key={chart.data.id} latest={chart.data} />;
}

interface Naming {
  title: string;
  description: string;
  shares: Share[];
  workspace: WorkspaceRef | null;
}

function Loaded({ latest }: { latest: Chart }) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const [chart, setChart] = useState(latest);
  const [spec, setSpec] = useState<ChartSpec>(chart.spec);
  const [editing, setEditing] = useState(false);
  const [naming, setNaming] = useState(false);
  const [round, setRound] = useState(0);
  const [typed, setTyped] = useState<Record<string, ParameterValue>>(() =>
    fromSpecs(chart.parameters),
  );
  const [values, setValues] = useState(typed);
  const changed = JSON.stringify(spec) !== JSON.stringify(chart.spec);
  const follow = (next: Chart) => {
    setChart(next);
    setSpec(next.spec);
    if (JSON.stringify(next.parameters) !== JSON.stringify(chart.parameters)) {
      setTyped(fromSpecs(next.parameters));
      setValues(fromSpecs(next.parameters));
    }
  };
  // Whoever changes it goes on with what they began with, whatever others save meanwhile.
  if (latest !== chart && !changed && !naming) follow(latest);
  const key = ["chart", chart.id, chart.version, round, values];
  const start = () =>
    unwrap(
      api.POST("/api/v1/charts/{chart_id}/data", {
        params: { path: { chart_id: chart.id } },
        body: { parameters: toParameters(values) },
      }),
    );
  const meanwhile = useMeanwhile<Partial<Naming>, Chart>(() =>
    unwrap(api.GET("/api/v1/charts/{chart_id}", { params: { path: { chart_id: chart.id } } })),
  );
  const { met } = meanwhile;
  const show = (found: Chart) => {
    meanwhile.clear();
    client.setQueryData(["chart", found.id], found);
    void client.invalidateQueries({ queryKey: ["charts"] });
    setNaming(false);
    follow(found);
    if (found.id !== chart.id) navigate(`/charts/${found.id}`);
  };
  const save = useMutation({
    mutationFn: ({
      parts,
      as = "same",
      version = chart.version,
    }: {
      parts: Partial<Naming>;
      as?: "new" | "same";
      /** Of what it is to replace. */
      version?: number;
    }) => {
      const body: SaveChart = {
        title: parts.title ?? chart.title,
        description: parts.description ?? chart.description,
        statement: chart.statement,
        catalog: chart.catalog,
        namespace: chart.namespace,
        parameters: chart.parameters,
        spec,
        shares: parts.shares ?? chart.shares,
        workspace_id: (parts.workspace === undefined ? chart.workspace : parts.workspace)?.id,
      };
      return as === "new"
        ? unwrap(api.POST("/api/v1/charts", { body }))
        : unwrap(
            api.PUT("/api/v1/charts/{chart_id}", {
              params: { path: { chart_id: chart.id }, header: { "if-match": etagOf(version) } },
              body,
            }),
          );
    },
    onSuccess: (saved) => {
      show(saved);
      notify("Saved");
    },
    onError: async (error, { parts, as = "same" }) => {
      if (as === "same" && (await meanwhile.meet(error, parts))) return;
      if (!meanwhile.refuse(error)) complain("It could not be saved", asProblem(error).message);
    },
  });
  const remove = useMutation({
    mutationFn: () =>
      unwrap(
        api.DELETE("/api/v1/charts/{chart_id}", {
          params: { path: { chart_id: chart.id }, header: { "if-match": etagOf(chart.version) } },
        }),
      ),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: ["charts"] });
      notify(`Removed “${chart.title}”`);
      navigate("/charts");
    },
    onError: (error) => {
      complain("It could not be removed", asProblem(error).message);
      // Somebody changed it: the next try is about what they made of it.
      void client.invalidateQueries({ queryKey: ["chart", chart.id] });
    },
  });
  const wrong = Object.values(typed).some((value) => valueError(value) !== undefined);
  return (
    <Page
      title={chart.title}
      crumbs={[{ label: "Charts", to: "/charts" }]}
      description={chart.description || undefined}
      heading={<InWorkspace title={chart.title} workspace={chart.workspace} />}
      wide
      actions={
        <>
          <Button variant="ghost" onClick={() => setRound(round + 1)}>
            <RotateCw aria-hidden />
            Ask again
          </Button>
          <Link
            to={worksheetPath(
              chart.statement,
              chart.catalog ?? undefined,
              chart.namespace ?? undefined,
            )}
            className={buttonVariants()}
          >
            <SquareTerminal aria-hidden />
            Statement
          </Link>
          {chart.can_edit && (
            <>
              <Button onClick={() => setNaming(true)}>Name and share</Button>
              <Button onClick={() => setEditing(!editing)} aria-expanded={editing}>
                <Pencil aria-hidden />
                Drawing
              </Button>
              <Button
                variant="primary"
                disabled={!changed}
                busy={save.isPending}
                onClick={() => save.mutate({ parts: {} })}
              >
                <Save aria-hidden />
                Save
              </Button>
            </>
          )}
          {chart.can_manage && (
            <RemoveButton
              noun="chart"
              name={chart.title}
              note="Nobody sees it any more, and dashboards have an empty place where it was."
              variant="danger-ghost"
              size="icon"
              aria-label="Remove this chart"
              busy={remove.isPending}
              onRemove={() => remove.mutate()}
            />
          )}
        </>
      }
    >
      {chart.parameters.length > 0 && (
        <form
          className="flex flex-wrap items-end gap-3"
          onSubmit={(event) => {
            event.preventDefault();
            if (!wrong) setValues(typed);
          }}
        >
          {chart.parameters.map((parameter) => {
            const value = typed[parameter.name] ?? { type: "varchar" as const, text: "" };
            return (
              <Field
                key={parameter.name}
                label={parameter.label || parameter.name}
                error={valueError(value)}
                className="w-44"
              >
                {(props) => (
                  <Input
                    {...props}
                    value={value.text}
                    onChange={(event) =>
                      setTyped({
                        ...typed,
                        [parameter.name]: { ...value, text: event.target.value },
                      })
                    }
                  />
                )}
              </Field>
            );
          })}
          <Button type="submit" disabled={wrong}>
            Apply
          </Button>
        </form>
      )}
      <div className="flex flex-col gap-4 lg:flex-row">
        <Card className="h-[60vh] min-h-72 min-w-0 p-4 lg:flex-1">
          <LiveChart queryKey={key} start={start} spec={spec} title={chart.title} />
        </Card>
        {editing && (
          <Card className="shrink-0 p-4 lg:w-64">
            <EditSpec queryKey={key} start={start} spec={spec} onChange={setSpec} />
          </Card>
        )}
      </div>
      <NameDialog
        chart={chart}
        open={naming}
        onOpenChange={setNaming}
        onSave={(parts) => save.mutate({ parts })}
        busy={save.isPending}
      />
      {met && (
        <MeanwhileDialog
          met={met}
          noun="chart"
          busy={save.isPending}
          onReplace={() => save.mutate({ parts: met.mine, version: met.theirs?.version })}
          onCopy={() => save.mutate({ parts: asCopy(chart, met.mine), as: "new" })}
          onDrop={() => (met.theirs ? show(met.theirs) : navigate("/charts"))}
          onClose={meanwhile.clear}
        />
      )}
    </Page>
  );
}

/** Beside theirs, and in its workspace; who it is shared with is known to who manages it alone. */
function asCopy(chart: Chart, mine: Partial<Naming>): Partial<Naming> {
  const title = copyTitle(mine.title ?? chart.title);
  return chart.can_manage ? { ...mine, title } : { ...mine, title, shares: [] };
}

function EditSpec({
  queryKey,
  start,
  spec,
  onChange,
}: {
  queryKey: readonly unknown[];
  start: Parameters<typeof useRows>[1];
  spec: ChartSpec;
  onChange: (spec: ChartSpec) => void;
}) {
  const rows = useRows(queryKey, start, CHART_ROWS);
  return <SpecEditor spec={spec} columns={rows.data?.columns ?? []} onChange={onChange} />;
}

function NameDialog({
  chart,
  open,
  onOpenChange,
  onSave,
  busy,
}: {
  chart: Chart;
  open: boolean;
  onOpenChange: (open: boolean) => void;
  onSave: (parts: Naming) => void;
  busy: boolean;
}) {
  const [title, setTitle] = useState(chart.title);
  const [description, setDescription] = useState(chart.description);
  const [shares, setShares] = useState<Share[]>(chart.shares);
  const [workspace, setWorkspace] = useState<WorkspaceRef | null>(chart.workspace);
  useEffect(() => {
    if (!open) return;
    setTitle(chart.title);
    setDescription(chart.description);
    setShares(chart.shares);
    setWorkspace(chart.workspace);
  }, [open, chart]);
  return (
    <Dialog
      open={open}
      onOpenChange={onOpenChange}
      title="Name and share"
      footer={
        <Button
          variant="primary"
          busy={busy}
          disabled={title.trim() === ""}
          onClick={() => onSave({ title: title.trim(), description, shares, workspace })}
        >
          Save
        </Button>
      }
    >
      <div className="flex flex-col gap-3">
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
        <Field label="Description" hint="Optional.">
          {(props) => (
            <Textarea
              {...props}
              value={description}
              onChange={(event) => setDescription(event.target.value)}
            />
          )}
        </Field>
        {chart.can_manage && (
          <>
            <WorkspaceChoice value={workspace} onChange={setWorkspace} />
            <Shares shares={shares} onChange={setShares} inWorkspace={workspace !== null} />
          </>
        )}
      </div>
    </Dialog>
  );
}
