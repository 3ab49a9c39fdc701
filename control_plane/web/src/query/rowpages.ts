import type { Row } from "@/api/types";

export const PAGE_ROWS = 1000;
const MOST_PAGES = 120;

/** The pages of a result that are here. Those not looked at for the longest time make room for others. */
export class RowPages {
  private readonly pages = new Map<number, (Row | undefined)[]>();

  at(index: number): Row | undefined {
    return this.pages.get(Math.floor(index / PAGE_ROWS))?.[index % PAGE_ROWS];
  }

  /** Puts rows from `offset` on in their places. */
  put(offset: number, rows: readonly Row[]): void {
    rows.forEach((row, position) => {
      const index = offset + position;
      const number = Math.floor(index / PAGE_ROWS);
      let page = this.pages.get(number);
      if (page === undefined) {
        page = [];
        this.pages.set(number, page);
      }
      page[index % PAGE_ROWS] = row;
    });
    this.makeRoom();
  }

  /** The numbers of pages that are needed for these rows and are not here whole; `total` rows exist. */
  missing(first: number, last: number, total: number): number[] {
    const found: number[] = [];
    const end = Math.min(last, total - 1);
    for (let page = Math.floor(first / PAGE_ROWS); page <= Math.floor(end / PAGE_ROWS); page += 1) {
      const held = this.pages.get(page);
      if (held !== undefined) {
        // Looked at just now: last to make room.
        this.pages.delete(page);
        this.pages.set(page, held);
      }
      const expected = Math.min(PAGE_ROWS, total - page * PAGE_ROWS);
      if (expected > 0 && countOf(held) < expected) found.push(page);
    }
    return found;
  }

  private makeRoom(): void {
    for (const page of this.pages.keys()) {
      if (this.pages.size <= MOST_PAGES) return;
      // The first page stays: widths and charts are made from it.
      if (page !== 0) this.pages.delete(page);
    }
  }
}

function countOf(page: readonly (Row | undefined)[] | undefined): number {
  return page === undefined ? 0 : page.reduce((sum, row) => sum + (row === undefined ? 0 : 1), 0);
}
