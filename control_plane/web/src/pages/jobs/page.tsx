import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Copy, Ellipsis, History, Pause, Pencil, Play, Trash2 } from "lucide-react";
import { type ReactNode, useState } from "react";
import { Link, useNavigate, useParams } from "react-router";
import { again } from "@/api/again";
import { api, etagOf, unwrap } from "@/api/client";
import { asProblem } from "@/api/problem";
import { useInfo } from "@/api/session";
import type { Job, JobRunSummary } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { Button, buttonVariants } from "@/components/ui/button";
import { Card, CardHeader } from "@/components/ui/card";
import { Dialog } from "@/components/ui/dialog";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { Menu, MenuItem, MenuSeparator } from "@/components/ui/menu";
import { complain, notify } from "@/components/ui/toast";
import { ago, duration, instant, plural } from "@/lib/format";
import { useNow } from "@/lib/hooks";
import { Page } from "@/shell/page";
import { pace, scheduleText, useJob, usePermission } from "./data";
import { AskPermission } from "./permission";
import { RunNow } from "./rundialog";
import { RunStateBadge } from "./state";

const CRUMBS = [{ label: "Jobs", to: "/jobs" }];

export default function JobPage() {
  const { jobId } = useParams();
  const job = useJob(jobId);
  // What is open on the page stays, whatever becomes of a later look at the job.
  if (job.error && job.data === undefined) {
    return (
      <Page title="Job" crumbs={CRUMBS}>
        <ProblemNote error={job.error} onRetry={() => void job.refetch()} />
      </Page>
    );
  }
  if (job.isPending) {
    return (
      <Page title="Job" crumbs={CRUMBS}>
        <SkeletonRows />
      </Page>
    );
  }
  return <Shown job={job.data} />;
}

function Shown({ job }: { job: Job }) {
  const permission = usePermission();
  const services = useInfo()?.services;
  const asks =
    job.can_edit &&
    (job.pause === "permission" || job.pause === "rights") &&
    permission.data?.granted === false;
  return (
    <Page
      title={job.title}
      crumbs={CRUMBS}
      description={job.description || undefined}
      actions={job.can_edit ? <Actions job={job} /> : <Duplicate job={job} />}
    >
      {asks && <AskPermission reason={permission.data?.ended_reason} />}
      {job.pause !== null && !asks && (
        <p className="text-sm text-warning">
          Paused: {job.pause_reason}
          {job.paused_at !== null && `, since ${instant(job.paused_at)}`}. Its owner can still start
          it.
        </p>
      )}
      {job.work.kind === "spark" && services !== undefined && !services.includes("spark") && (
        <p className="text-sm text-warning">
          This lab runs without Spark, so that its runs fail: <code>lab up spark</code> brings it
          up.
        </p>
      )}
      <Facts job={job} />
      <Runs job={job} />
      <Definition job={job} />
      <Versions job={job} />
    </Page>
  );
}

function Actions({ job }: { job: Job }) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const [removing, setRemoving] = useState(false);
  const byItself = job.schedule !== null || job.after.length > 0;
  const rest = useMutation({
    mutationFn: () => {
      const params = { params: { path: { job_id: job.id } } };
      return unwrap(
        job.pause === null
          ? api.POST("/api/v1/jobs/{job_id}/pause", params)
          : api.POST("/api/v1/jobs/{job_id}/resume", params),
      );
    },
    onSuccess: (changed) => client.setQueryData(["job", job.id], changed),
    onError: (error) => complain("That did not work", asProblem(error).message),
  });
  const remove = useMutation({
    mutationFn: () =>
      unwrap(
        api.DELETE("/api/v1/jobs/{job_id}", {
          params: { path: { job_id: job.id }, header: { "if-match": etagOf(job.version) } },
        }),
      ),
    onSuccess: () => {
      notify(`Removed “${job.title}”`);
      void client.invalidateQueries({ queryKey: ["jobs"] });
      navigate("/jobs");
    },
  });
  return (
    <>
      <RunNow key={job.version} job={job} />
      {byItself && (
        <Button busy={rest.isPending} onClick={() => rest.mutate()}>
          {job.pause === null ? <Pause aria-hidden /> : <Play aria-hidden />}
          {job.pause === null ? "Pause" : "Resume"}
        </Button>
      )}
      <Link to={`/jobs/${job.id}/edit`} className={buttonVariants({})}>
        <Pencil aria-hidden />
        Change
      </Link>
      <Menu
        align="end"
        trigger={
          <Button variant="ghost" size="icon" aria-label="More">
            <Ellipsis aria-hidden />
          </Button>
        }
      >
        <MenuItem onClick={() => navigate(`/jobs/new?from=${job.id}`)}>
          <Copy aria-hidden />
          Make a copy
        </MenuItem>
        <MenuSeparator />
        <MenuItem danger onClick={() => setRemoving(true)}>
          <Trash2 aria-hidden />
          Remove…
        </MenuItem>
      </Menu>
      <Dialog
        open={removing}
        onOpenChange={(open) => {
          remove.reset();
          setRemoving(open);
        }}
        title={`Remove “${job.title}”?`}
        description="Its versions, runs and logs go with it. What it wrote stays."
        footer={
          <>
            <Button onClick={() => setRemoving(false)}>Cancel</Button>
            <Button variant="danger" busy={remove.isPending} onClick={() => remove.mutate()}>
              Remove
            </Button>
          </>
        }
      >
        {remove.error && <ProblemNote error={remove.error} />}
      </Dialog>
    </>
  );
}

function Duplicate({ job }: { job: Job }) {
  return (
    <Link to={`/jobs/new?from=${job.id}`} className={buttonVariants({})}>
      <Copy aria-hidden />
      Make a copy of your own
    </Link>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className="min-w-0">
      <dt className="text-xs text-muted-foreground">{name}</dt>
      <dd className="text-sm break-words">{children}</dd>
    </div>
  );
}

function Facts({ job }: { job: Job }) {
  const now = useNow(30_000);
  const { count, first_wait_s, longest_wait_s } = job.retries;
  return (
    <dl className="grid gap-x-6 gap-y-3 rounded-lg border bg-card p-4 sm:grid-cols-2 lg:grid-cols-4">
      <Fact name="Runs">
        {job.schedule === null && job.after.length === 0 && "when its owner says so"}
        {job.schedule !== null && scheduleText(job.schedule)}
        {job.after.map((one) => (
          <span key={one} className="block">
            after{" "}
            <Link to={`/jobs/${one}`} className="text-primary underline underline-offset-2">
              another job
            </Link>
            {job.waiting_for.includes(one) ? "" : ", which has succeeded"}
          </span>
        ))}
      </Fact>
      <Fact name="Next run">
        {job.next_run_at === null
          ? "not planned"
          : `${instant(job.next_run_at)} (${ago(job.next_run_at, now)})`}
      </Fact>
      <Fact name="Runs as">
        {job.owner}
        {job.group !== null && `, as long as a member of ${job.group}`}
      </Fact>
      <Fact name="Limits">
        {duration(job.timeout_s * 1000)} a try, {plural(job.max_concurrent, "run")} at once,{" "}
        {job.when_busy === "skip" ? "skips its time when busy" : "queues when busy"}
      </Fact>
      <Fact name="Retries">
        {(count ?? 0) === 0
          ? "none"
          : `${count}, after ${duration((first_wait_s ?? 30) * 1000)}, doubling up to ${duration(
              (longest_wait_s ?? 3600) * 1000,
            )}`}
      </Fact>
      <Fact name="When the engine loses it">
        {job.restart_lost ? "it is begun again" : "it fails"}
      </Fact>
      <Fact name="Shared with">
        {job.shares.length === 0 ? "nobody" : job.shares.map((one) => one.group).join(", ")}
      </Fact>
      <Fact name="Version">
        {job.version}, by {job.updated_by} {ago(job.updated_at, now)}
      </Fact>
    </dl>
  );
}

function Runs({ job }: { job: Job }) {
  const runs = useInfiniteQuery({
    queryKey: ["job-runs", job.id],
    queryFn: ({ pageParam }) =>
      unwrap(
        api.GET("/api/v1/jobs/{job_id}/runs", {
          params: { path: { job_id: job.id }, query: { limit: 25, cursor: pageParam } },
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next ?? undefined,
    staleTime: 0,
    refetchInterval: (query) =>
      again(query, pace(query.state.data?.pages.flatMap((page) => page.runs) ?? [job.last_run])),
  });
  const all = runs.data?.pages.flatMap((page) => page.runs) ?? [];
  return (
    <Card>
      <CardHeader title="Runs" description="Kept for 90 days." />
      {runs.error ? (
        <ProblemNote error={runs.error} again className="m-3" />
      ) : runs.isPending ? (
        <SkeletonRows rows={3} />
      ) : all.length === 0 ? (
        <Empty icon={History} title="It has not run yet" />
      ) : (
        <ul aria-label="Runs" className="divide-y border-t">
          {all.map((run) => (
            <RunEntry key={run.id} run={run} />
          ))}
        </ul>
      )}
      {runs.hasNextPage && (
        <div className="border-t p-2 text-center">
          <Button onClick={() => void runs.fetchNextPage()} busy={runs.isFetchingNextPage}>
            Older ones
          </Button>
        </div>
      )}
    </Card>
  );
}

const TRIGGERS: Record<JobRunSummary["trigger"], string> = {
  manual: "by hand",
  schedule: "by schedule",
  dependency: "after another job",
  retry: "once more",
};

function RunEntry({ run }: { run: JobRunSummary }) {
  const now = useNow(1000);
  const end = run.ended_at === null ? now : Date.parse(run.ended_at);
  return (
    <li>
      <Link
        to={`/jobs/${run.job_id}/runs/${run.id}`}
        className="flex flex-wrap items-center gap-x-4 gap-y-1 px-4 py-2 text-sm -outline-offset-2 hover:bg-accent/50"
      >
        <span className="w-12 font-medium tabular">#{run.number}</span>
        <RunStateBadge state={run.state} />
        <span className="min-w-0 flex-1 text-xs text-muted-foreground">
          {TRIGGERS[run.trigger]}, version {run.version}
          {run.attempt > 1 && `, try ${run.attempt}`}
        </span>
        <span className="text-xs text-muted-foreground tabular">
          {run.started_at !== null && duration(end - Date.parse(run.started_at))}
        </span>
        <span className="text-xs text-muted-foreground tabular">{instant(run.created_at)}</span>
      </Link>
    </li>
  );
}

function Definition({ job }: { job: Job }) {
  const { work } = job;
  return (
    <Card>
      <CardHeader
        title={work.kind === "sql" ? "Statements" : "Program"}
        description={
          work.kind === "sql"
            ? `In ${[work.catalog, work.namespace].filter(Boolean).join(".") || "no catalog"}.`
            : `Arguments: ${(work.arguments ?? []).join(" ") || "none"}`
        }
        actions={job.parameters.map((one) => (
          <Badge key={one.name} tone="outline">
            :{one.name} {one.type}
          </Badge>
        ))}
      />
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and must do so from the keyboard */}
      <section aria-label="Its text" tabIndex={0} className="max-h-96 overflow-auto border-t">
        <pre className="p-4 font-mono text-xs">
          {work.kind === "sql" ? work.statement : work.source}
        </pre>
      </section>
    </Card>
  );
}

function Versions({ job }: { job: Job }) {
  const [open, setOpen] = useState<number | null>(null);
  const versions = useQuery({
    queryKey: ["job-versions", job.id, job.version],
    queryFn: () =>
      unwrap(api.GET("/api/v1/jobs/{job_id}/versions", { params: { path: { job_id: job.id } } })),
  });
  const one = useQuery({
    queryKey: ["job-version", job.id, open],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/jobs/{job_id}/versions/{version}", {
          params: { path: { job_id: job.id, version: open ?? 1 } },
        }),
      ),
    enabled: open !== null,
    staleTime: Number.POSITIVE_INFINITY,
  });
  return (
    <Card>
      <CardHeader title="Versions" description="Each run keeps the version that it began with." />
      {versions.error ? (
        <ProblemNote error={versions.error} again className="m-3" />
      ) : versions.isPending ? (
        <SkeletonRows rows={2} />
      ) : (
        <ul aria-label="Versions" className="divide-y border-t">
          {versions.data.map((version) => (
            <li
              key={version.version}
              className="flex flex-wrap items-center gap-x-4 px-4 py-2 text-sm"
            >
              <span className="w-12 font-medium tabular">{version.version}</span>
              <span className="min-w-0 flex-1 truncate">{version.title}</span>
              <span className="text-xs text-muted-foreground">
                {version.created_by}, {instant(version.created_at)}
              </span>
              <Button size="sm" onClick={() => setOpen(version.version)}>
                Show<span className="sr-only"> version {version.version}</span>
              </Button>
            </li>
          ))}
        </ul>
      )}
      <Dialog
        open={open !== null}
        onOpenChange={() => setOpen(null)}
        shape="right"
        title={`Version ${open}`}
        description={one.data?.title}
        footer={
          job.can_edit && (
            <Link to={`/jobs/${job.id}/edit?version=${open}`} className={buttonVariants({})}>
              Bring it back…
            </Link>
          )
        }
      >
        {one.error ? (
          <ProblemNote error={one.error} again />
        ) : one.data === undefined ? (
          <SkeletonRows />
        ) : (
          <pre className="font-mono text-xs whitespace-pre-wrap">
            {JSON.stringify(one.data.job, null, 2)}
          </pre>
        )}
      </Dialog>
    </Card>
  );
}
