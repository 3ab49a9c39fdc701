import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { asProblem, problemOf } from "@/api/problem";
import type { Column, Query, Row } from "@/api/types";
import { isOver } from "@/components/state";
import { Run } from "./run";

export interface RowsOf {
  query: Query;
  columns: readonly Column[];
  rows: readonly Row[];
  rowCount: number;
}

/** Waits until a run is over; cancels it when nobody waits any more. */
function ended(run: Run, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = () => {
      const { state, problem } = run.snapshot();
      if (problem !== null) finish(() => reject(problem));
      else if (state !== "starting" && isOver(state)) finish(resolve);
    };
    const cancel = () => {
      void run.cancel().catch(() => undefined);
      finish(() => reject(new DOMException("nobody waits any more", "AbortError")));
    };
    const unsubscribe = run.subscribe(look);
    const finish = (then: () => void) => {
      unsubscribe();
      signal.removeEventListener("abort", cancel);
      then();
    };
    signal.addEventListener("abort", cancel);
    look();
  });
}

/** The rows of a query that `start` starts, up to `limit`; raises its error as a problem. */
export async function rowsOf(
  start: () => Promise<Query>,
  limit: number,
  signal: AbortSignal,
): Promise<RowsOf> {
  const run = Run.of(await start());
  await ended(run, signal);
  const { query, columns, rowCount } = run.snapshot();
  if (query === null) throw asProblem(new Error("the query was lost"));
  if (query.error) {
    throw problemOf(query.error.denied ? 403 : 422, {
      title: query.error.message,
      error_name: query.error.name,
      line: query.error.line,
      column: query.error.column,
    });
  }
  if (query.state !== "finished" && !query.truncated)
    throw asProblem(new Error(`the query is ${query.state}`));
  return { query, columns: columns ?? [], rows: await run.firstRows(limit), rowCount };
}

/** The rows behind a chart. They stay in memory for as long as the page shows them. */
export function useRows(key: readonly unknown[], start: () => Promise<Query>, limit: number) {
  const latest = useRef(start);
  latest.current = start;
  const client = useQueryClient();
  const name = JSON.stringify(key);
  // biome-ignore lint/correctness/useExhaustiveDependencies: named by its text
  useEffect(() => () => void client.cancelQueries({ queryKey: ["rows", ...key] }), [name]);
  return useQuery({
    queryKey: ["rows", ...key],
    queryFn: ({ signal }) => rowsOf(() => latest.current(), limit, signal),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
    retry: false,
  });
}
