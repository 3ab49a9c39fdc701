import { Ellipsis, Grip, Pencil } from "lucide-react";
import { type KeyboardEvent, lazy, type PointerEvent, Suspense, useRef, useState } from "react";
import { Link } from "react-router";
import { api, unwrap } from "@/api/client";
import type { Chart, Parameter, Tile } from "@/api/types";
import { LiveChart } from "@/components/chart/live";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Empty, Skeleton } from "@/components/ui/feedback";
import { Field, Textarea } from "@/components/ui/input";
import { Menu, MenuItem, MenuSeparator } from "@/components/ui/menu";
import { cn } from "@/lib/cn";
import { Boundary } from "@/shell/crash";
import { GRID_COLUMNS, ROW_PX } from "./layout";

const Markdown = lazy(() => import("@/components/markdown"));

/** One tile. While the dashboard is changed it is moved by its grip, by arrow keys or by its menu. */
export function TileFrame({
  tile,
  chart,
  boardId,
  version,
  round,
  parameters,
  placed,
  editing,
  onChange,
  onRemove,
}: {
  tile: Tile;
  chart: Chart | undefined;
  /** The saved dashboard whose tile this is; null fills the chart by itself. */
  boardId: string | null;
  version: number;
  round: number;
  parameters: Parameter[];
  placed: boolean;
  editing: boolean;
  onChange: (parts: Partial<Tile>) => void;
  onRemove: () => void;
}) {
  const frame = useRef<HTMLLIElement>(null);
  const [writing, setWriting] = useState(false);
  const title = tile.kind === "chart" ? (chart?.title ?? "Chart") : "Text";
  const own = (chart?.parameters ?? []).map((one) => one.name);
  const sent = parameters.filter((one) => own.includes(one.name));
  const start = () =>
    boardId === null
      ? unwrap(
          api.POST("/api/v1/charts/{chart_id}/data", {
            params: { path: { chart_id: tile.chart_id ?? "" } },
            body: { parameters: sent },
          }),
        )
      : unwrap(
          api.POST("/api/v1/dashboards/{dashboard_id}/tiles/{tile_id}/data", {
            params: { path: { dashboard_id: boardId, tile_id: tile.id } },
            body: { filters: parameters },
          }),
        );
  return (
    <li
      ref={frame}
      style={
        placed
          ? {
              gridColumn: `${tile.x + 1} / span ${tile.width}`,
              gridRow: `${tile.y + 1} / span ${tile.height}`,
            }
          : tile.kind === "chart"
            ? { height: Math.max(220, tile.height * 52) }
            : undefined
      }
      className={cn(
        "flex min-w-0 flex-col rounded-lg",
        tile.kind === "chart" || editing ? "border bg-card" : "",
        editing && "border-dashed border-border-strong",
      )}
    >
      {(tile.kind === "chart" || editing) && (
        <header className="flex min-h-9 items-center gap-1.5 px-3 pt-1">
          {editing && placed && (
            <Handle tile={tile} title={title} frame={frame} onChange={onChange} />
          )}
          <h2 className="min-w-0 flex-1 truncate text-sm font-semibold">
            {chart && !editing ? (
              <Link to={`/charts/${chart.id}`} className="hover:underline">
                {title}
              </Link>
            ) : (
              title
            )}
          </h2>
          {editing && (
            <TileMenu
              tile={tile}
              title={title}
              onChange={onChange}
              onRemove={onRemove}
              onWrite={() => setWriting(true)}
            />
          )}
        </header>
      )}
      <div
        className={cn(
          "min-h-0 flex-1 overflow-auto",
          tile.kind === "chart" ? "px-3 pb-3" : editing ? "px-3 pb-2" : "px-1",
        )}
      >
        <Boundary>
          {tile.kind === "text" ? (
            <Suspense fallback={<Skeleton className="w-2/3" />}>
              <Markdown text={tile.text ?? ""} />
            </Suspense>
          ) : chart === undefined ? (
            <Empty title="This chart is gone">It was removed, or is not shared with you.</Empty>
          ) : (
            <LiveChart
              queryKey={["tile", boardId, version, tile.chart_id, round, sent]}
              start={start}
              spec={chart.spec}
              title={title}
            />
          )}
        </Boundary>
      </div>
      {tile.kind === "text" && (
        <WriteText
          open={writing}
          onOpenChange={setWriting}
          text={tile.text ?? ""}
          onSave={(text) => onChange({ text })}
        />
      )}
    </li>
  );
}

function Handle({
  tile,
  title,
  frame,
  onChange,
}: {
  tile: Tile;
  title: string;
  frame: React.RefObject<HTMLLIElement | null>;
  onChange: (parts: Partial<Tile>) => void;
}) {
  const start = useRef<{ x: number; y: number; tile: Tile; columnPx: number } | null>(null);
  const onKeyDown = (event: KeyboardEvent) => {
    const [dx, dy] = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    }[event.key] ?? [0, 0];
    if (dx === 0 && dy === 0) return;
    event.preventDefault();
    onChange(
      event.shiftKey
        ? { width: tile.width + (dx ?? 0), height: tile.height + (dy ?? 0) }
        : { x: tile.x + (dx ?? 0), y: tile.y + (dy ?? 0) },
    );
  };
  const onPointerDown = (event: PointerEvent<HTMLButtonElement>) => {
    const grid = frame.current?.parentElement?.clientWidth ?? 1200;
    start.current = { x: event.clientX, y: event.clientY, tile, columnPx: grid / GRID_COLUMNS };
    event.currentTarget.setPointerCapture(event.pointerId);
  };
  const onPointerMove = (event: PointerEvent<HTMLButtonElement>) => {
    const from = start.current;
    if (from === null) return;
    const x = from.tile.x + Math.round((event.clientX - from.x) / from.columnPx);
    const y = from.tile.y + Math.round((event.clientY - from.y) / ROW_PX);
    if (x !== tile.x || y !== tile.y) onChange({ x, y });
  };
  return (
    <button
      type="button"
      aria-label={`Move ${title}: arrow keys move it, with Shift they resize it`}
      onKeyDown={onKeyDown}
      onPointerDown={onPointerDown}
      onPointerMove={onPointerMove}
      onPointerUp={() => {
        start.current = null;
      }}
      className="flex size-6 cursor-grab touch-none items-center justify-center rounded-sm text-muted-foreground hover:bg-accent active:cursor-grabbing"
    >
      <Grip className="size-3.5" aria-hidden />
    </button>
  );
}

function TileMenu({
  tile,
  title,
  onChange,
  onRemove,
  onWrite,
}: {
  tile: Tile;
  title: string;
  onChange: (parts: Partial<Tile>) => void;
  onRemove: () => void;
  onWrite: () => void;
}) {
  const moves: readonly (readonly [string, Partial<Tile>])[] = [
    ["Wider", { width: tile.width + 1 }],
    ["Narrower", { width: tile.width - 1 }],
    ["Taller", { height: tile.height + 1 }],
    ["Shorter", { height: tile.height - 1 }],
    ["Move left", { x: tile.x - 1 }],
    ["Move right", { x: tile.x + 1 }],
    ["Move up", { y: tile.y - 1 }],
    ["Move down", { y: tile.y + tile.height }],
  ];
  return (
    <Menu
      align="end"
      trigger={
        <Button variant="ghost" size="icon-sm" aria-label={`${title}: more`}>
          <Ellipsis aria-hidden />
        </Button>
      }
    >
      {tile.kind === "text" && (
        <>
          <MenuItem onClick={onWrite}>
            <Pencil aria-hidden />
            Write
          </MenuItem>
          <MenuSeparator />
        </>
      )}
      {moves.map(([label, parts]) => (
        <MenuItem key={label} onClick={() => onChange(parts)} closeOnClick={false}>
          {label}
        </MenuItem>
      ))}
      <MenuSeparator />
      <MenuItem danger onClick={onRemove}>
        Take it off
      </MenuItem>
    </Menu>
  );
}

function WriteText({
  open,
  onOpenChange,
  text,
  onSave,
}: {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  text: string;
  onSave: (text: string) => void;
}) {
  const [written, setWritten] = useState(text);
  return (
    <Dialog
      open={open}
      onOpenChange={onOpenChange}
      title="Text"
      footer={
        <Button
          variant="primary"
          onClick={() => {
            onSave(written);
            onOpenChange(false);
          }}
        >
          Done
        </Button>
      }
    >
      <Field label="Markdown" hint="# heading, **bold**, [link](/explorer), lists and tables.">
        {(props) => (
          <Textarea
            {...props}
            rows={10}
            maxLength={20_000}
            className="font-mono text-xs"
            value={written}
            onChange={(event) => setWritten(event.target.value)}
          />
        )}
      </Field>
    </Dialog>
  );
}
