import { useMutation, useQueryClient } from "@tanstack/react-query";
import { LayoutDashboard, Pencil, RotateCw, Save, Settings2 } from "lucide-react";
import { useMemo, useState } from "react";
import { useNavigate, useSearchParams } from "react-router";
import { api, etagOf, unwrap } from "@/api/client";
import { asProblem } from "@/api/problem";
import type { Chart, Dashboard, SaveDashboard, Tile } from "@/api/types";
import { copyTitle, MeanwhileDialog, useMeanwhile } from "@/components/meanwhile";
import { RemoveButton } from "@/components/removebutton";
import { Button } from "@/components/ui/button";
import { Empty } from "@/components/ui/feedback";
import { complain, notify } from "@/components/ui/toast";
import { InWorkspace } from "@/components/workspacechoice";
import { useMedia } from "@/lib/hooks";
import { Page } from "@/shell/page";
import { AddTile } from "./addtile";
import { Filters, filterParameters, filterTexts } from "./filters";
import { changed, GRID_COLUMNS, ROW_PX, removed } from "./layout";
import { BoardSettings } from "./settings";
import { TileFrame } from "./tile";

const GAP_PX = 12;

/** A dashboard, looked at or changed. Filters stand in the address. */
export function Board({ board, isNew = false }: { board: Dashboard; isNew?: boolean }) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const roomy = useMedia("(min-width: 768px)");
  const [search, setSearch] = useSearchParams();
  const [editing, setEditing] = useState(isNew);
  const [settings, setSettings] = useState(isNew);
  const [round, setRound] = useState(0);
  const [draft, setDraft] = useState<Dashboard>(board);
  const shown = editing ? draft : board;
  const texts = useMemo(() => filterTexts(shown.filters, search), [shown.filters, search]);
  const parameters = useMemo(() => filterParameters(shown.filters, texts), [shown.filters, texts]);

  const meanwhile = useMeanwhile<Dashboard, Dashboard>(() =>
    unwrap(
      api.GET("/api/v1/dashboards/{dashboard_id}", {
        params: { path: { dashboard_id: board.id } },
      }),
    ),
  );
  const { met } = meanwhile;
  const show = (found: Dashboard) => {
    meanwhile.clear();
    client.setQueryData(["dashboard", found.id], found);
    void client.invalidateQueries({ queryKey: ["dashboards"] });
    // Another one has a page of its own, on which it is looked at: this one is not, until that is there.
    if (found.id === board.id) setEditing(false);
    else navigate(`/dashboards/${found.id}`, { replace: isNew });
  };
  const save = useMutation({
    // A draft keeps the version of what it was begun on: whoever saved since is not overwritten.
    mutationFn: ({ next, as }: { next: Dashboard; as: "new" | "same" }) => {
      const body: SaveDashboard = {
        title: next.title.trim() || "Untitled dashboard",
        description: next.description,
        tiles: next.tiles,
        filters: next.filters,
        shares: next.shares,
        workspace_id: next.workspace?.id,
      };
      return as === "new"
        ? unwrap(api.POST("/api/v1/dashboards", { body }))
        : unwrap(
            api.PUT("/api/v1/dashboards/{dashboard_id}", {
              params: {
                path: { dashboard_id: board.id },
                header: { "if-match": etagOf(next.version) },
              },
              body,
            }),
          );
    },
    onSuccess: (saved) => {
      show(saved);
      notify("Saved");
    },
    onError: async (error, { next, as }) => {
      if (as === "same" && (await meanwhile.meet(error, next))) return;
      if (!meanwhile.refuse(error)) complain("It could not be saved", asProblem(error).message);
    },
  });
  const remove = useMutation({
    mutationFn: () =>
      unwrap(
        api.DELETE("/api/v1/dashboards/{dashboard_id}", {
          params: {
            path: { dashboard_id: board.id },
            header: { "if-match": etagOf(board.version) },
          },
        }),
      ),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: ["dashboards"] });
      notify(`Removed “${board.title}”`);
      navigate("/dashboards");
    },
    onError: (error) => {
      complain("It could not be removed", asProblem(error).message);
      // Somebody changed it: the next try is about what they made of it.
      void client.invalidateQueries({ queryKey: ["dashboard", board.id] });
    },
  });
  const setTiles = (tiles: Tile[]) => setDraft((before) => ({ ...before, tiles }));
  const addTile = (tiles: Tile[], chart?: Chart) =>
    setDraft((before) => ({
      ...before,
      tiles,
      charts:
        chart && !before.charts.some((one) => one.id === chart.id)
          ? [...before.charts, chart]
          : before.charts,
    }));

  return (
    <Page
      title={shown.title || "New dashboard"}
      description={shown.description || undefined}
      heading={<InWorkspace title={shown.title || "New dashboard"} workspace={shown.workspace} />}
      crumbs={[{ label: "Dashboards", to: "/dashboards" }]}
      wide
      actions={
        editing ? (
          <>
            <AddTile tiles={draft.tiles} onAdd={addTile} />
            <Button onClick={() => setSettings(true)}>
              <Settings2 aria-hidden />
              Name, filters, sharing
            </Button>
            {!isNew && (
              <Button
                variant="ghost"
                onClick={() => {
                  setDraft(board);
                  setEditing(false);
                }}
              >
                Discard
              </Button>
            )}
            <Button
              variant="primary"
              busy={save.isPending}
              onClick={() => save.mutate({ next: draft, as: isNew ? "new" : "same" })}
            >
              <Save aria-hidden />
              Save
            </Button>
          </>
        ) : (
          <>
            <Button variant="ghost" onClick={() => setRound(round + 1)}>
              <RotateCw aria-hidden />
              Ask again
            </Button>
            {board.can_edit && (
              <Button
                onClick={() => {
                  setDraft(board);
                  setEditing(true);
                }}
              >
                <Pencil aria-hidden />
                Change
              </Button>
            )}
            {board.can_manage && (
              <RemoveButton
                noun="dashboard"
                name={board.title}
                note="Nobody sees it any more. Its charts stay."
                variant="danger-ghost"
                size="icon"
                aria-label="Remove this dashboard"
                busy={remove.isPending}
                onRemove={() => remove.mutate()}
              />
            )}
          </>
        )
      }
    >
      {shown.filters.length > 0 && (
        <Filters
          boardId={board.id}
          filters={shown.filters}
          texts={texts}
          onApply={(next) => setSearch(next, { replace: true })}
        />
      )}
      {shown.tiles.length === 0 ? (
        <Empty
          icon={LayoutDashboard}
          title="There is no tile yet"
          className="rounded-lg border border-dashed bg-card"
        >
          {editing ? "Add a chart that you saved, or a text." : "Change it to add charts."}
        </Empty>
      ) : (
        <ul
          style={
            roomy
              ? {
                  gridTemplateColumns: `repeat(${GRID_COLUMNS}, minmax(0, 1fr))`,
                  gridAutoRows: ROW_PX,
                  gap: GAP_PX,
                }
              : { gap: GAP_PX }
          }
          className="grid"
        >
          {[...shown.tiles]
            .sort((a, b) => a.y - b.y || a.x - b.x)
            .map((tile) => (
              <TileFrame
                key={tile.id}
                tile={tile}
                chart={shown.charts.find((one) => one.id === tile.chart_id)}
                boardId={isNew || editing ? null : board.id}
                version={board.version}
                round={round}
                parameters={parameters}
                placed={roomy}
                editing={editing}
                onChange={(parts) => setTiles(changed(draft.tiles, tile.id, parts))}
                onRemove={() => setTiles(removed(draft.tiles, tile.id))}
              />
            ))}
        </ul>
      )}
      <BoardSettings
        open={settings}
        onOpenChange={setSettings}
        board={draft}
        onChange={(parts) => setDraft((before) => ({ ...before, ...parts }))}
      />
      {met && (
        <MeanwhileDialog
          met={met}
          noun="dashboard"
          busy={save.isPending}
          onReplace={() =>
            save.mutate({
              next: { ...met.mine, version: met.theirs?.version ?? met.mine.version },
              as: "same",
            })
          }
          onCopy={() => save.mutate({ next: copyOf(met.mine), as: "new" })}
          onDrop={() => (met.theirs ? show(met.theirs) : navigate("/dashboards"))}
          onClose={meanwhile.clear}
        />
      )}
    </Page>
  );
}

/** Beside theirs, and in its workspace; who it is shared with is known to who manages it alone. */
function copyOf(board: Dashboard): Dashboard {
  return {
    ...board,
    title: copyTitle(board.title),
    shares: board.can_manage ? board.shares : [],
  };
}
