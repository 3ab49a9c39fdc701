import { idleHeaders } from "@/lib/idle";
import { asProblem, problemOf } from "./problem";
import type { QueryEvent, RunEvent } from "./types";

/** Splits a byte stream into its lines, empty ones too; a line may arrive in pieces. */
async function* everyLine(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      rest += decoder.decode(value, { stream: !done });
      const parts = rest.split("\n");
      rest = parts.pop() ?? "";
      yield* parts;
      if (done) break;
    }
    if (rest !== "") yield rest;
  } finally {
    reader.releaseLock();
  }
}

/** The lines of a byte stream that have something in them. */
export async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  for await (const line of everyLine(stream)) if (line.trim() !== "") yield line;
}

export interface ServerEvent {
  event: string;
  id: string;
  data: string;
}

/** Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) of a byte stream. */
export async function* serverEvents(
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<ServerEvent> {
  let fields: Record<string, string[]> = {};
  for await (const raw of everyLine(stream)) {
    const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    if (line === "") {
      const { event = ["message"], id = [""], data } = fields;
      fields = {};
      if (data) yield { event: event.at(-1) ?? "", id: id.at(-1) ?? "", data: data.join("\n") };
      continue;
    }
    const [, name = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    // A line that begins with a colon keeps the connection alive.
    if (name === "event" || name === "id" || name === "data") {
      fields[name] = [...(fields[name] ?? []), value];
    }
  }
}

/**
 * What happens to a query until its `end`. It runs only as long as somebody listens, so whoever reads this
 * keeps it running. `maxRows`: no more rows than these come; the others are read by page.
 *
 * Raises {@link ApiProblem}; an AbortError once `signal` is aborted.
 */
export async function* queryEvents(
  queryId: string,
  options: { offset?: number; maxRows: number; signal: AbortSignal },
): AsyncGenerator<QueryEvent> {
  const search = new URLSearchParams({
    offset: String(options.offset ?? 0),
    max_rows: String(options.maxRows),
  });
  const url = `/api/v1/queries/${encodeURIComponent(queryId)}/events?${search}`;
  yield* events<QueryEvent>(url, options.signal);
}

/** What happens to a job's run until its `end`, its log behind the line `after`. Raises as {@link queryEvents}. */
export async function* runEvents(
  runId: string,
  options: { after: number; signal: AbortSignal },
): AsyncGenerator<RunEvent> {
  const url = `/api/v1/job-runs/${encodeURIComponent(runId)}/events?after=${options.after}`;
  yield* events<RunEvent>(url, options.signal);
}

async function* events<T>(url: string, signal: AbortSignal): AsyncGenerator<T> {
  let response: Response;
  try {
    response = await fetch(url, { signal, credentials: "same-origin", headers: idleHeaders() });
  } catch (error) {
    if (signal.aborted) throw error;
    throw asProblem(error);
  }
  if (!response.ok || response.body === null) {
    throw problemOf(response.status, await response.json().catch(() => null));
  }
  for await (const line of lines(response.body)) yield JSON.parse(line) as T;
}
