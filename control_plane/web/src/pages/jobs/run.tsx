import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { RotateCw, Square } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { Link, useNavigate, useParams } from "react-router";
import { api, unwrap } from "@/api/client";
import { asProblem, mayPass } from "@/api/problem";
import { runEvents } from "@/api/stream";
import type { JobRun, LogLine } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Card, CardHeader } from "@/components/ui/card";
import { Failure, SkeletonRows } from "@/components/ui/feedback";
import { complain } from "@/components/ui/toast";
import { duration, instant } from "@/lib/format";
import { useNow } from "@/lib/hooks";
import { Page } from "@/shell/page";
import { hasEnded } from "./data";
import { RunStateBadge } from "./state";

const AGAIN_MS = 2000;

/** A run's log and state as they come, from the stream; taken up again where it broke off. */
function useLive(runId: string): { run: JobRun | null; lines: LogLine[]; error: unknown } {
  const [run, setRun] = useState<JobRun | null>(null);
  const [lines, setLines] = useState<LogLine[]>([]);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    const abort = new AbortController();
    let after = 0;
    setRun(null);
    setLines([]);
    setError(null);
    const listen = async () => {
      while (!abort.signal.aborted) {
        try {
          for await (const event of runEvents(runId, { after, signal: abort.signal })) {
            setError(null);
            if (event.type === "log") {
              after = event.lines.at(-1)?.id ?? after;
              setLines((before) => [...before, ...event.lines]);
            } else {
              setRun(event.run);
              if (event.type === "end") return;
            }
          }
        } catch (failure) {
          if (abort.signal.aborted) return;
          setError(failure);
          if (!mayPass(failure)) return;
        }
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    };
    void listen();
    return () => abort.abort();
  }, [runId]);
  return { run, lines, error };
}

export default function RunPage() {
  const { jobId = "", runId = "" } = useParams();
  const live = useLive(runId);
  const first = useQuery({
    queryKey: ["job-run", runId],
    queryFn: () =>
      unwrap(api.GET("/api/v1/job-runs/{run_id}", { params: { path: { run_id: runId } } })),
    staleTime: 0,
  });
  const run = live.run ?? first.data ?? null;
  const crumbs = [
    { label: "Jobs", to: "/jobs" },
    { label: run?.job_title ?? "Job", to: `/jobs/${jobId}` },
  ];
  if (run === null) {
    return (
      <Page title="Run" crumbs={crumbs}>
        {first.error ? (
          <ProblemNote error={first.error} onRetry={() => void first.refetch()} />
        ) : (
          <SkeletonRows />
        )}
      </Page>
    );
  }
  return (
    <Page
      title={`${run.job_title}, run ${run.number}`}
      heading={
        <span className="flex flex-wrap items-center gap-2.5">
          Run {run.number}
          <span role="status" className="inline-flex">
            <RunStateBadge state={run.state} />
          </span>
        </span>
      }
      crumbs={crumbs}
      description={`Version ${run.version} of “${run.job_title}”, as ${run.owner}.`}
      actions={run.can_read_log ? <Actions run={run} /> : undefined}
    >
      {live.error !== null && <ProblemNote error={live.error} again />}
      {run.error && <RunFailure run={run} />}
      <Facts run={run} />
      <Log run={run} lines={live.lines} />
    </Page>
  );
}

function Actions({ run }: { run: JobRun }) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const params = { params: { path: { run_id: run.id } } };
  const stop = useMutation({
    mutationFn: () => unwrap(api.POST("/api/v1/job-runs/{run_id}/stop", params)),
    onError: (error) => complain("It could not be stopped", asProblem(error).message),
  });
  const retry = useMutation({
    mutationFn: () => unwrap(api.POST("/api/v1/job-runs/{run_id}/retry", params)),
    onSuccess: (again) => {
      void client.invalidateQueries({ queryKey: ["job-runs", run.job_id] });
      navigate(`/jobs/${run.job_id}/runs/${again.id}`);
    },
    onError: (error) => complain("It could not be repeated", asProblem(error).message),
  });
  if (!hasEnded(run.state)) {
    return (
      <Button busy={stop.isPending || run.stop_requested} onClick={() => stop.mutate()}>
        <Square aria-hidden />
        {run.stop_requested ? "Stopping" : "Stop"}
      </Button>
    );
  }
  return (
    <Button busy={retry.isPending} onClick={() => retry.mutate()}>
      <RotateCw aria-hidden />
      Run it again
    </Button>
  );
}

function RunFailure({ run }: { run: JobRun }) {
  const { error } = run;
  if (error === null) return null;
  const at = [
    error.statement ? `statement ${error.statement}` : "",
    error.line ? `line ${error.line}` : "",
    error.column ? `column ${error.column}` : "",
  ].filter(Boolean);
  return (
    <Failure title={error.message ?? "It failed; why is for its owner to read."}>
      <span className="flex flex-wrap gap-x-3 text-xs text-muted-foreground">
        {error.name && <code className="font-mono">{error.name}</code>}
        {at.length > 0 && <span>{at.join(", ")}</span>}
        {run.next_attempt_at && <span>next try at {instant(run.next_attempt_at)}</span>}
      </span>
    </Failure>
  );
}

function Facts({ run }: { run: JobRun }) {
  const now = useNow(1000);
  const end = run.ended_at === null ? now : Date.parse(run.ended_at);
  const facts: [string, string][] = [
    ["Asked for by", run.requested_by],
    ["Began", run.started_at === null ? "not yet" : instant(run.started_at)],
    ["Took", run.started_at === null ? "nothing yet" : duration(end - Date.parse(run.started_at))],
    ["Try", `${run.attempt} of at most ${run.max_attempts}`],
  ];
  if (run.scheduled_for) facts.push(["For", instant(run.scheduled_for)]);
  if (run.statement && run.statements) {
    const done = run.fraction === null ? "" : `, ${Math.round(run.fraction * 100)} %`;
    facts.push(["Statement", `${run.statement} of ${run.statements}${done}`]);
  }
  const engine = run.attempts.flatMap((one) => [
    ...(one.trino_query_ids ?? []),
    ...(one.spark_job_id ? [one.spark_job_id] : []),
  ]);
  return (
    <div className="flex flex-col gap-3 rounded-lg border bg-card p-4">
      <dl className="grid gap-x-6 gap-y-3 sm:grid-cols-3 lg:grid-cols-6">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt className="text-xs text-muted-foreground">{name}</dt>
            <dd className="text-sm tabular">{value}</dd>
          </div>
        ))}
      </dl>
      <div className="flex flex-wrap gap-1.5">
        {run.parameters.map((one) => (
          <Badge key={one.name} tone="outline">
            :{one.name} = {one.value === null ? "NULL" : String(one.value)}
          </Badge>
        ))}
        {engine.map((id) =>
          id.includes("_") ? (
            <Link
              key={id}
              to={`/audit?query_id=${encodeURIComponent(id)}`}
              className="font-mono text-xs text-primary underline underline-offset-2"
            >
              {id}
            </Link>
          ) : (
            <code key={id} className="font-mono text-xs">
              {id}
            </code>
          ),
        )}
      </div>
    </div>
  );
}

const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

function Log({ run, lines }: { run: JobRun; lines: readonly LogLine[] }) {
  const box = useRef<HTMLElement>(null);
  const [following, setFollowing] = useState(true);
  // biome-ignore lint/correctness/useExhaustiveDependencies: at each new line
  useEffect(() => {
    const element = box.current;
    if (element !== null && following) element.scrollTop = element.scrollHeight;
  }, [lines, following]);
  return (
    <Card>
      <CardHeader
        title="Log"
        description={
          run.can_read_log ? undefined : "For its owner alone: a program may print rows."
        }
      />
      {run.can_read_log && (
        <section
          ref={box}
          aria-label="Log"
          // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and must do so from the keyboard
          tabIndex={0}
          onScroll={(event) => {
            const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
            setFollowing(scrollHeight - scrollTop - clientHeight < 24);
          }}
          className="max-h-[60vh] min-h-24 overflow-auto border-t py-2 font-mono text-xs"
        >
          {lines.length === 0 && (
            <p className="px-4 text-muted-foreground">Nothing was said yet.</p>
          )}
          {lines.map((line) => (
            <div key={line.id} className="flex gap-3 px-4 py-px">
              <time dateTime={line.at} className="shrink-0 text-muted-foreground tabular">
                {clock.format(new Date(line.at))}
              </time>
              <span className="w-14 shrink-0 text-muted-foreground">{line.source}</span>
              <span className="min-w-0 flex-1 break-words whitespace-pre-wrap">
                {line.text.replace(/\n$/, "")}
              </span>
            </div>
          ))}
        </section>
      )}
    </Card>
  );
}
