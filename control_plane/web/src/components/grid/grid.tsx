import { useVirtualizer } from "@tanstack/react-virtual";
import {
  type KeyboardEvent,
  type PointerEvent,
  useCallback,
  useEffect,
  useId,
  useMemo,
  useRef,
  useState,
} from "react";
import type { Column, Row } from "@/api/types";
import { cn } from "@/lib/cn";
import { count } from "@/lib/format";
import { CellDialog } from "./celldialog";
import { shown } from "./nested";
import { cellText, fittingWidths, isRightAligned, valueText } from "./values";

const ROW_PX = 28;
const HEADER_PX = 44;
/** More rows than this do not fit into the height that browsers give an element. */
export const MOST_ROWS = 500_000;
const STEP_PX = 24;

export interface GridProps {
  label: string;
  columns: readonly Column[];
  rowCount: number;
  /** The row of that number, undefined while it is on its way. */
  rowAt: (index: number) => Row | undefined;
  /** Told which rows are in view. */
  onVisible?: (first: number, last: number) => void;
  className?: string;
}

interface Position {
  row: number;
  column: number;
}

/** Any number of rows and columns: only what is in view is in the page. Arrow keys move between cells. */
export function Grid({ label, columns, rowCount, rowAt, onVisible, className }: GridProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const id = useId();
  const [active, setActive] = useState<Position>({ row: 0, column: 0 });
  const [opened, setOpened] = useState<Position | null>(null);
  const shownRows = Math.min(rowCount, MOST_ROWS);
  const { widths, resize } = useWidths(columns, rowCount, rowAt);
  const numberPx = Math.max(40, count(Math.max(1, shownRows)).length * 7.5 + 18);

  const rows = useVirtualizer({
    count: shownRows,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    overscan: 12,
    scrollPaddingStart: HEADER_PX,
    paddingStart: HEADER_PX,
  });
  const cells = useVirtualizer({
    horizontal: true,
    count: columns.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => widths[index] ?? 100,
    overscan: 3,
    paddingStart: numberPx,
    scrollPaddingStart: numberPx,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: measured anew when widths change, and only then
  useEffect(() => cells.measure(), [widths, numberPx]);

  const items = rows.getVirtualItems();
  const across = cells.getVirtualItems();
  const [first, last] = [items[0]?.index ?? 0, items.at(-1)?.index ?? 0];
  useEffect(() => onVisible?.(first, last), [onVisible, first, last]);

  const move = useCallback(
    (to: Position) => {
      const next = {
        row: Math.max(0, Math.min(shownRows - 1, to.row)),
        column: Math.max(0, Math.min(columns.length - 1, to.column)),
      };
      setActive(next);
      rows.scrollToIndex(next.row);
      cells.scrollToIndex(next.column);
    },
    [shownRows, columns.length, rows, cells],
  );

  const onKeyDown = (event: KeyboardEvent) => {
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 300) / ROW_PX) - 2);
    const mod = event.ctrlKey || event.metaKey;
    const { row, column } = active;
    const jumps: Record<string, Position> = {
      ArrowDown: { row: row + 1, column },
      ArrowUp: { row: row - 1, column },
      ArrowRight: { row, column: column + 1 },
      ArrowLeft: { row, column: column - 1 },
      PageDown: { row: row + page, column },
      PageUp: { row: row - page, column },
      Home: mod ? { row: 0, column: 0 } : { row, column: 0 },
      End: mod
        ? { row: shownRows - 1, column: columns.length - 1 }
        : { row, column: columns.length - 1 },
    };
    const to = jumps[event.key];
    if (event.shiftKey && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      event.preventDefault();
      resize(column, (widths[column] ?? 100) + (event.key === "ArrowRight" ? STEP_PX : -STEP_PX));
    } else if (to !== undefined) {
      event.preventDefault();
      move(to);
    } else if (event.key === "Enter") {
      event.preventDefault();
      setOpened(active);
    } else if (mod && event.key === "c" && window.getSelection()?.isCollapsed !== false) {
      event.preventDefault();
      void navigator.clipboard?.writeText(valueText(shown(rowAt(row)?.[column], columns[column])));
    }
  };

  const openedColumn = opened === null ? undefined : columns[opened.column];
  return (
    <>
      <div
        ref={scroller}
        role="grid"
        aria-label={label}
        aria-rowcount={rowCount + 1}
        aria-colcount={columns.length + 1}
        aria-activedescendant={shownRows > 0 ? `${id}-${active.row}-${active.column}` : undefined}
        tabIndex={0}
        onKeyDown={onKeyDown}
        className={cn(
          "group/grid relative overflow-auto bg-card font-mono text-xs -outline-offset-2 [scrollbar-width:auto]",
          className,
        )}
      >
        <div
          style={{ height: Math.max(rows.getTotalSize(), HEADER_PX), width: cells.getTotalSize() }}
          className="relative min-w-full"
        >
          <Header
            columns={columns}
            across={across}
            numberPx={numberPx}
            active={active.column}
            onResize={resize}
          />
          {items.map((item) => {
            const row = rowAt(item.index);
            return (
              <div
                key={item.key}
                role="row"
                aria-rowindex={item.index + 2}
                tabIndex={-1}
                style={{ height: ROW_PX, transform: `translateY(${item.start}px)` }}
                className="absolute top-0 left-0 min-w-full border-b border-border/60 hover:bg-accent/50"
              >
                <div
                  role="rowheader"
                  tabIndex={-1}
                  style={{ width: numberPx }}
                  className="sticky left-0 z-10 flex h-full items-center justify-end border-r bg-muted px-2 text-2xs text-muted-foreground tabular select-none"
                >
                  {count(item.index + 1)}
                </div>
                {across.map((cell) => {
                  const column = columns[cell.index];
                  if (column === undefined) return null;
                  const isActive = item.index === active.row && cell.index === active.column;
                  return (
                    <Cell
                      key={cell.key}
                      id={`${id}-${item.index}-${cell.index}`}
                      column={column}
                      index={cell.index}
                      left={cell.start}
                      width={cell.size}
                      row={row}
                      active={isActive}
                      onSelect={() => setActive({ row: item.index, column: cell.index })}
                      onOpen={() => setOpened({ row: item.index, column: cell.index })}
                    />
                  );
                })}
              </div>
            );
          })}
        </div>
      </div>
      {opened !== null && openedColumn !== undefined && (
        <CellDialog
          column={openedColumn}
          row={opened.row}
          value={shown(rowAt(opened.row)?.[opened.column], openedColumn)}
          onClose={() => {
            setOpened(null);
            scroller.current?.focus();
          }}
        />
      )}
    </>
  );
}

function Cell({
  id,
  column,
  index,
  left,
  width,
  row,
  active,
  onSelect,
  onOpen,
}: {
  id: string;
  column: Column;
  index: number;
  left: number;
  width: number;
  row: Row | undefined;
  active: boolean;
  onSelect: () => void;
  onOpen: () => void;
}) {
  const value = row?.[index];
  const empty = row !== undefined && (value === null || value === undefined);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the grid itself handles all keys
    <div
      id={id}
      role="gridcell"
      aria-colindex={index + 2}
      aria-selected={active}
      tabIndex={-1}
      style={{ left, width }}
      onClick={onSelect}
      onDoubleClick={onOpen}
      className={cn(
        "absolute top-0 flex h-full items-center px-2.5 outline-none",
        isRightAligned(column) && "justify-end tabular",
        active && "group-focus-visible/grid:ring-2 ring-inset ring-ring group-focus/grid:ring-2",
      )}
    >
      {row === undefined ? (
        <span className="shimmer h-2.5 w-3/5 rounded-sm bg-secondary" />
      ) : empty ? (
        <span className="text-2xs text-muted-foreground italic">null</span>
      ) : (
        <span className="truncate whitespace-pre">{cellText(shown(value, column))}</span>
      )}
    </div>
  );
}

function Header({
  columns,
  across,
  numberPx,
  active,
  onResize,
}: {
  columns: readonly Column[];
  across: readonly { index: number; start: number; size: number; key: React.Key }[];
  numberPx: number;
  active: number;
  onResize: (index: number, width: number) => void;
}) {
  return (
    <div
      role="row"
      aria-rowindex={1}
      tabIndex={-1}
      style={{ height: HEADER_PX }}
      className="sticky top-0 z-20 min-w-full border-b border-border-strong bg-muted font-sans"
    >
      <div
        role="columnheader"
        tabIndex={-1}
        style={{ width: numberPx }}
        className="sticky left-0 z-10 flex h-full items-end justify-end border-r bg-muted px-2 pb-1.5 text-2xs text-muted-foreground"
      >
        <span aria-hidden>#</span>
        <span className="sr-only">Row</span>
      </div>
      {across.map((cell) => {
        const column = columns[cell.index];
        if (column === undefined) return null;
        return (
          <div
            key={cell.key}
            role="columnheader"
            aria-colindex={cell.index + 2}
            tabIndex={-1}
            style={{ left: cell.start, width: cell.size }}
            className={cn(
              "absolute top-0 flex h-full flex-col justify-center px-2.5",
              isRightAligned(column) && "items-end text-right",
              active === cell.index && "group-focus-visible/grid:bg-accent",
            )}
            title={`${column.name} ${column.type}`}
          >
            <span className="max-w-full truncate text-xs font-semibold">{column.name}</span>
            <span className="max-w-full truncate text-2xs font-normal text-muted-foreground">
              {column.type}
            </span>
            <Handle width={cell.size} onResize={(width) => onResize(cell.index, width)} />
          </div>
        );
      })}
    </div>
  );
}

/** Dragged to make a column wider; Shift with ← and → does the same from the keyboard. */
function Handle({ width, onResize }: { width: number; onResize: (width: number) => void }) {
  const start = useRef<{ x: number; width: number } | null>(null);
  const onPointerDown = (event: PointerEvent<HTMLDivElement>) => {
    start.current = { x: event.clientX, width };
    event.currentTarget.setPointerCapture(event.pointerId);
    event.preventDefault();
  };
  const onPointerMove = (event: PointerEvent<HTMLDivElement>) => {
    if (start.current !== null) onResize(start.current.width + event.clientX - start.current.x);
  };
  const onPointerUp = () => {
    start.current = null;
  };
  return (
    <div
      aria-hidden
      onPointerDown={onPointerDown}
      onPointerMove={onPointerMove}
      onPointerUp={onPointerUp}
      className="absolute top-0 right-0 h-full w-2 cursor-col-resize touch-none border-r border-transparent hover:border-ring"
    />
  );
}

/** Widths that fit what came first; what the user changed stays as long as the columns are the same. */
function useWidths(
  columns: readonly Column[],
  rowCount: number,
  rowAt: (index: number) => Row | undefined,
) {
  const [changed, setChanged] = useState<{ of: readonly Column[]; widths: Record<number, number> }>(
    {
      of: columns,
      widths: {},
    },
  );
  const known = Math.min(rowCount, 60);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the first rows decide; later ones do not move columns
  const fitting = useMemo(() => {
    const rows: Row[] = [];
    for (let index = 0; index < known; index += 1) {
      const row = rowAt(index);
      if (row !== undefined) rows.push(row);
    }
    return fittingWidths(columns, rows);
  }, [columns, known]);
  const own = changed.of === columns ? changed.widths : undefined;
  const widths = useMemo(
    () => fitting.map((width, index) => own?.[index] ?? width),
    [fitting, own],
  );
  const resize = useCallback(
    (index: number, width: number) => {
      const bounded = Math.min(1200, Math.max(40, Math.round(width)));
      setChanged((before) => ({
        of: columns,
        widths: { ...(before.of === columns ? before.widths : {}), [index]: bounded },
      }));
    },
    [columns],
  );
  return { widths, resize };
}
