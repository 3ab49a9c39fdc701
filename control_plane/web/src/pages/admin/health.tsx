import {
  CircleCheck,
  CircleDashed,
  CircleX,
  ExternalLink,
  RotateCw,
  TriangleAlert,
} from "lucide-react";
import type { ComponentHealth } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { Badge, type Tone } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { SkeletonRows } from "@/components/ui/feedback";
import { ago, duration } from "@/lib/format";
import { useNow } from "@/lib/hooks";
import { useHealth } from "./data";

const STATES: Record<
  ComponentHealth["state"],
  { tone: Tone; icon: typeof CircleCheck; label: string }
> = {
  up: { tone: "success", icon: CircleCheck, label: "up" },
  degraded: { tone: "warning", icon: TriangleAlert, label: "degraded" },
  down: { tone: "danger", icon: CircleX, label: "down" },
  absent: { tone: "neutral", icon: CircleDashed, label: "not part of this lab" },
};

/** Every service as it answered just now; asked again every few seconds. */
export function HealthPanel() {
  const health = useHealth();
  const now = useNow(1000);
  if (health.error && health.data === undefined) {
    return <ProblemNote error={health.error} onRetry={() => void health.refetch()} />;
  }
  if (health.data === undefined) return <SkeletonRows />;
  const wrong = health.data.components.filter(
    (one) => one.state === "down" || one.state === "degraded",
  );
  return (
    <div className="flex flex-col gap-4">
      <div className="flex flex-wrap items-center gap-3 text-sm">
        <p role="status" className="font-medium">
          {wrong.length === 0
            ? "Everything that runs answers."
            : `${wrong.map((one) => one.title).join(", ")} ${wrong.length === 1 ? "needs" : "need"} a look.`}
        </p>
        <span className="text-xs text-muted-foreground">
          asked {ago(health.data.checked_at, now)}
        </span>
        <Button
          size="sm"
          className="ml-auto"
          busy={health.isFetching}
          onClick={() => void health.refetch()}
        >
          <RotateCw aria-hidden />
          Ask now
        </Button>
      </div>
      {health.error && <ProblemNote error={health.error} again />}
      <ul className="grid gap-3 sm:grid-cols-2 lg:grid-cols-3">
        {health.data.components.map((one) => (
          <Component key={one.name} health={one} />
        ))}
      </ul>
    </div>
  );
}

function Component({ health }: { health: ComponentHealth }) {
  const { tone, icon: Icon, label } = STATES[health.state];
  return (
    <li className="flex flex-col gap-1.5 rounded-lg border bg-card p-4">
      <div className="flex items-start justify-between gap-2">
        <div className="min-w-0">
          <h2 className="truncate text-sm font-semibold">{health.title}</h2>
          <p className="font-mono text-2xs text-muted-foreground">{health.name}</p>
        </div>
        <Badge tone={tone}>
          <Icon aria-hidden />
          {label}
        </Badge>
      </div>
      {health.detail && <p className="text-sm break-words">{health.detail}</p>}
      {health.next_command && health.state !== "up" && (
        <p className="text-xs text-muted-foreground">
          Next: <code className="font-mono text-foreground">{health.next_command}</code>
        </p>
      )}
      <div className="mt-auto flex items-center justify-between gap-2 pt-1 text-xs text-muted-foreground">
        <span className="tabular">
          {health.latency_ms === null ? "" : `answered in ${duration(health.latency_ms)}`}
        </span>
        {health.url && (
          <a
            href={health.url}
            target="_blank"
            rel="noreferrer"
            className="inline-flex min-h-6 items-center gap-1 text-primary hover:underline"
          >
            Open
            <ExternalLink className="size-3" aria-hidden />
            <span className="sr-only">{health.title} in a new window</span>
          </a>
        )}
      </div>
    </li>
  );
}
