import type { JobRunState } from "@/api/types";
import { Badge, type Tone } from "@/components/ui/badge";

const STATES: Record<JobRunState, { tone: Tone; label: string }> = {
  waiting: { tone: "neutral", label: "Waiting" },
  queued: { tone: "neutral", label: "Queued" },
  running: { tone: "primary", label: "Running" },
  retrying: { tone: "warning", label: "Retrying" },
  succeeded: { tone: "success", label: "Succeeded" },
  failed: { tone: "danger", label: "Failed" },
  timed_out: { tone: "danger", label: "Timed out" },
  canceled: { tone: "warning", label: "Canceled" },
  skipped: { tone: "warning", label: "Skipped" },
};

/** Where a run stands. */
export function RunStateBadge({ state }: { state: JobRunState }) {
  const { tone, label } = STATES[state];
  return <Badge tone={tone}>{label}</Badge>;
}
