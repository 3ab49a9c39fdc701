import { queryOptions, useQuery, useQueryClient } from "@tanstack/react-query";
import {
  lazy,
  Suspense,
  useCallback,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { useSearchParams } from "react-router";
import { api, unwrap } from "@/api/client";
import { asProblem } from "@/api/problem";
import { useInfo, useMe } from "@/api/session";
import { isOver } from "@/components/state";
import { Dialog } from "@/components/ui/dialog";
import { Skeleton } from "@/components/ui/feedback";
import { complain } from "@/components/ui/toast";
import { useDebounced, useTitle, useWide } from "@/lib/hooks";
import { useHotkeys } from "@/lib/hotkeys";
import { isBoolean, isNumber, load, save } from "@/lib/storage";
import { toParameters, valueError, valuesFor } from "@/query/parametervalues";
import { Run, type RunSnapshot } from "@/query/run";
import type { EditorHandle, Mark } from "./editor";
import { useOpening } from "./opening";
import { Parameters } from "./parameters";
import { type PlanRequest, PlanSheet } from "./plan";
import { Results } from "./results";
import { SaveDialog } from "./savedialog";
import { type Sheet, sheetStore, useSheets } from "./sheets";
import { Side, type SidePanel } from "./side";
import { Splitter } from "./splitter";
import { infoAt, type Piece, pieceAt, positionOf, split } from "./statements";
import { SheetTabs } from "./tabstrip";
import { Toolbar } from "./toolbar";

const Editor = lazy(() => import("./editor"));
const IDLE: RunSnapshot | null = null;
const none = () => () => undefined;

/** How a text is read: its statements, their parameters, and where it can't be. */
const checkOf = (text: string) =>
  queryOptions({
    queryKey: ["sql-check", text],
    queryFn: () => unwrap(api.POST("/api/v1/sql/check", { body: { statement: text } })),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
  });

/** What runs in a worksheet, anew whenever something of it changes. */
function useRun(run: Run | undefined): RunSnapshot | null {
  return useSyncExternalStore(run?.subscribe ?? none, () => run?.snapshot() ?? IDLE);
}

export default function WorksheetPage() {
  useTitle("Worksheet");
  const store = sheetStore(useMe().username);
  const { sheets, activeId } = useSheets(store);
  const sheet = sheets.find((one) => one.id === activeId) ?? sheets[0];
  const opening = useOpening(store);
  if (sheet === undefined) return null;
  return <Worksheet key="worksheet" sheet={sheet} opening={opening} />;
}

function Worksheet({ sheet, opening }: { sheet: Sheet; opening: ReturnType<typeof useOpening> }) {
  const store = sheetStore(useMe().username);
  const { sheets } = useSheets(store);
  const info = useInfo();
  const catalog = sheet.catalog ?? info?.default_catalog ?? null;
  const editor = useRef<EditorHandle>(null);
  const run = store.run(sheet.id);
  const snapshot = useRun(run);
  const wide = useWide();
  const [search, setSearch] = useSearchParams();
  const [sideOpen, setSideOpen] = useState(() => load("worksheetSide", true, isBoolean));
  const [editorPx, setEditorPx] = useState(() => load("editorPx", 260, isNumber));
  const [saving, setSaving] = useState(false);
  const [plan, setPlan] = useState<PlanRequest | null>(null);

  const settled = useDebounced(sheet.text, 350);
  const client = useQueryClient();
  const check = useQuery({
    ...checkOf(settled),
    enabled: settled.trim() !== "",
    placeholderData: (before) => before,
  }).data;
  const completion = useQuery({
    queryKey: ["completion", catalog],
    queryFn: () =>
      unwrap(api.GET("/api/v1/sql/completion", { params: { query: { catalog: catalog ?? "" } } })),
    enabled: catalog !== null,
    staleTime: 120_000,
  }).data;

  const names = useMemo(
    () => [...new Set((check?.statements ?? []).flatMap((one) => one.parameters))],
    [check],
  );
  const values = useMemo(() => valuesFor(names, sheet.parameters), [names, sheet.parameters]);
  const marks = useMemo(
    () => marksOf(sheet.text, settled, check?.problems ?? [], snapshot),
    [sheet.text, settled, check, snapshot],
  );

  const target = useCallback((): Piece | undefined => {
    const { from, to } = editor.current?.selection() ?? { from: 0, to: 0 };
    const chosen = sheet.text.slice(from, to);
    if (chosen.trim() !== "") {
      return { text: chosen.trim(), offset: from + (chosen.length - chosen.trimStart().length) };
    }
    return pieceAt(split(sheet.text), from);
  }, [sheet.text]);

  /** What is to be run, with the parameters that it names now: what was typed last may not be checked yet. */
  const request = async () => {
    const piece = target();
    if (piece === undefined) return undefined;
    const now = await client.fetchQuery(checkOf(sheet.text)).catch(() => undefined);
    const wanted = infoAt(now?.statements ?? [], piece.offset)?.parameters ?? [];
    const own = valuesFor(
      wanted.filter((name) => piece.text.includes(`:${name}`)),
      sheet.parameters,
    );
    const wrong = Object.entries(own).find(([, value]) => valueError(value) !== undefined);
    if (wrong !== undefined) {
      complain(`:${wrong[0]} must be ${valueError(wrong[1])}`);
      return undefined;
    }
    return {
      statement: piece.text,
      catalog,
      namespace: sheet.namespace,
      parameters: toParameters(own),
      savedQueryId: sheet.saved?.id ?? null,
      maxRows: sheet.maxRows,
      offset: piece.offset,
    };
  };

  const busy = snapshot !== null && (snapshot.state === "starting" || !isOver(snapshot.state));
  const starting = useRef(false);
  const start = async () => {
    if (busy || starting.current) return;
    starting.current = true;
    try {
      const wanted = await request();
      if (wanted === undefined) return;
      const next = Run.start(wanted);
      store.setRun(sheet.id, next);
      const stop = next.subscribe(() => {
        const id = next.snapshot().query?.id;
        if (id === undefined) return;
        stop();
        store.update(sheet.id, { queryId: id });
      });
    } finally {
      starting.current = false;
    }
  };
  const cancel = () => {
    run?.cancel().catch((error: unknown) => complain("Canceling failed", asProblem(error).message));
  };
  const explain = async () => {
    const wanted = await request();
    if (wanted !== undefined) setPlan(wanted);
  };
  const format = () => {
    unwrap(api.POST("/api/v1/sql/format", { body: { statement: sheet.text } }))
      .then((answer) => store.update(sheet.id, { text: answer.statement }))
      .catch((error: unknown) => complain("This can't be formatted", asProblem(error).message));
  };
  const commands = { run: () => void start(), format, save: () => setSaving(true), cancel };
  useHotkeys({ "Mod+Enter": () => void start(), "Mod+s": () => setSaving(true) });

  const panel = (search.get("panel") as SidePanel | null) ?? "tables";
  const showPanel = (next: SidePanel) =>
    setSearch((before) => {
      before.set("panel", next);
      return before;
    });
  const toggleSide = () => {
    save("worksheetSide", !sideOpen);
    setSideOpen(!sideOpen);
  };
  const side = (
    <Side
      panel={panel}
      onPanel={showPanel}
      catalog={catalog}
      completion={completion}
      onInsert={(text) => editor.current?.insert(text)}
      onDone={() => !wide && setSideOpen(false)}
    />
  );

  return (
    <div className="flex h-full min-h-0">
      <h1 className="sr-only">Worksheet</h1>
      {wide && sideOpen && (
        <aside
          aria-label="Tables, saved queries and history"
          className="w-64 shrink-0 border-r xl:w-72"
        >
          {side}
        </aside>
      )}
      {!wide && (
        <Dialog
          open={sideOpen && search.has("panel")}
          onOpenChange={() => setSearch({})}
          title="Worksheet"
          shape="left"
          className="w-80"
        >
          <div className="-mx-4 h-[80vh]">{side}</div>
        </Dialog>
      )}
      <div className="flex min-w-0 flex-1 flex-col">
        <SheetTabs store={store} sheets={sheets} activeId={sheet.id} />
        <Toolbar
          sheet={sheet}
          busy={busy}
          sideOpen={wide && sideOpen}
          onSide={
            wide
              ? toggleSide
              : () => {
                  setSideOpen(true);
                  showPanel(panel);
                }
          }
          completion={completion}
          onRun={() => void start()}
          onCancel={cancel}
          onFormat={format}
          onExplain={() => void explain()}
          onSave={() => setSaving(true)}
          onChange={(parts) => store.update(sheet.id, parts)}
        />
        {opening}
        <div style={{ height: editorPx }} className="min-h-20 shrink-0 border-t bg-card">
          <Suspense fallback={<EditorSkeleton />}>
            <Editor
              ref={editor}
              documentKey={sheet.id}
              text={sheet.text}
              onChange={(text) => store.update(sheet.id, { text })}
              commands={commands}
              completion={completion}
              namespace={sheet.namespace}
              marks={marks}
            />
          </Suspense>
        </div>
        {names.length > 0 && (
          <Parameters
            values={values}
            onChange={(name, value) =>
              store.update(sheet.id, { parameters: { ...sheet.parameters, [name]: value } })
            }
          />
        )}
        <Splitter
          label="Height of the editor"
          value={editorPx}
          onChange={(px) => {
            setEditorPx(px);
            save("editorPx", px);
          }}
        />
        <Results
          run={run}
          snapshot={snapshot}
          sheet={sheet}
          onShowError={(position) => editor.current?.select(position)}
        />
      </div>
      <SaveDialog
        open={saving}
        onOpenChange={setSaving}
        sheet={sheet}
        values={values}
        onSaved={(saved) =>
          store.update(sheet.id, {
            title: saved.title,
            saved: { id: saved.id, version: saved.version, text: saved.statement },
          })
        }
      />
      <PlanSheet request={plan} onClose={() => setPlan(null)} />
    </div>
  );
}

/** Where the text can't be read, and where Trino found an error in the statement that ran last. */
function marksOf(
  text: string,
  checked: string,
  problems: readonly { message: string; line: number; column: number }[],
  snapshot: RunSnapshot | null,
): Mark[] {
  if (text === checked && problems.length > 0) {
    return problems.map((one) => ({
      position: positionOf(text, one.line, one.column),
      message: one.message,
    }));
  }
  const error = snapshot?.query?.error;
  const request = snapshot?.request;
  if (!error?.line || !request) return [];
  // Only while the statement still stands where it stood when it ran.
  if (!text.startsWith(request.statement, request.offset)) return [];
  const within = positionOf(request.statement, error.line, error.column ?? 1);
  return [{ position: request.offset + within, message: error.message }];
}

function EditorSkeleton() {
  return (
    <div role="status" aria-label="Loading the editor" className="flex flex-col gap-2.5 p-4">
      <Skeleton className="w-2/5" />
      <Skeleton className="w-1/3" />
      <Skeleton className="w-1/2" />
    </div>
  );
}
