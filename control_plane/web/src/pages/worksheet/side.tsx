import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ChevronRight, Columns3, Ellipsis, FileCode2, History, Table2 } from "lucide-react";
import { useMemo, useState } from "react";
import { Link, useNavigate } from "react-router";
import { api, etagOf, unwrap } from "@/api/client";
import { asProblem } from "@/api/problem";
import { useMe } from "@/api/session";
import type { Completion, SavedQuery } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { RemoveButton } from "@/components/removebutton";
import { StateBadge } from "@/components/state";
import { Button } from "@/components/ui/button";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { Input } from "@/components/ui/input";
import { Menu, MenuItem } from "@/components/ui/menu";
import { Tabs } from "@/components/ui/tabs";
import { complain, notify } from "@/components/ui/toast";
import { ago, clip } from "@/lib/format";
import { useDebounced, useNow } from "@/lib/hooks";
import { tablePath } from "@/lib/paths";
import { quoted } from "./statements";

export type SidePanel = "tables" | "saved" | "history";

/** What can be brought into a worksheet: names of tables and columns, saved queries, queries of the past. */
export function Side({
  panel,
  onPanel,
  catalog,
  completion,
  onInsert,
  onDone,
}: {
  panel: SidePanel;
  onPanel: (panel: SidePanel) => void;
  catalog: string | null;
  completion: Completion | undefined;
  onInsert: (text: string) => void;
  onDone: () => void;
}) {
  return (
    <Tabs
      label="Bring in"
      value={panel}
      onChange={onPanel}
      className="h-full bg-sidebar"
      panelClassName="overflow-y-auto"
      tabs={[
        { value: "tables", label: "Tables" },
        { value: "saved", label: "Saved" },
        { value: "history", label: "History" },
      ]}
    >
      {panel === "tables" && (
        <Tables
          catalog={catalog ?? ""}
          completion={completion}
          onInsert={(text) => {
            onInsert(text);
            onDone();
          }}
        />
      )}
      {panel === "saved" && <Saved onDone={onDone} />}
      {panel === "history" && <Past onDone={onDone} />}
    </Tabs>
  );
}

function Filter({
  value,
  onChange,
  label,
}: {
  value: string;
  onChange: (text: string) => void;
  label: string;
}) {
  return (
    <div className="sticky top-0 z-10 bg-sidebar p-2">
      <Input
        type="search"
        aria-label={label}
        placeholder={label}
        value={value}
        onChange={(event) => onChange(event.target.value)}
      />
    </div>
  );
}

function Tables({
  catalog,
  completion,
  onInsert,
}: {
  catalog: string;
  completion: Completion | undefined;
  onInsert: (text: string) => void;
}) {
  const [text, setText] = useState("");
  const shown = useMemo(() => {
    const wanted = text.trim().toLowerCase();
    return (completion?.namespaces ?? [])
      .map((one) => ({
        ...one,
        tables: one.tables.filter(
          (table) =>
            `${one.name}.${table.name}`.toLowerCase().includes(wanted) ||
            Object.keys(table.columns).some((column) => column.toLowerCase().includes(wanted)),
        ),
      }))
      .filter((one) => one.tables.length > 0);
  }, [completion, text]);
  if (completion === undefined) return <SkeletonRows rows={8} />;
  return (
    <>
      <Filter value={text} onChange={setText} label="Filter tables and columns" />
      {shown.length === 0 && (
        <Empty icon={Table2} title="No table of that name that you may read" />
      )}
      <ul className="px-1 pb-3">
        {shown.map((namespace) => (
          <li key={namespace.name}>
            <p className="px-2 pt-2 pb-0.5 text-2xs font-medium text-muted-foreground">
              {namespace.name}
            </p>
            <ul>
              {namespace.tables.map((table) => (
                <TableEntry
                  key={table.name}
                  catalog={catalog}
                  namespace={namespace.name}
                  name={table.name}
                  columns={table.columns}
                  onInsert={onInsert}
                />
              ))}
            </ul>
          </li>
        ))}
      </ul>
    </>
  );
}

function TableEntry({
  catalog,
  namespace,
  name,
  columns,
  onInsert,
}: {
  catalog: string;
  namespace: string;
  name: string;
  columns: Readonly<Record<string, string>>;
  onInsert: (text: string) => void;
}) {
  const full = `${quoted(namespace)}.${quoted(name)}`;
  const navigate = useNavigate();
  const select = `SELECT ${Object.keys(columns).map(quoted).join(", ") || "*"}\nFROM ${full}\nLIMIT 100`;
  return (
    <li className="relative">
      <details className="group/table">
        <summary className="flex min-h-7 items-center gap-1 rounded-sm pr-8 pl-1 text-sm hover:bg-accent [&::-webkit-details-marker]:hidden">
          <ChevronRight
            className="size-3.5 shrink-0 text-muted-foreground transition-transform group-open/table:rotate-90"
            aria-hidden
          />
          <span className="min-w-0 flex-1 truncate">{name}</span>
        </summary>
        <ul className="pb-1 pl-5">
          {Object.entries(columns).map(([column, type]) => (
            <li key={column}>
              <button
                type="button"
                title={`Insert ${column}`}
                onClick={() => onInsert(quoted(column))}
                className="flex min-h-6 w-full items-center gap-2 rounded-sm px-1.5 text-left text-xs hover:bg-accent"
              >
                <Columns3 className="size-3 shrink-0 text-muted-foreground" aria-hidden />
                <span className="truncate font-mono">{column}</span>
                <span className="ml-auto truncate pl-2 text-2xs text-muted-foreground">{type}</span>
              </button>
            </li>
          ))}
        </ul>
      </details>
      <Menu
        align="end"
        trigger={
          <Button
            variant="ghost"
            size="icon-sm"
            className="absolute top-0.5 right-1 size-6"
            aria-label={`${namespace}.${name}: more`}
          >
            <Ellipsis aria-hidden />
          </Button>
        }
      >
        <MenuItem onClick={() => onInsert(full)}>Insert the name</MenuItem>
        <MenuItem onClick={() => onInsert(select)}>Insert a SELECT</MenuItem>
        <MenuItem onClick={() => navigate(tablePath(catalog, namespace, name))}>
          Show in the explorer
        </MenuItem>
      </Menu>
    </li>
  );
}

const ENTRY = "flex flex-col gap-0.5 rounded-md px-2 py-1.5 hover:bg-accent";

function Saved({ onDone }: { onDone: () => void }) {
  const [text, setText] = useState("");
  const searched = useDebounced(text.trim(), 200);
  const saved = useQuery({
    queryKey: ["saved-queries", searched],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/saved-queries", { params: { query: { text: searched || undefined } } }),
      ),
    placeholderData: (before) => before,
  });
  return (
    <>
      <Filter value={text} onChange={setText} label="Filter saved queries" />
      {saved.error ? (
        <ProblemNote error={saved.error} again className="m-2" />
      ) : saved.isPending ? (
        <SkeletonRows rows={5} />
      ) : saved.data.length === 0 ? (
        <Empty icon={FileCode2} title="No saved query">
          {searched ? "None whose title or text has this." : "Save one, and it stands here."}
        </Empty>
      ) : (
        <ul className="px-1 pb-3">
          {saved.data.map((query) => (
            <SavedEntry key={query.id} query={query} onDone={onDone} />
          ))}
        </ul>
      )}
    </>
  );
}

function SavedEntry({ query, onDone }: { query: SavedQuery; onDone: () => void }) {
  const me = useMe();
  const client = useQueryClient();
  const remove = useMutation({
    mutationFn: () =>
      unwrap(
        api.DELETE("/api/v1/saved-queries/{saved_query_id}", {
          params: {
            path: { saved_query_id: query.id },
            header: { "if-match": etagOf(query.version) },
          },
        }),
      ),
    onSuccess: () => {
      notify(`Removed “${query.title}”`);
      void client.invalidateQueries({ queryKey: ["saved-queries"] });
    },
    onError: (error) => complain("It could not be removed", asProblem(error).message),
  });
  return (
    <li className="flex items-start">
      <Link
        to={`/worksheet/saved/${query.id}`}
        onClick={onDone}
        className={`${ENTRY} min-w-0 flex-1`}
      >
        <span className="truncate text-sm">{query.title}</span>
        <span className="truncate text-2xs text-muted-foreground">
          {query.owner === me.username ? "yours" : `by ${query.owner}`}
          {query.shares.length > 0 &&
            `, shared with ${query.shares.map((one) => one.group).join(", ")}`}
        </span>
      </Link>
      {query.owner === me.username && (
        <RemoveButton
          noun="saved query"
          name={query.title}
          note={
            query.shares.length > 0
              ? "Those whom it is shared with have it no more."
              : "Worksheets that were opened from it keep their text."
          }
          variant="ghost"
          size="icon-sm"
          className="mt-1"
          aria-label={`Remove ${query.title}`}
          busy={remove.isPending}
          onRemove={() => remove.mutate()}
        />
      )}
    </li>
  );
}

function Past({ onDone }: { onDone: () => void }) {
  const [text, setText] = useState("");
  const now = useNow(30_000);
  const searched = useDebounced(text.trim(), 200);
  const past = useInfiniteQuery({
    queryKey: ["history", { text: searched }],
    queryFn: ({ pageParam }) =>
      unwrap(
        api.GET("/api/v1/queries", {
          params: { query: { text: searched || undefined, limit: 50, cursor: pageParam } },
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next ?? undefined,
    staleTime: 2000,
  });
  const queries = past.data?.pages.flatMap((page) => page.queries) ?? [];
  return (
    <>
      <Filter value={text} onChange={setText} label="Filter history" />
      {past.error ? (
        <ProblemNote error={past.error} again className="m-2" />
      ) : past.isPending ? (
        <SkeletonRows rows={6} />
      ) : queries.length === 0 ? (
        <Empty icon={History} title="Nothing of that kind has run" />
      ) : (
        <ul className="px-1 pb-3">
          {queries.map((query) => (
            <li key={query.id}>
              <Link to={`/worksheet/query/${query.id}`} onClick={onDone} className={ENTRY}>
                <span className="line-clamp-2 font-mono text-xs break-words">
                  {clip(query.statement.replace(/\s+/g, " "), 140)}
                </span>
                <span className="flex items-center gap-2 text-2xs text-muted-foreground">
                  <StateBadge state={query.state} />
                  {ago(query.created_at, now)}
                </span>
              </Link>
            </li>
          ))}
        </ul>
      )}
      {past.hasNextPage && (
        <div className="p-2">
          <Button
            className="w-full"
            onClick={() => void past.fetchNextPage()}
            busy={past.isFetchingNextPage}
          >
            Older ones
          </Button>
        </div>
      )}
    </>
  );
}
