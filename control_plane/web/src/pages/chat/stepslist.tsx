import { Check, ChevronRight, LoaderCircle, TriangleAlert } from "lucide-react";
import { useState } from "react";
import { Link } from "react-router";
import type { Run } from "@/api/chat";
import { ProblemNote } from "@/components/problem";
import { Spinner } from "@/components/ui/feedback";
import { cn } from "@/lib/cn";
import { duration, plural } from "@/lib/format";
import { useSteps } from "./data";
import { stepLabel, stepMs, stepNote, stepProblem } from "./steps";

/** What a run did, step by step: open while it runs, folded afterwards. */
export function Steps({ run }: { run: Run }) {
  const running = run.state === "running";
  const [open, setOpen] = useState(false);
  const shown = running || open;
  const { steps, lost } = useSteps(run, open);
  const last = steps.at(-1);
  const listId = `steps-${run.id}`;
  return (
    <div className="flex flex-col gap-1.5">
      {running ? (
        <p className="flex items-center gap-2 text-xs text-muted-foreground" role="status">
          <LoaderCircle className="size-3.5 animate-spin" aria-hidden />
          {last === undefined ? "Beginning…" : `${stepLabel(last.node)}…`}
        </p>
      ) : (
        <button
          type="button"
          aria-expanded={open}
          aria-controls={open ? listId : undefined}
          onClick={() => setOpen(!open)}
          className="-mx-1 flex min-h-6 items-center gap-1 self-start rounded-sm px-1 text-xs text-muted-foreground hover:text-foreground"
        >
          <ChevronRight
            className={cn("size-3.5 transition-transform", open && "rotate-90")}
            aria-hidden
          />
          {open && steps.length > 0 ? plural(steps.length, "step") : "How it came about"}
        </button>
      )}
      {lost !== null && <ProblemNote error={lost} again />}
      {shown && !running && steps.length === 0 && lost === null && <Spinner label="Steps" />}
      {shown && steps.length > 0 && (
        <ol id={listId} className="flex flex-col gap-1 border-l pl-3 text-xs">
          {steps.map((step) => {
            const problem = stepProblem(step);
            const ms = stepMs(step);
            return (
              <li key={step.seq} className="flex items-start gap-2">
                {problem ? (
                  <TriangleAlert className="mt-0.5 size-3 shrink-0 text-warning" aria-hidden />
                ) : (
                  <Check className="mt-0.5 size-3 shrink-0 text-success" aria-hidden />
                )}
                <span className="min-w-0 flex-1 break-words">
                  <span className="font-medium">{stepLabel(step.node)}</span>{" "}
                  <span className={problem ? "text-warning" : "text-muted-foreground"}>
                    {problem || stepNote(step)}
                  </span>{" "}
                  {step.query_id && (
                    <Link
                      to={`/audit?query_id=${encodeURIComponent(step.query_id)}`}
                      className="font-mono text-2xs text-primary underline underline-offset-2"
                    >
                      {step.query_id}
                    </Link>
                  )}
                </span>
                {ms !== null && (
                  <span className="shrink-0 text-muted-foreground tabular">{duration(ms)}</span>
                )}
              </li>
            );
          })}
        </ol>
      )}
    </div>
  );
}
