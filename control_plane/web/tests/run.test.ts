import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ApiProblem } from "@/api/problem";
import { lines, queryEvents } from "@/api/stream";
import type { Query, QueryEvent } from "@/api/types";
import { PAGE_ROWS, RowPages } from "@/query/rowpages";
import { Run } from "@/query/run";

function stream(...parts: string[]): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(encoder.encode(part));
      controller.close();
    },
  });
}

const COLUMNS = [{ name: "n", type: "bigint", kind: "number" as const }];

function query(parts: Partial<Query> = {}): Query {
  return {
    id: "q1",
    trino_query_id: null,
    state: "running",
    origin: "worksheet",
    statement: "SELECT 1",
    catalog: null,
    namespace: null,
    parameters: [],
    saved_query_id: null,
    columns: null,
    row_count: 0,
    truncated: false,
    available: false,
    update_type: null,
    update_count: null,
    statistics: null,
    warnings: [],
    error: null,
    created_at: "2026-01-15T09:30:00Z",
    ended_at: null,
    ...parts,
  };
}

const json = (body: unknown, status = 200) =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });

function ndjson(...events: QueryEvent[]): Response {
  return new Response(stream(...events.map((event) => `${JSON.stringify(event)}\n`)));
}

beforeEach(() => {
  vi.stubGlobal("document", { visibilityState: "hidden" });
});
afterEach(() => {
  vi.unstubAllGlobals();
});

describe("lines", () => {
  it("puts together what arrives in pieces, also within a character", async () => {
    const bytes = new TextEncoder().encode('{"a":"é"}\n{"b":1}');
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
        controller.close();
      },
    });
    const found: string[] = [];
    for await (const line of lines(body)) found.push(line);
    expect(found).toEqual(['{"a":"é"}', '{"b":1}']);
  });
});

describe("RowPages", () => {
  const rows = (count: number, from = 0) =>
    Array.from({ length: count }, (_, index) => [from + index]);

  it("keeps rows at their places whatever the pieces they come in", () => {
    const pages = new RowPages();
    pages.put(0, rows(700));
    pages.put(700, rows(700, 700));
    expect(pages.at(0)).toEqual([0]);
    expect(pages.at(1399)).toEqual([1399]);
    expect(pages.at(1400)).toBeUndefined();
  });

  it("tells which pages are missing, the last one being short", () => {
    const pages = new RowPages();
    pages.put(0, rows(PAGE_ROWS));
    expect(pages.missing(0, 2500, 2400)).toEqual([1, 2]);
    pages.put(2000, rows(400, 2000));
    expect(pages.missing(0, 2500, 2400)).toEqual([1]);
    pages.put(1000, rows(10, 1000));
    expect(pages.missing(0, 2399, 2400)).toEqual([1]);
  });

  it("forgets what was not looked at for long, but never the first page", () => {
    const pages = new RowPages();
    for (let page = 0; page < 300; page += 1)
      pages.put(page * PAGE_ROWS, rows(PAGE_ROWS, page * PAGE_ROWS));
    expect(pages.at(0)).toEqual([0]);
    expect(pages.at(PAGE_ROWS)).toBeUndefined();
    expect(pages.at(299 * PAGE_ROWS)).toEqual([299 * PAGE_ROWS]);
  });
});

describe("queryEvents", () => {
  it("raises the problem that the API tells", async () => {
    vi.stubGlobal("fetch", async () => json({ title: "there is no query of that id" }, 404));
    const events = queryEvents("q1", { maxRows: 1, signal: new AbortController().signal });
    await expect(events.next()).rejects.toMatchObject({
      facts: { title: "there is no query of that id", status: 404 },
    });
  });

  it("says so when nothing answers", async () => {
    vi.stubGlobal("fetch", async () => {
      throw new TypeError("Failed to fetch");
    });
    const events = queryEvents("q1", { maxRows: 1, signal: new AbortController().signal });
    await expect(events.next()).rejects.toBeInstanceOf(ApiProblem);
  });
});

describe("Run", () => {
  const ended = (run: Run) =>
    vi.waitFor(() => {
      expect(run.over).toBe(true);
    });

  it("is over with the event of its end, not with a state that came before it", () => {
    const run = new Run(null, query({ state: "queued" }), 0);
    run.take({
      type: "state",
      state: "finished",
      trino_query_id: "t",
      row_count: 2,
      statistics: null,
    });
    expect(run.over).toBe(false);
    expect(run.snapshot().rowCount).toBe(2);
    run.take({ type: "end", query: query({ state: "finished", row_count: 2 }) });
    expect(run.over).toBe(true);
    expect(run.snapshot().query?.state).toBe("finished");
  });

  it("follows a query to its end", async () => {
    vi.stubGlobal("fetch", async () =>
      ndjson(
        { type: "state", state: "running", trino_query_id: "t", row_count: 0, statistics: null },
        { type: "columns", columns: COLUMNS },
        { type: "rows", offset: 0, rows: [[1], [2]] },
        {
          type: "end",
          query: query({
            state: "finished",
            columns: COLUMNS,
            row_count: 2,
            available: true,
            ended_at: "2026-01-15T09:30:01Z",
          }),
        },
      ),
    );
    const run = Run.of(query());
    await ended(run);
    expect(run.snapshot()).toMatchObject({
      state: "finished",
      rowCount: 2,
      columns: COLUMNS,
      problem: null,
    });
    expect(run.rows.at(1)).toEqual([2]);
  });

  it("asks what became of a query whose stream broke off", async () => {
    const answers = [
      ndjson({
        type: "state",
        state: "running",
        trino_query_id: "t",
        row_count: 0,
        statistics: null,
      }),
      json(query({ state: "lost" })),
    ];
    vi.stubGlobal("fetch", async () => answers.shift());
    const run = Run.of(query());
    await ended(run);
    expect(run.snapshot().state).toBe("lost");
  });

  it("keeps a problem of following it", async () => {
    vi.stubGlobal("fetch", async () => json({ title: "a service is away" }, 503));
    const run = Run.of(query());
    await ended(run);
    expect(run.snapshot()).toMatchObject({ state: "failed", problem: { facts: { status: 503 } } });
  });

  it("does not go back to running when a late state arrives", async () => {
    const run = Run.of(query({ state: "finished", row_count: 5 }));
    run.take({
      type: "state",
      state: "running",
      trino_query_id: "t",
      row_count: 3,
      statistics: null,
    });
    expect(run.snapshot()).toMatchObject({ state: "finished", rowCount: 5 });
  });

  it("reads the pages that come into view, each once", async () => {
    const asked: string[] = [];
    vi.stubGlobal("fetch", async (request: Request) => {
      asked.push(new URL(request.url).search);
      const offset = Number(new URL(request.url).searchParams.get("offset"));
      return json({
        columns: COLUMNS,
        offset,
        rows: Array.from({ length: 1000 }, (_, i) => [offset + i]),
        row_count: 3000,
        complete: true,
      });
    });
    const run = Run.of(query({ state: "finished", row_count: 3000, available: true }));
    run.need(900, 1100);
    run.need(900, 1100);
    await vi.waitFor(() => expect(run.rows.at(1100)).toEqual([1100]));
    expect(asked).toEqual(["?offset=0&limit=1000", "?offset=1000&limit=1000"]);
  });
});
