/** The agent's chat. The values are the agent's own (agent/values.py), which the console passes on. */

import { request } from "./client";
import { serverEvents } from "./stream";
import type { Row } from "./types";

export type RunState =
  | "running"
  | "waiting"
  | "interrupted"
  | "answered"
  | "declined"
  | "failed"
  | "stopped";
export type AgentChartKind = "big_number" | "bar" | "line" | "scatter" | "table";

export interface AgentChart {
  kind: AgentChartKind;
  title: string;
  x: string | null;
  y: readonly string[];
  series: string | null;
  /** Column → number, money, ratio, milliseconds or days. */
  formats: Readonly<Record<string, string>>;
}

export interface Choice {
  id: string;
  label: string;
}

export interface Ask {
  question: string;
  options: readonly Choice[];
}

export interface RuleNote {
  table: string;
  filters: readonly string[];
  masked: readonly string[];
  hidden: number;
}

export interface Answer {
  text: string;
  reading: string;
  sql: string;
  columns: readonly string[];
  types: readonly string[];
  rows: readonly Row[];
  row_count: number;
  truncated: boolean;
  chart: AgentChart | null;
  notes: readonly string[];
  rules: readonly RuleNote[];
  hints: readonly string[];
  query_ids: readonly string[];
  narrator: string;
}

export interface Run {
  id: string;
  conversation: string;
  number: number;
  question: string;
  state: RunState;
  planner: string;
  created_at: string;
  ended_at: string | null;
  ask: Ask | null;
  answer: Answer | null;
  error: string | null;
}

export interface Conversation {
  id: string;
  title: string;
  created_at: string;
  updated_at: string;
  runs: number;
}

export interface ConversationDetail {
  conversation: Conversation;
  runs: readonly Run[];
}

export interface Step {
  run: string;
  seq: number;
  at: string;
  node: string;
  detail: Readonly<Record<string, unknown>>;
  query_id: string | null;
}

export interface About {
  planner: string;
  model: string | null;
  summary: string;
  measures: readonly string[];
  dimensions: readonly string[];
  things: readonly string[];
}

const BASE = "/api/v1/chat";
const part = encodeURIComponent;

async function json<T>(path: string, method = "GET", body?: unknown): Promise<T> {
  const init: RequestInit =
    body === undefined
      ? { method }
      : { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await request(`${BASE}${path}`, init);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

export const chat = {
  about: () => json<About>("/about"),
  conversations: () => json<Conversation[]>("/conversations"),
  conversation: (id: string) => json<ConversationDetail>(`/conversations/${part(id)}`),
  create: () => json<Conversation>("/conversations", "POST", {}),
  rename: (id: string, title: string) =>
    json<Conversation>(`/conversations/${part(id)}`, "PATCH", { title }),
  forget: (id: string) => json<undefined>(`/conversations/${part(id)}`, "DELETE"),
  say: (id: string, text: string) =>
    json<Run>(`/conversations/${part(id)}/messages`, "POST", { text }),
  run: (id: string) => json<Run>(`/runs/${part(id)}`),
  steps: (id: string) => json<Step[]>(`/runs/${part(id)}/steps`),
  stop: (id: string) => json<Run>(`/runs/${part(id)}/stop`, "POST"),
  resume: (id: string) => json<Run>(`/runs/${part(id)}/resume`, "POST"),
};

export type RunEvent = { kind: "step"; step: Step } | { kind: "run"; run: Run };

/** A run's steps after a number as they come, then the run as it stands. Raises as {@link request}. */
export async function* runEvents(
  runId: string,
  after: number,
  signal: AbortSignal,
): AsyncGenerator<RunEvent> {
  const url = `${BASE}/runs/${part(runId)}/events?after=${after}`;
  const response = await request(url, { signal, headers: { Accept: "text/event-stream" } });
  if (response.body === null) return;
  for await (const { event, data } of serverEvents(response.body)) {
    if (event === "step") yield { kind: "step", step: JSON.parse(data) as Step };
    if (event === "run") yield { kind: "run", run: JSON.parse(data) as Run };
  }
}
