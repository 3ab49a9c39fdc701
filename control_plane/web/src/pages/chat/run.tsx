import { CirclePlay, Square } from "lucide-react";
import type { ReactNode } from "react";
import type { Run, RunState } from "@/api/chat";
import { Badge, type Tone } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Failure } from "@/components/ui/feedback";
import { AnswerView } from "./answer";
import { useRunAction } from "./data";
import { Steps } from "./stepslist";

const STATES: Readonly<Record<RunState, { tone: Tone; label: string }>> = {
  running: { tone: "primary", label: "Working" },
  waiting: { tone: "warning", label: "Asks you" },
  interrupted: { tone: "warning", label: "Interrupted" },
  answered: { tone: "success", label: "Answered" },
  declined: { tone: "neutral", label: "No answer" },
  failed: { tone: "danger", label: "Failed" },
  stopped: { tone: "warning", label: "Stopped" },
};

/** One question and what became of it. */
export function RunView({
  run,
  last,
  onAnswer,
  onAskAgain,
  onStopped,
  busy,
}: {
  run: Run;
  last: boolean;
  onAnswer: (text: string) => void;
  onAskAgain: (question: string) => void;
  onStopped: () => void;
  busy: boolean;
}) {
  const stop = useRunAction("stop");
  const resume = useRunAction("resume");
  const state = STATES[run.state];
  return (
    <li className="flex flex-col gap-3">
      <h2 className="max-w-[85%] self-end rounded-lg bg-primary-soft px-3 py-2 text-sm font-normal whitespace-pre-wrap break-words text-foreground">
        {run.question}
      </h2>
      <article
        aria-label={`Answer to “${run.question}”`}
        className="flex min-w-0 flex-col gap-3 rounded-lg border bg-card p-4"
      >
        <div className="flex items-center gap-2">
          <Badge tone={state.tone}>{state.label}</Badge>
          <span className="min-w-0 flex-1 truncate text-2xs text-muted-foreground">
            {run.planner}
          </span>
          {run.state === "running" && (
            <Button
              size="sm"
              busy={stop.isPending}
              onClick={() => stop.mutate(run.id, { onSuccess: onStopped })}
            >
              <Square aria-hidden />
              Stop
            </Button>
          )}
        </div>
        {run.answer !== null && <AnswerView answer={run.answer} />}
        {run.state === "waiting" && run.ask !== null && (
          <div className="flex flex-col gap-2">
            <p className="text-sm font-medium whitespace-pre-wrap break-words">
              {run.ask.question}
            </p>
            <ul className="flex flex-wrap gap-2">
              {run.ask.options.map((option) => (
                <li key={option.id} className="min-w-0">
                  <Button
                    disabled={!last || busy}
                    onClick={() => onAnswer(option.id)}
                    className="h-auto min-h-8 max-w-full whitespace-normal"
                  >
                    {option.label}
                  </Button>
                </li>
              ))}
            </ul>
          </div>
        )}
        {run.state === "failed" && <Failure title={run.error ?? "It failed for no known reason"} />}
        {run.state === "stopped" && <Said>It was ended before there was an answer.</Said>}
        {run.state === "interrupted" && (
          <Said>
            The agent was restarted meanwhile. It goes on where it was, with your sign-in.{" "}
            <Button
              size="sm"
              variant="primary"
              busy={resume.isPending}
              onClick={() => resume.mutate(run.id)}
            >
              <CirclePlay aria-hidden />
              Go on
            </Button>
          </Said>
        )}
        <Steps run={run} />
        {(run.state === "failed" || run.state === "stopped" || run.state === "declined") && (
          <Button
            size="sm"
            variant="ghost"
            className="self-start"
            onClick={() => onAskAgain(run.question)}
          >
            Change the question
          </Button>
        )}
      </article>
    </li>
  );
}

function Said({ children }: { children: ReactNode }) {
  return (
    <div className="flex flex-wrap items-center gap-2 text-sm text-muted-foreground">
      {children}
    </div>
  );
}
