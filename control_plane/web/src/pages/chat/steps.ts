/** What the steps of a run say. All pure. */

import type { ConversationDetail, Run, Step } from "@/api/chat";
import { bytes, plural } from "@/lib/format";

const LABELS: Readonly<Record<string, string>> = {
  question: "Question taken",
  resume: "Taken up again",
  understand: "Understand the question",
  asked: "Ask back",
  ask: "Hear the answer",
  find_tables: "Find tables",
  plan: "Plan",
  look: "Look up values",
  write_sql: "Write SQL",
  check: "Check the SQL",
  repair: "Repair the SQL",
  run: "Run as you",
  verify: "Verify the result",
  chart: "Choose a chart",
  narrate: "Put the answer together",
};

export function stepLabel(node: string): string {
  return LABELS[node] ?? node;
}

const text = (value: unknown) => (typeof value === "string" ? value : "");
const number = (value: unknown) => (typeof value === "number" ? value : null);
const texts = (value: unknown) =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === "string") : [];

/** Why a step did not go as it should; empty when it did. */
export function stepProblem({ detail }: Step): string {
  return text(detail.failed) || text(detail.refused) || text(detail.declined);
}

/** What came of a step, in a line; empty when there is nothing to say. */
export function stepNote({ node, detail }: Step): string {
  switch (node) {
    case "question":
      return text(detail.planner) && `by the ${text(detail.planner)}`;
    case "understand":
      return text(detail.reading) || text(detail.ambiguous) || texts(detail.words).join(", ");
    case "asked":
      return text(detail.question);
    case "ask":
      return text(detail.answer);
    case "find_tables":
      return texts(detail.visible).join(", ");
    case "plan":
      return Object.keys((detail.reads as object | null | undefined) ?? {}).join(", ");
    case "look": {
      const values = number(detail.values);
      return values === null
        ? text(detail.column)
        : `${text(detail.column)}: ${plural(values, "value")}`;
    }
    case "check": {
      const scanned = number(detail.scanned_bytes);
      const read = scanned === null ? "" : `reads about ${bytes(scanned)}`;
      return [texts(detail.tables).join(", "), read].filter(Boolean).join(" · ");
    }
    case "run": {
      const rows = number(detail.rows);
      return rows === null
        ? ""
        : `${plural(rows, "row")}${detail.truncated === true ? " or more" : ""}`;
    }
    case "verify":
      return texts(detail.notes).join(" ") || "nothing odd";
    case "chart":
      return text(detail.kind).replaceAll("_", " ");
    case "repair":
      return text(detail.error);
    case "narrate":
      return detail.narrator === "model" ? "in the model's words" : "";
    default:
      return "";
  }
}

export function stepMs({ detail }: Step): number | null {
  const seconds = number(detail.seconds);
  return seconds === null ? null : seconds * 1000;
}

/** The steps with one more, in their order; one that is there already stays as it is. */
export function added(steps: readonly Step[], step: Step): readonly Step[] {
  if (steps.some((one) => one.seq === step.seq)) return steps;
  return [...steps, step].sort((a, b) => a.seq - b.seq);
}

/** A conversation with a run as it stands now. */
export function withRun(
  detail: ConversationDetail | undefined,
  run: Run,
): ConversationDetail | undefined {
  if (detail === undefined) return undefined;
  const known = detail.runs.some((one) => one.id === run.id);
  const runs = known
    ? detail.runs.map((one) => (one.id === run.id ? run : one))
    : [...detail.runs, run];
  return { ...detail, runs };
}
