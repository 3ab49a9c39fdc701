import { useQuery } from "@tanstack/react-query";
import { ChartColumn, Plus, TextQuote } from "lucide-react";
import { useState } from "react";
import { api, unwrap } from "@/api/client";
import type { Chart, Tile } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { added } from "./layout";

/** Puts a saved chart or a text on a dashboard. */
export function AddTile({
  tiles,
  onAdd,
}: {
  tiles: readonly Tile[];
  onAdd: (tiles: Tile[], chart?: Chart) => void;
}) {
  const [open, setOpen] = useState(false);
  const charts = useQuery({
    queryKey: ["charts", ""],
    queryFn: () => unwrap(api.GET("/api/v1/charts")),
    enabled: open,
  });
  const add = (chart?: Chart) => {
    const id = crypto.randomUUID();
    onAdd(
      chart
        ? added(tiles, {
            id,
            kind: "chart",
            chart_id: chart.id,
            text: "",
            width: chart.spec.kind === "number" ? 3 : 6,
            height: chart.spec.kind === "number" ? 2 : 5,
          })
        : added(tiles, {
            id,
            kind: "text",
            chart_id: null,
            text: "## A heading\n\nWhat this shows.",
            width: 12,
            height: 2,
          }),
      chart,
    );
    setOpen(false);
  };
  return (
    <>
      <Button onClick={() => setOpen(true)}>
        <Plus aria-hidden />
        Add a tile
      </Button>
      <Dialog open={open} onOpenChange={setOpen} title="Add a tile">
        <div className="flex flex-col gap-3">
          <Button onClick={() => add()}>
            <TextQuote aria-hidden />A text
          </Button>
          {charts.error ? (
            <ProblemNote error={charts.error} again />
          ) : charts.isPending ? (
            <SkeletonRows rows={4} />
          ) : charts.data.length === 0 ? (
            <Empty icon={ChartColumn} title="You have no chart">
              Save one from a worksheet's result first.
            </Empty>
          ) : (
            <ul className="-mx-2">
              {charts.data.map((chart) => (
                <li key={chart.id}>
                  <button
                    type="button"
                    onClick={() => add(chart)}
                    className="flex min-h-10 w-full items-center gap-2.5 rounded-md px-2 text-left text-sm hover:bg-accent"
                  >
                    <ChartColumn className="size-4 shrink-0 text-muted-foreground" aria-hidden />
                    <span className="min-w-0 flex-1 truncate">{chart.title}</span>
                    <span className="text-xs text-muted-foreground">{chart.spec.kind}</span>
                  </button>
                </li>
              ))}
            </ul>
          )}
        </div>
      </Dialog>
    </>
  );
}
