import { useQuery } from "@tanstack/react-query";
import { Columns3, FileCode2, Folder, LayoutDashboard, Search, Table2 } from "lucide-react";
import { type KeyboardEvent, type ReactNode, useEffect, useId, useMemo, useState } from "react";
import { useNavigate } from "react-router";
import { api, unwrap } from "@/api/client";
import { useMe } from "@/api/session";
import type { Found } from "@/api/types";
import { Dialog } from "@/components/ui/dialog";
import { Kbd } from "@/components/ui/kbd";
import { cn } from "@/lib/cn";
import { useDebounced } from "@/lib/hooks";
import { tablePath } from "@/lib/paths";
import { navFor } from "./nav";

export interface Command {
  id: string;
  group: string;
  label: string;
  detail?: string;
  icon?: ReactNode;
  run: () => void;
}

const FOUND_ICONS = { namespace: Folder, table: Table2, column: Columns3 } as const;

/** Commands whose words all occur in what was typed, in their own order. */
export function filtered(commands: readonly Command[], text: string): Command[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return commands.filter((command) => {
    const hay = `${command.group} ${command.label} ${command.detail ?? ""}`.toLowerCase();
    return words.every((word) => hay.includes(word));
  });
}

/** Search for tables and columns, and every page and command, without a mouse. */
export function Palette({
  open,
  onOpenChange,
}: {
  open: boolean;
  onOpenChange: (open: boolean) => void;
}) {
  return (
    <Dialog
      open={open}
      onOpenChange={onOpenChange}
      title="Search and commands"
      hideHeader
      className="max-w-xl"
    >
      <Finder onDone={() => onOpenChange(false)} />
    </Dialog>
  );
}

function useCommands(onDone: () => void): Command[] {
  const me = useMe();
  const navigate = useNavigate();
  const saved = useQuery({
    queryKey: ["saved-queries", ""],
    queryFn: () => unwrap(api.GET("/api/v1/saved-queries")),
  }).data;
  const dashboards = useQuery({
    queryKey: ["dashboards"],
    queryFn: () => unwrap(api.GET("/api/v1/dashboards")),
  }).data;
  return useMemo(() => {
    const go = (path: string) => () => {
      navigate(path);
      onDone();
    };
    return [
      ...navFor(me.permissions).map((item) => ({
        id: item.path,
        group: "Pages",
        label: item.label,
        icon: <item.icon aria-hidden />,
        run: go(item.path),
      })),
      {
        id: "new-worksheet",
        group: "Commands",
        label: "New worksheet",
        icon: <FileCode2 aria-hidden />,
        run: go("/worksheet?new=1"),
      },
      {
        id: "new-dashboard",
        group: "Commands",
        label: "New dashboard",
        icon: <LayoutDashboard aria-hidden />,
        run: go("/dashboards/new"),
      },
      ...(saved ?? []).map((query) => ({
        id: `saved-${query.id}`,
        group: "Saved queries",
        label: query.title,
        detail: query.owner,
        icon: <FileCode2 aria-hidden />,
        run: go(`/worksheet/saved/${query.id}`),
      })),
      ...(dashboards ?? []).map((dashboard) => ({
        id: `dashboard-${dashboard.id}`,
        group: "Dashboards",
        label: dashboard.title,
        detail: dashboard.owner,
        icon: <LayoutDashboard aria-hidden />,
        run: go(`/dashboards/${dashboard.id}`),
      })),
    ];
  }, [me, saved, dashboards, navigate, onDone]);
}

function foundCommand(found: Found, go: (path: string) => void): Command {
  const Icon = FOUND_ICONS[found.kind];
  const path = found.table
    ? tablePath(found.catalog, found.namespace, found.table)
    : `/explorer/${encodeURIComponent(found.catalog)}/${encodeURIComponent(found.namespace)}`;
  const where = [found.catalog, found.namespace, found.column ? found.table : null];
  return {
    id: `found-${path}-${found.column ?? ""}`,
    group: "Data",
    label: found.column ?? found.table ?? found.namespace,
    detail: [where.filter(Boolean).join("."), ...found.tags].join("  "),
    icon: <Icon aria-hidden />,
    run: () => go(found.column ? `${path}#${encodeURIComponent(found.column)}` : path),
  };
}

function Finder({ onDone }: { onDone: () => void }) {
  const [text, setText] = useState("");
  const [active, setActive] = useState(0);
  const id = useId();
  const navigate = useNavigate();
  const commands = useCommands(onDone);
  const searched = useDebounced(text.trim(), 150);
  const found = useQuery({
    queryKey: ["search", searched],
    queryFn: () =>
      unwrap(api.GET("/api/v1/search", { params: { query: { text: searched, limit: 20 } } })),
    enabled: searched.length > 1,
    placeholderData: (before) => before,
  });
  const shown = useMemo(() => {
    const go = (path: string) => {
      navigate(path);
      onDone();
    };
    const data = searched.length > 1 ? (found.data ?? []) : [];
    return [...filtered(commands, text), ...data.map((one) => foundCommand(one, go))];
  }, [commands, text, found.data, searched, navigate, onDone]);
  const index = Math.min(active, Math.max(0, shown.length - 1));

  useEffect(() => {
    document.getElementById(`${id}-${index}`)?.scrollIntoView({ block: "nearest" });
  }, [id, index]);

  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      setActive(Math.max(0, Math.min(shown.length - 1, index + step)));
    } else if (event.key === "Enter") {
      event.preventDefault();
      shown[index]?.run();
    }
  };

  return (
    <div>
      <div className="flex items-center gap-2.5 border-b px-4">
        <Search className="size-4 shrink-0 text-muted-foreground" aria-hidden />
        <input
          // biome-ignore lint/a11y/noAutofocus: a dialog that was opened to type into
          autoFocus
          role="combobox"
          aria-expanded
          aria-controls={`${id}-list`}
          aria-activedescendant={shown.length > 0 ? `${id}-${index}` : undefined}
          aria-label="Search for tables, columns, queries and commands"
          placeholder="Tables, columns, queries, commands…"
          value={text}
          onChange={(event) => {
            setText(event.target.value);
            setActive(0);
          }}
          onKeyDown={onKeyDown}
          className="h-12 w-full bg-transparent text-base outline-none placeholder:text-muted-foreground"
        />
        <Kbd keys={["Esc"]} />
      </div>
      <div
        id={`${id}-list`}
        role="listbox"
        aria-label="Found"
        className="max-h-[50vh] overflow-y-auto p-1.5"
      >
        {shown.map((command, position) => {
          const first = position === 0 || shown[position - 1]?.group !== command.group;
          return (
            <div key={command.id}>
              {first && (
                <p
                  aria-hidden
                  className="px-2 pt-2 pb-1 text-2xs font-medium text-muted-foreground"
                >
                  {command.group}
                </p>
              )}
              {/* biome-ignore lint/a11y/useKeyWithClickEvents: keys are handled by the combobox above */}
              <div
                id={`${id}-${position}`}
                role="option"
                tabIndex={-1}
                aria-selected={position === index}
                onClick={command.run}
                onMouseMove={() => setActive(position)}
                className={cn(
                  "flex min-h-9 cursor-pointer items-center gap-2.5 rounded-md px-2 text-sm [&_svg]:size-4 [&_svg]:shrink-0 [&_svg]:text-muted-foreground",
                  position === index && "bg-accent text-accent-foreground",
                )}
              >
                {command.icon}
                <span className="truncate">{command.label}</span>
                {command.detail && (
                  <span className="ml-auto truncate pl-4 text-xs text-muted-foreground">
                    {command.detail}
                  </span>
                )}
              </div>
            </div>
          );
        })}
      </div>
      {shown.length === 0 && (
        <p className="px-4 pb-4 text-sm text-muted-foreground" role="status">
          {found.isFetching ? "Searching…" : `Nothing you may see is called “${text}”.`}
        </p>
      )}
    </div>
  );
}
