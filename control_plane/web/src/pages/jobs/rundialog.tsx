import { useMutation } from "@tanstack/react-query";
import { Play } from "lucide-react";
import { useState } from "react";
import { useNavigate } from "react-router";
import { api, unwrap } from "@/api/client";
import { asProblem } from "@/api/problem";
import type { Job } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Field, Input } from "@/components/ui/input";
import { complain } from "@/components/ui/toast";
import { fromSpecs, toParameters, valueError } from "@/query/parametervalues";

/** Begins a run by hand; asks for the values of the job's parameters first, if it has any. */
export function RunNow({ job }: { job: Job }) {
  const navigate = useNavigate();
  const [open, setOpen] = useState(false);
  const [values, setValues] = useState(() => fromSpecs(job.parameters));
  const start = useMutation({
    mutationFn: () =>
      unwrap(
        api.POST("/api/v1/jobs/{job_id}/runs", {
          params: { path: { job_id: job.id } },
          body: { parameters: toParameters(values) },
        }),
      ),
    onSuccess: (run) => navigate(`/jobs/${job.id}/runs/${run.id}`),
    onError: (error) => {
      if (!open) complain("It could not be started", asProblem(error).message);
    },
  });
  const errors = Object.values(values).map((value) =>
    value.text === "" ? undefined : valueError(value),
  );
  const ask = () => {
    if (job.parameters.length === 0) start.mutate();
    else {
      start.reset();
      setValues(fromSpecs(job.parameters));
      setOpen(true);
    }
  };
  return (
    <>
      <Button variant="primary" busy={start.isPending && !open} onClick={ask}>
        <Play aria-hidden />
        Run now
      </Button>
      <Dialog
        open={open}
        onOpenChange={setOpen}
        title="Run now"
        description="Values of this run; empty stands for NULL."
        footer={
          <>
            <Button onClick={() => setOpen(false)}>Cancel</Button>
            <Button
              variant="primary"
              busy={start.isPending}
              disabled={errors.some((error) => error !== undefined)}
              onClick={() => start.mutate()}
            >
              Run
            </Button>
          </>
        }
      >
        <div className="flex flex-col gap-3">
          {Object.entries(values).map(([name, value], index) => (
            <Field key={name} label={`:${name}`} hint={value.type} error={errors[index]}>
              {(props) => (
                <Input
                  {...props}
                  className="font-mono"
                  value={value.text}
                  onChange={(event) =>
                    setValues({ ...values, [name]: { ...value, text: event.target.value } })
                  }
                />
              )}
            </Field>
          ))}
          {start.error && <ProblemNote error={start.error} />}
        </div>
      </Dialog>
    </>
  );
}
