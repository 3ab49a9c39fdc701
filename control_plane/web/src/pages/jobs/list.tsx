import { useQuery } from "@tanstack/react-query";
import { CalendarClock, Flame, SquareTerminal } from "lucide-react";
import { useState } from "react";
import { Link } from "react-router";
import { again } from "@/api/again";
import { api, unwrap } from "@/api/client";
import { useMe } from "@/api/session";
import type { JobSummary } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { buttonVariants } from "@/components/ui/button";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { Input } from "@/components/ui/input";
import { ago, instant, plural } from "@/lib/format";
import { useDebounced, useNow } from "@/lib/hooks";
import { Page } from "@/shell/page";
import { pace, scheduleText, usePermission } from "./data";
import { AskPermission, PermissionNote } from "./permission";
import { RunStateBadge } from "./state";

export default function JobsPage() {
  const me = useMe();
  const [text, setText] = useState("");
  const searched = useDebounced(text.trim(), 200);
  const permission = usePermission();
  const jobs = useQuery({
    queryKey: ["jobs", searched],
    queryFn: () =>
      unwrap(api.GET("/api/v1/jobs", { params: { query: { text: searched || undefined } } })),
    placeholderData: (before) => before,
    staleTime: 0,
    refetchInterval: (query) =>
      again(query, pace((query.state.data ?? []).map((job) => job.last_run))),
  });
  const rests = (jobs.data ?? []).some(
    (job) => job.owner === me.username && (job.pause === "permission" || job.pause === "rights"),
  );
  return (
    <Page
      title="Jobs"
      description="Statements and programs that run on a schedule, one after another, or when you say so: with their owner’s rights."
      actions={
        <Link to="/jobs/new" className={buttonVariants({ variant: "primary" })}>
          New job
        </Link>
      }
    >
      {rests && permission.data?.granted === false && (
        <AskPermission reason={permission.data.ended_reason} />
      )}
      <Input
        type="search"
        aria-label="Filter jobs"
        placeholder="Filter jobs"
        className="max-w-72"
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      {jobs.error ? (
        <ProblemNote error={jobs.error} onRetry={() => void jobs.refetch()} />
      ) : jobs.isPending ? (
        <SkeletonRows />
      ) : jobs.data.length === 0 ? (
        <Empty
          icon={CalendarClock}
          title={searched ? "No job has this in its title" : "No job yet"}
          className="rounded-lg border bg-card"
        >
          Keep a statement or a program here, and say when it runs.
        </Empty>
      ) : (
        <ul aria-label="Jobs" className="divide-y rounded-lg border bg-card">
          {jobs.data.map((job) => (
            <Entry key={job.id} job={job} mine={job.owner === me.username} />
          ))}
        </ul>
      )}
      <PermissionNote />
    </Page>
  );
}

function Entry({ job, mine }: { job: JobSummary; mine: boolean }) {
  const now = useNow(30_000);
  const Icon = job.kind === "sql" ? SquareTerminal : Flame;
  return (
    <li>
      <Link
        to={`/jobs/${job.id}`}
        className="flex flex-wrap items-center gap-x-4 gap-y-1 px-4 py-2.5 -outline-offset-2 hover:bg-accent/50"
      >
        <span className="flex min-w-0 flex-1 basis-60 items-center gap-2.5">
          <Icon className="size-4 shrink-0 text-muted-foreground" aria-hidden />
          <span className="min-w-0">
            <span className="block truncate text-sm font-medium">{job.title}</span>
            <span className="block truncate text-xs text-muted-foreground">
              {job.kind === "sql" ? "SQL" : "Spark"}
              {!mine && `, by ${job.owner}`}
              {job.schedule && `, ${scheduleText(job.schedule)}`}
              {job.after.length > 0 && `, after ${plural(job.after.length, "other job")}`}
            </span>
          </span>
        </span>
        {job.pause !== null && <Badge tone="warning">{job.pause_reason ?? "paused"}</Badge>}
        {job.next_run_at !== null && (
          <span className="text-xs text-muted-foreground tabular" title={instant(job.next_run_at)}>
            next {ago(job.next_run_at, now)}
          </span>
        )}
        {job.last_run !== null ? (
          <span className="flex items-center gap-2 text-xs text-muted-foreground tabular">
            {ago(job.last_run.created_at, now)}
            <RunStateBadge state={job.last_run.state} />
          </span>
        ) : (
          <span className="text-xs text-muted-foreground">has not run</span>
        )}
      </Link>
    </li>
  );
}
