import { describe, expect, it } from "vitest";
import type { Tile } from "@/api/types";
import {
  added,
  bounded,
  changed,
  GRID_COLUMNS,
  overlaps,
  removed,
  settled,
} from "@/pages/dashboards/layout";

const tile = (id: string, x: number, y: number, width = 6, height = 4): Tile => ({
  id,
  kind: "text",
  text: "",
  x,
  y,
  width,
  height,
});

/** Some layouts that are the same on every run. */
function* layouts(): Generator<Tile[]> {
  let seed = 1;
  const next = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % below;
  };
  for (let round = 0; round < 200; round += 1) {
    const count = 1 + next(8);
    yield Array.from({ length: count }, (_, index) =>
      bounded(tile(`t${index}`, next(12), next(20), 1 + next(12), 1 + next(6))),
    );
  }
}

const clash = (tiles: readonly Tile[]) => tiles.some((a) => tiles.some((b) => overlaps(a, b)));

describe("layout", () => {
  it("never lets tiles overlap or leave the grid, whatever is done", () => {
    for (const tiles of layouts()) {
      let now = settled(tiles);
      expect(clash(now)).toBe(false);
      for (const one of tiles) {
        now = changed(now, one.id, { x: one.x + 3, width: one.width + 2, y: one.y + 1 });
        expect(clash(now)).toBe(false);
        expect(
          now.every((each) => each.x >= 0 && each.x + each.width <= GRID_COLUMNS && each.y >= 0),
        ).toBe(true);
        expect(now).toHaveLength(tiles.length);
      }
    }
  });

  it("moves up what is in the air", () => {
    expect(settled([tile("a", 0, 7)])).toEqual([tile("a", 0, 0)]);
  });

  it("pushes others down", () => {
    const moved = changed([tile("a", 0, 0), tile("b", 6, 0)], "b", { x: 0 });
    expect(moved.find((one) => one.id === "b")).toMatchObject({ x: 0, y: 0 });
    expect(moved.find((one) => one.id === "a")).toMatchObject({ y: 4 });
  });

  it("puts a new tile beside the last one where there is room, else below", () => {
    const beside = added([tile("a", 0, 0)], {
      id: "b",
      kind: "text",
      text: "",
      width: 6,
      height: 4,
    });
    expect(beside.find((one) => one.id === "b")).toMatchObject({ x: 6, y: 0 });
    const below = added(beside, { id: "c", kind: "text", text: "", width: 12, height: 2 });
    expect(below.find((one) => one.id === "c")).toMatchObject({ x: 0, y: 4 });
  });

  it("closes the gap of a tile that is taken off", () => {
    expect(removed([tile("a", 0, 0), tile("b", 0, 4)], "a")).toEqual([tile("b", 0, 0)]);
  });
});
