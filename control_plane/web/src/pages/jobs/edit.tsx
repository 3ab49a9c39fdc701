import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useNavigate, useParams, useSearchParams } from "react-router";
import { api, etagOf, unwrap } from "@/api/client";
import { useInfo } from "@/api/session";
import type { Job, SaveJob } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { Shares } from "@/components/shares";
import { Button } from "@/components/ui/button";
import { Card } from "@/components/ui/card";
import { SkeletonRows } from "@/components/ui/feedback";
import { Field, Input, Textarea } from "@/components/ui/input";
import { notify } from "@/components/ui/toast";
import {
  fromSpecs,
  type ParameterValue,
  toSpecs,
  valueError,
  valuesFor,
} from "@/query/parametervalues";
import { Page } from "@/shell/page";
import { asGiven, emptyJob, parameterNames, useJob } from "./data";
import { Limits } from "./limits";
import { When } from "./when";
import { WorkFields } from "./work";

/** A new job (from a copy of another one with `?from=`), or a new version of one (from an old with `?version=`). */
export default function EditJobPage() {
  const { jobId } = useParams();
  const [search] = useSearchParams();
  const info = useInfo();
  const from = search.get("from");
  const oldVersion = search.get("version");
  const job = useJob(jobId ?? from ?? undefined);
  const old = useQuery({
    queryKey: ["job-version", jobId, Number(oldVersion)],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/jobs/{job_id}/versions/{version}", {
          params: { path: { job_id: jobId ?? "", version: Number(oldVersion) } },
        }),
      ),
    enabled: jobId !== undefined && oldVersion !== null,
  });
  const title = jobId === undefined ? "New job" : "Change a job";
  const crumbs = [{ label: "Jobs", to: "/jobs" }];
  if (jobId !== undefined) crumbs.push({ label: job.data?.title ?? "Job", to: `/jobs/${jobId}` });
  const error = job.error ?? old.error;
  const wanted = jobId ?? from;
  let start: SaveJob | null = null;
  if (wanted === null || wanted === undefined) start = info ? emptyJob(info.default_catalog) : null;
  else if (oldVersion !== null && jobId !== undefined) start = old.data?.job ?? null;
  else if (job.data !== undefined) {
    start = asGiven(job.data);
    if (jobId === undefined) {
      start = { ...start, title: `${start.title} (copy)`, shares: [], after: [], group: null };
    }
  }
  // What is being written stays, whatever becomes of a later look at the job.
  const unread = start === null ? error : null;
  return (
    <Page
      title={title}
      crumbs={crumbs}
      description={
        oldVersion === null
          ? undefined
          : `Begins with version ${oldVersion}; saving makes a new one.`
      }
    >
      {unread ? (
        <ProblemNote error={unread} again />
      ) : start === null || (jobId !== undefined && job.data === undefined) ? (
        <SkeletonRows rows={8} />
      ) : (
        <Form
          key={`${jobId ?? "new"} ${oldVersion}`}
          start={start}
          base={jobId === undefined ? null : (job.data ?? null)}
        />
      )}
    </Page>
  );
}

function Form({ start, base }: { start: SaveJob; base: Job | null }) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const [job, setJob] = useState(start);
  // Somebody else's change in the meantime must be noticed, not overwritten: the version is that of the opening.
  const [version] = useState(base?.version ?? 0);
  const [known, setKnown] = useState(() => fromSpecs(start.parameters ?? []));
  const change = (changes: Partial<SaveJob>) => setJob({ ...job, ...changes });
  const values = valuesFor(parameterNames(job.work), known);
  const wrong = Object.values(values).some(
    (value) => value.text !== "" && valueError(value) !== undefined,
  );
  const save = useMutation({
    mutationFn: () => {
      const body = { ...job, title: job.title.trim(), parameters: toSpecs(values) };
      if (base === null) return unwrap(api.POST("/api/v1/jobs", { body }));
      return unwrap(
        api.PUT("/api/v1/jobs/{job_id}", {
          params: { path: { job_id: base.id }, header: { "if-match": etagOf(version) } },
          body,
        }),
      );
    },
    onSuccess: (saved) => {
      notify(`Saved “${saved.title}”`);
      client.setQueryData(["job", saved.id], saved);
      void client.invalidateQueries({ queryKey: ["jobs"] });
      navigate(`/jobs/${saved.id}`);
    },
  });
  const complete =
    job.title.trim() !== "" &&
    (job.work.kind === "sql" ? job.work.statement : job.work.source).trim() !== "" &&
    !wrong;
  return (
    <form
      aria-label="Job"
      className="flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault();
        if (complete) save.mutate();
      }}
    >
      <Card className="flex flex-col gap-3 p-4">
        <Field label="Title">
          {(props) => (
            <Input
              {...props}
              required
              maxLength={200}
              value={job.title}
              onChange={(event) => change({ title: event.target.value })}
            />
          )}
        </Field>
        <Field label="Description">
          {(props) => (
            <Textarea
              {...props}
              value={job.description ?? ""}
              onChange={(event) => change({ description: event.target.value })}
            />
          )}
        </Field>
      </Card>
      <WorkFields
        work={job.work}
        onChange={(work) => change({ work })}
        values={values}
        onValue={(name: string, value: ParameterValue) => setKnown({ ...known, [name]: value })}
      />
      <When job={job} jobId={base?.id ?? null} onChange={change} />
      <Limits job={job} onChange={change} />
      <Card className="p-4">
        <Shares
          shares={job.shares ?? []}
          onChange={(shares) => change({ shares })}
          readOnly="A job runs with its owner’s rights: others see it, and make copies of their own."
        />
      </Card>
      {save.error && <ProblemNote error={save.error} />}
      <div className="flex gap-2">
        <Button type="submit" variant="primary" busy={save.isPending} disabled={!complete}>
          Save
        </Button>
        <Button onClick={() => navigate(base === null ? "/jobs" : `/jobs/${base.id}`)}>
          Cancel
        </Button>
      </div>
    </form>
  );
}
