/** Places of tiles on a grid of 12 columns. All pure. */

import type { Tile } from "@/api/types";

export const GRID_COLUMNS = 12;
export const ROW_PX = 64;

export function overlaps(a: Tile, b: Tile): boolean {
  return (
    a.id !== b.id &&
    a.x < b.x + b.width &&
    b.x < a.x + a.width &&
    a.y < b.y + b.height &&
    b.y < a.y + a.height
  );
}

/** A tile within the grid's borders. */
export function bounded(tile: Tile): Tile {
  const width = Math.max(1, Math.min(GRID_COLUMNS, tile.width));
  return {
    ...tile,
    width,
    height: Math.max(1, Math.min(100, tile.height)),
    x: Math.max(0, Math.min(GRID_COLUMNS - width, tile.x)),
    y: Math.max(0, Math.min(10_000, tile.y)),
  };
}

const byPlace = (a: Tile, b: Tile) => a.y - b.y || a.x - b.x;

/** Tiles moved up as far as they go without overlapping; `first` keeps its row and pushes the others down. */
export function settled(tiles: readonly Tile[], first?: string): Tile[] {
  const order = [...tiles].sort((a, b) => {
    if (a.y === b.y && first !== undefined) {
      if (a.id === first) return -1;
      if (b.id === first) return 1;
    }
    return byPlace(a, b);
  });
  const anchor = order.find((tile) => tile.id === first);
  const placed: Tile[] = anchor ? [anchor] : [];
  for (const tile of order) {
    if (tile === anchor) continue;
    let candidate = { ...tile, y: 0 };
    // As high as it fits, but never over what was above it.
    while (placed.some((other) => overlaps(candidate, other)))
      candidate = { ...candidate, y: candidate.y + 1 };
    placed.push(candidate);
  }
  if (anchor === undefined) return placed.sort(byPlace);
  // At last the moved one falls up to the others, too.
  const rest = placed.filter((tile) => tile.id !== first);
  let final = anchor;
  while (final.y > 0 && !rest.some((other) => overlaps({ ...final, y: final.y - 1 }, other))) {
    final = { ...final, y: final.y - 1 };
  }
  return [...rest, final].sort(byPlace);
}

/** The tiles with one of them moved or resized. */
export function changed(tiles: readonly Tile[], id: string, parts: Partial<Tile>): Tile[] {
  const next = tiles.map((tile) => (tile.id === id ? bounded({ ...tile, ...parts }) : tile));
  return settled(next, id);
}

/** Where a new tile goes: below all others. */
export function added(tiles: readonly Tile[], tile: Omit<Tile, "x" | "y">): Tile[] {
  const bottom = Math.max(0, ...tiles.map((one) => one.y + one.height));
  const last = tiles.filter((one) => one.y + one.height === bottom);
  const right = Math.max(0, ...last.map((one) => one.x + one.width));
  const beside = last[0] && right + tile.width <= GRID_COLUMNS;
  const place = beside ? { x: right, y: last[0]?.y ?? 0 } : { x: 0, y: bottom };
  return settled([...tiles, bounded({ ...tile, ...place } as Tile)]);
}

export function removed(tiles: readonly Tile[], id: string): Tile[] {
  return settled(tiles.filter((tile) => tile.id !== id));
}
