import type { QueryState } from "@/api/types";
import { Badge, type Tone } from "@/components/ui/badge";

const STATES: Record<QueryState, { tone: Tone; label: string }> = {
  queued: { tone: "neutral", label: "Queued" },
  running: { tone: "primary", label: "Running" },
  finished: { tone: "success", label: "Finished" },
  failed: { tone: "danger", label: "Failed" },
  canceled: { tone: "warning", label: "Canceled" },
  abandoned: { tone: "warning", label: "Abandoned" },
  lost: { tone: "warning", label: "Lost" },
};

/** Where a query stands. */
export function StateBadge({ state }: { state: QueryState }) {
  const { tone, label } = STATES[state];
  return <Badge tone={tone}>{label}</Badge>;
}

export function isOver(state: QueryState): boolean {
  return state !== "queued" && state !== "running";
}
