import { useQuery } from "@tanstack/react-query";
import { again } from "@/api/again";
import { api, unwrap } from "@/api/client";
import type { Job, JobRunState, JobRunSummary, SaveJob, Schedule } from "@/api/types";

const LIVE_MS = 2000;

/** Whether nothing changes any more. */
export function hasEnded(state: JobRunState): boolean {
  return !["waiting", "queued", "running", "retrying"].includes(state);
}

/** How often something is asked for again while a run of it is under way. */
export function pace(runs: readonly (JobRunSummary | null)[]): number | false {
  return runs.some((run) => run !== null && !hasEnded(run.state)) ? LIVE_MS : false;
}

export function useJob(jobId: string | undefined) {
  return useQuery({
    queryKey: ["job", jobId],
    queryFn: () =>
      unwrap(api.GET("/api/v1/jobs/{job_id}", { params: { path: { job_id: jobId ?? "" } } })),
    enabled: jobId !== undefined,
    staleTime: 0,
    refetchInterval: (query) => again(query, pace([query.state.data?.last_run ?? null])),
  });
}

export function usePermission() {
  return useQuery({
    queryKey: ["job-permission"],
    queryFn: () => unwrap(api.GET("/api/v1/job-permission")),
  });
}

/** Schedules that people choose by name. */
export const SCHEDULES: readonly { cron: string; label: string }[] = [
  { cron: "0 * * * *", label: "every hour" },
  { cron: "0 6 * * *", label: "every day at 06:00" },
  { cron: "0 6 * * MON-FRI", label: "on weekdays at 06:00" },
  { cron: "0 6 * * MON", label: "every Monday at 06:00" },
  { cron: "0 6 1 * *", label: "on the first of the month at 06:00" },
];

/** A schedule in words where it is a usual one. */
export function scheduleText(schedule: Schedule): string {
  const known = SCHEDULES.find((one) => one.cron === schedule.cron.trim().toUpperCase());
  return `${known?.label ?? schedule.cron}, ${schedule.time_zone ?? "UTC"}`;
}

/** What the API shows of a job, as it takes it. */
export function asGiven(job: Job): SaveJob {
  return {
    title: job.title,
    description: job.description,
    work: job.work,
    parameters: job.parameters,
    schedule: job.schedule,
    after: job.after,
    max_concurrent: job.max_concurrent,
    when_busy: job.when_busy,
    retries: job.retries,
    timeout_s: job.timeout_s,
    restart_lost: job.restart_lost,
    group: job.group,
    shares: job.shares,
  };
}

/** A job with nothing in it yet. */
export function emptyJob(catalog: string | null): SaveJob {
  return {
    title: "",
    description: "",
    work: { kind: "sql", statement: "", catalog, namespace: null },
    parameters: [],
    schedule: null,
    after: [],
    max_concurrent: 1,
    when_busy: "queue",
    retries: { count: 0, first_wait_s: 30, longest_wait_s: 3600 },
    timeout_s: 3600,
    restart_lost: true,
    group: null,
    shares: [],
  };
}

/** Names of `:name` outside of strings, quoted names and comments; a program's are whole arguments. */
export function parameterNames(work: SaveJob["work"]): string[] {
  const own = ["scheduled_at", "scheduled_date"];
  const found: string[] = [];
  if (work.kind === "sql") {
    const lexemes =
      /'(?:[^']|'')*(?:'|$)|"(?:[^"]|"")*(?:"|$)|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|(?<![\w:'")\]]):([A-Za-z_]\w*)/g;
    for (const match of work.statement.matchAll(lexemes)) if (match[1]) found.push(match[1]);
  } else {
    for (const one of work.arguments ?? []) {
      const match = /^:([A-Za-z_]\w*)$/.exec(one);
      if (match?.[1]) found.push(match[1]);
    }
  }
  return [...new Set(found)].filter((name) => !own.includes(name));
}

/** Arguments as a person writes them: one a line. */
export function toLines(text: string): string[] {
  return text.split("\n").filter((line) => line.trim() !== "");
}
