import { describe, expect, it } from "vitest";
import type { AgentChart, ConversationDetail, Run, Step } from "@/api/chat";
import { type ServerEvent, serverEvents } from "@/api/stream";
import { incomplete } from "@/components/chart/data";
import { columnsOf, specOf } from "@/pages/chat/drawing";
import { added, stepNote, stepProblem, withRun } from "@/pages/chat/steps";

const bytesOf = (...parts: string[]) =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      for (const part of parts) controller.enqueue(new TextEncoder().encode(part));
      controller.close();
    },
  });

async function heard(...parts: string[]): Promise<ServerEvent[]> {
  const found: ServerEvent[] = [];
  for await (const event of serverEvents(bytesOf(...parts))) found.push(event);
  return found;
}

describe("server-sent events", () => {
  it("are put together from pieces, without comments", async () => {
    expect(
      await heard(
        ": ping\n\nevent: st",
        "ep\nid: 3\r\nda",
        'ta: {"a":1}\n',
        "\nevent: run\ndata:x\n\n",
      ),
    ).toEqual([
      { event: "step", id: "3", data: '{"a":1}' },
      { event: "run", id: "", data: "x" },
    ]);
  });

  it("have data of several lines, and none when they were cut", async () => {
    expect(await heard("data: a\ndata: b\n\nevent: run\ndata: {")).toEqual([
      { event: "message", id: "", data: "a\nb" },
    ]);
  });
});

const step = (node: string, detail: Record<string, unknown>, seq = 1): Step => ({
  run: "r",
  seq,
  at: "2026-01-15T09:30:00Z",
  node,
  detail,
  query_id: null,
});

describe("steps", () => {
  it.each([
    ["find_tables", { visible: ["retail.orders", 3] }, "retail.orders"],
    ["check", { tables: ["a.b"], scanned_bytes: 1 << 20 }, "a.b · reads about 1.0 MiB"],
    ["run", { rows: 1, truncated: false }, "1 row"],
    ["run", { rows: 200, truncated: true }, "200 rows or more"],
    ["look", { column: "region", values: 5 }, "region: 5 values"],
    ["verify", { notes: [] }, "nothing odd"],
    ["plan", {}, ""],
    ["of tomorrow", { any: 1 }, ""],
  ])("%s is said", (node, detail, expected) => {
    expect(stepNote(step(node, detail))).toBe(expected);
  });

  it("say why they did not go as they should", () => {
    expect(stepProblem(step("check", { refused: "2 statements" }))).toBe("2 statements");
    expect(stepProblem(step("run", { rows: 1 }))).toBe("");
  });

  it("are in order and once", () => {
    const later = step("plan", {}, 2);
    const steps = added(added([], later), step("question", {}, 1));
    expect(steps.map((one) => one.seq)).toEqual([1, 2]);
    expect(added(steps, { ...later, node: "x" })).toBe(steps);
  });

  it("leave a conversation with its runs", () => {
    const run = { id: "1", state: "running" } as Run;
    const detail = { conversation: {}, runs: [run] } as unknown as ConversationDetail;
    expect(withRun(detail, { ...run, state: "answered" })?.runs).toMatchObject([
      { id: "1", state: "answered" },
    ]);
    expect(withRun(detail, { ...run, id: "2" })?.runs).toHaveLength(2);
    expect(withRun(undefined, run)).toBeUndefined();
  });
});

const chart = (parts: Partial<AgentChart>): AgentChart => ({
  kind: "bar",
  title: "t",
  x: "region",
  y: ["revenue"],
  series: null,
  formats: {},
  ...parts,
});

describe("an answer's chart", () => {
  it("is one that the console draws", () => {
    for (const kind of ["bar", "line", "scatter"] as const) {
      expect(incomplete(specOf(chart({ kind })))).toBeUndefined();
    }
    expect(specOf(chart({ kind: "big_number", x: null }))).toMatchObject({ kind: "number" });
    expect(specOf(chart({ kind: "table", x: null, y: [] }))).toMatchObject({ kind: "table" });
  });

  it("shows units as people read them", () => {
    expect(specOf(chart({ formats: { revenue: "money" } }))).toMatchObject({
      number_format: ",.2f",
    });
    expect(specOf(chart({ formats: { revenue: "ratio" } }))).toMatchObject({
      number_format: ".1%",
    });
    expect(specOf(chart({ formats: { revenue: "days" } }))).toMatchObject({
      y_label: "revenue (days)",
    });
    expect(specOf(chart({ formats: { revenue: "of tomorrow" } }))).toMatchObject({
      number_format: "",
    });
  });

  it("has columns of Trino's types", () => {
    expect(
      columnsOf(["a", "b", "c"], ["decimal(38,2)", "timestamp(6) with time zone", "hll"]),
    ).toEqual([
      { name: "a", type: "decimal(38,2)", kind: "number" },
      { name: "b", type: "timestamp(6) with time zone", kind: "timestamp" },
      { name: "c", type: "hll", kind: "other" },
    ]);
  });
});
