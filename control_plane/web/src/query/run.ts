import { api, unwrap } from "@/api/client";
import { type ApiProblem, asProblem } from "@/api/problem";
import { queryEvents } from "@/api/stream";
import type {
  Column,
  Parameter,
  Query,
  QueryEvent,
  QueryState,
  Row,
  Statistics,
} from "@/api/types";
import { isOver } from "@/components/state";
import { PAGE_ROWS, RowPages } from "./rowpages";

/** Rows that are sent as they arrive; those after them come by page, as they are looked at. */
const STREAMED_ROWS = 2 * PAGE_ROWS;

export interface StartRequest {
  statement: string;
  catalog: string | null;
  namespace: string | null;
  parameters: Parameter[];
  savedQueryId: string | null;
  maxRows: number | null;
  /** Where the statement begins in its worksheet, so that errors are shown at their place. */
  offset: number;
}

/** What is known of a run. A new object for every change, so that React sees it. */
export interface RunSnapshot {
  state: QueryState | "starting";
  request: StartRequest | null;
  query: Query | null;
  columns: readonly Column[] | null;
  rowCount: number;
  statistics: Statistics | null;
  /** Why it could not be started or followed; errors of the statement itself are in `query.error`. */
  problem: ApiProblem | null;
  startedAt: number;
  endedAt: number | null;
}

export type Listener = () => void;

/** One statement under way. It lives apart from the page, so that a look at another page does not end it. */
export class Run {
  readonly rows = new RowPages();
  private readonly abort = new AbortController();
  private readonly listeners = new Set<Listener>();
  private readonly asked = new Set<number>();
  private scheduled = false;
  private current: RunSnapshot;

  constructor(request: StartRequest | null, query: Query | null, now: number) {
    this.current = {
      state: query?.state ?? "starting",
      request,
      query,
      columns: query?.columns ?? null,
      rowCount: query?.row_count ?? 0,
      statistics: query?.statistics ?? null,
      problem: null,
      startedAt: query ? Date.parse(query.created_at) : now,
      endedAt: query?.ended_at ? Date.parse(query.ended_at) : null,
    };
  }

  /** Starts a statement and follows it. */
  static start(request: StartRequest): Run {
    const run = new Run(request, null, Date.now());
    void run.begin(request);
    return run;
  }

  /** Shows a query of the past; one that still runs is followed. */
  static of(query: Query): Run {
    const run = new Run(null, query, Date.now());
    if (!isOver(query.state)) void run.follow(query.id);
    return run;
  }

  readonly subscribe = (listener: Listener): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): RunSnapshot => this.current;

  get over(): boolean {
    return this.current.state !== "starting" && isOver(this.current.state);
  }

  /** Cancels it, in Trino too. */
  async cancel(): Promise<void> {
    const id = this.current.query?.id;
    if (this.over || id === undefined) {
      this.abort.abort();
      return;
    }
    const query = await unwrap(
      api.DELETE("/api/v1/queries/{query_id}", { params: { path: { query_id: id } } }),
    );
    if (isOver(query.state)) this.end(query);
  }

  /** Gets the rows that come into view and are not here yet. */
  readonly need = (first: number, last: number): void => {
    const id = this.current.query?.id;
    if (id === undefined || this.current.rowCount === 0) return;
    // While it runs the first rows arrive by themselves.
    const from = this.over ? first : Math.max(first, STREAMED_ROWS);
    if (from > last) return;
    for (const page of this.rows.missing(from, last, this.current.rowCount)) {
      if (!this.asked.has(page)) void this.fetchPage(id, page);
    }
  };

  private async fetchPage(id: string, page: number): Promise<void> {
    this.asked.add(page);
    try {
      const answer = await unwrap(
        api.GET("/api/v1/queries/{query_id}/rows", {
          params: { path: { query_id: id }, query: { offset: page * PAGE_ROWS, limit: PAGE_ROWS } },
        }),
      );
      this.rows.put(answer.offset, answer.rows);
      this.change({ columns: this.current.columns ?? answer.columns });
    } catch (error) {
      this.change({ problem: asProblem(error) });
    } finally {
      this.asked.delete(page);
    }
  }

  /** The first `limit` rows, for charts; fewer while there are not as many. */
  async firstRows(limit: number): Promise<Row[]> {
    const id = this.current.query?.id;
    const total = Math.min(limit, this.current.rowCount);
    if (id !== undefined) {
      const pages = this.rows.missing(0, total - 1, this.current.rowCount);
      await Promise.all(pages.map((page) => this.fetchPage(id, page)));
    }
    const found: Row[] = [];
    for (let index = 0; index < total; index += 1) {
      const row = this.rows.at(index);
      if (row !== undefined) found.push(row);
    }
    return found;
  }

  private async begin(request: StartRequest): Promise<void> {
    try {
      const query = await unwrap(
        api.POST("/api/v1/queries", {
          body: {
            statement: request.statement,
            catalog: request.catalog,
            namespace: request.namespace,
            parameters: request.parameters,
            saved_query_id: request.savedQueryId,
            max_rows: request.maxRows,
          },
        }),
      );
      this.change({ query, state: query.state, columns: query.columns });
      await this.follow(query.id);
    } catch (error) {
      this.fail(error);
    }
  }

  private async follow(id: string): Promise<void> {
    try {
      const options = { maxRows: STREAMED_ROWS, signal: this.abort.signal };
      for await (const event of queryEvents(id, options)) this.take(event);
      if (!this.over) {
        // The stream broke off without its end: ask what became of it.
        this.end(
          await unwrap(
            api.GET("/api/v1/queries/{query_id}", { params: { path: { query_id: id } } }),
          ),
        );
      }
    } catch (error) {
      this.fail(error);
    }
  }

  /** One event of the stream. */
  take(event: QueryEvent): void {
    switch (event.type) {
      case "state":
        this.change({
          // Over it is with the event of its end, which tells what became of it.
          state: this.over || isOver(event.state) ? this.current.state : event.state,
          rowCount: Math.max(this.current.rowCount, event.row_count),
          statistics: event.statistics ?? this.current.statistics,
        });
        break;
      case "columns":
        this.change({ columns: event.columns });
        break;
      case "rows":
        this.rows.put(event.offset, event.rows);
        this.change({
          rowCount: Math.max(this.current.rowCount, event.offset + event.rows.length),
        });
        break;
      case "end":
        this.end(event.query);
        break;
    }
  }

  private end(query: Query): void {
    this.change({
      query,
      state: query.state,
      columns: query.columns ?? this.current.columns,
      rowCount: query.row_count,
      statistics: query.statistics ?? this.current.statistics,
      endedAt: query.ended_at ? Date.parse(query.ended_at) : Date.now(),
    });
  }

  private fail(error: unknown): void {
    if (error instanceof DOMException && error.name === "AbortError") {
      this.change({ state: "canceled", endedAt: Date.now() });
      return;
    }
    this.change({ state: "failed", problem: asProblem(error), endedAt: Date.now() });
  }

  private change(parts: Partial<RunSnapshot>): void {
    this.current = { ...this.current, ...parts };
    if (this.scheduled) return;
    this.scheduled = true;
    // Events may come by the hundred a second; what is drawn changes once a frame.
    schedule(() => {
      this.scheduled = false;
      for (const listener of this.listeners) listener();
    });
  }
}

function schedule(work: () => void): void {
  if (typeof requestAnimationFrame === "function" && document.visibilityState === "visible") {
    requestAnimationFrame(work);
  } else {
    setTimeout(work, 16);
  }
}
