import {
  createSortedRowModel,
  rowSortingFeature,
  sortFn_alphanumeric,
  sortFn_basic,
  tableFeatures,
  useTable,
} from "@tanstack/react-table";
import { ArrowDown, ArrowUp, ChevronsUpDown } from "lucide-react";
import { type ReactNode, useMemo, useState } from "react";
import { Empty } from "@/components/ui/feedback";
import { Input } from "@/components/ui/input";
import { cn } from "@/lib/cn";
import { plural } from "@/lib/format";

const features = tableFeatures({
  rowSortingFeature,
  sortedRowModel: createSortedRowModel(),
  sortFns: { alphanumeric: sortFn_alphanumeric, basic: sortFn_basic },
});

/** What can be done with a row stays in view on a narrow screen, where the others are scrolled. */
const ACTIONS = "actions";
const STAYS = "max-lg:sticky max-lg:right-0 max-lg:shadow-[-8px_0_8px_-8px_rgb(0_0_0/0.3)]";

export interface DataColumn<T> {
  /** "actions" for buttons. */
  id: string;
  header: string;
  /** What it is sorted and filtered by; without one it is neither. */
  value?: (row: T) => string | number;
  cell: (row: T) => ReactNode;
  align?: "right";
  /** Shown from this width on. */
  from?: "sm" | "md" | "lg";
  className?: string;
}

const FROM = { sm: "hidden sm:table-cell", md: "hidden md:table-cell", lg: "hidden lg:table-cell" };

/** A list of up to some thousands of items that can be sorted and filtered by text. */
export function DataTable<T>({
  label,
  rows,
  columns,
  rowKey,
  filterLabel,
  noun = "row",
  actions,
  empty,
  rowClassName,
}: {
  label: string;
  rows: readonly T[];
  columns: readonly DataColumn<T>[];
  rowKey: (row: T) => string;
  /** Shows a filter of that name. */
  filterLabel?: string;
  noun?: string;
  actions?: ReactNode;
  empty?: ReactNode;
  rowClassName?: (row: T) => string | undefined;
}) {
  const [text, setText] = useState("");
  const shown = useMemo(() => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length === 0) return [...rows];
    return rows.filter((row) => {
      const hay = columns
        .map((column) => column.value?.(row) ?? "")
        .join(" ")
        .toLowerCase();
      return words.every((word) => hay.includes(word));
    });
  }, [rows, columns, text]);
  const defs = useMemo(
    () =>
      columns.map((column) => ({
        id: column.id,
        accessorFn: (row: T) => column.value?.(row),
        enableSorting: column.value !== undefined,
        sortFn: "alphanumeric" as const,
      })),
    [columns],
  );
  const table = useTable({
    features,
    columns: defs,
    data: shown as never[],
    getRowId: (row) => rowKey(row as T),
  });
  return (
    <div className="flex min-w-0 flex-col gap-2">
      {(filterLabel || actions) && (
        <div className="flex flex-wrap items-center gap-2">
          {filterLabel && (
            <>
              <Input
                type="search"
                aria-label={filterLabel}
                placeholder={filterLabel}
                value={text}
                onChange={(event) => setText(event.target.value)}
                className="max-w-72"
              />
              <span role="status" className="text-xs text-muted-foreground tabular">
                {plural(shown.length, noun)}
              </span>
            </>
          )}
          <div className="ml-auto flex items-center gap-2">{actions}</div>
        </div>
      )}
      <section
        aria-label={label}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
        tabIndex={0}
        className="relative overflow-x-auto rounded-lg border bg-card"
      >
        <table className="w-full text-sm">
          <caption className="sr-only">{label}</caption>
          <thead>
            {table.getHeaderGroups().map((group) => (
              <tr
                key={group.id}
                className="border-b bg-muted text-left text-xs text-muted-foreground"
              >
                {group.headers.map((header, index) => {
                  const column = columns[index];
                  const sorted = header.column.getIsSorted();
                  if (column === undefined) return null;
                  return (
                    <th
                      key={header.id}
                      scope="col"
                      aria-sort={
                        sorted === "asc"
                          ? "ascending"
                          : sorted === "desc"
                            ? "descending"
                            : undefined
                      }
                      className={cn(
                        "h-8 px-3 font-medium whitespace-nowrap",
                        column.align === "right" && "text-right",
                        column.from && FROM[column.from],
                        column.id === ACTIONS && `${STAYS} max-lg:bg-muted`,
                        column.className,
                      )}
                    >
                      {column.value === undefined ? (
                        column.header || <span className="sr-only">Actions</span>
                      ) : (
                        <button
                          type="button"
                          onClick={header.column.getToggleSortingHandler()}
                          className="group -mx-1 inline-flex h-6 items-center gap-1 rounded-sm px-1 hover:text-foreground"
                        >
                          {column.header}
                          {sorted === "asc" ? (
                            <ArrowUp className="size-3" aria-hidden />
                          ) : sorted === "desc" ? (
                            <ArrowDown className="size-3" aria-hidden />
                          ) : (
                            <ChevronsUpDown
                              className="size-3 opacity-40 group-hover:opacity-100"
                              aria-hidden
                            />
                          )}
                        </button>
                      )}
                    </th>
                  );
                })}
              </tr>
            ))}
          </thead>
          <tbody>
            {table.getRowModel().rows.map((row) => (
              <tr
                key={row.id}
                className={cn(
                  "border-b border-border/70 last:border-b-0 hover:bg-accent/40",
                  rowClassName?.(row.original as T),
                )}
              >
                {columns.map((column) => (
                  <td
                    key={column.id}
                    className={cn(
                      "px-3 py-1.5 align-middle",
                      column.align === "right" && "text-right tabular",
                      column.from && FROM[column.from],
                      column.id === ACTIONS && `${STAYS} max-lg:bg-card`,
                      column.className,
                    )}
                  >
                    {column.cell(row.original as T)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
        {shown.length === 0 &&
          (rows.length === 0 && empty ? (
            empty
          ) : (
            <Empty title={text ? `Nothing has “${text}”` : "Nothing here"} />
          ))}
      </section>
    </div>
  );
}
