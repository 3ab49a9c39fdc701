import type { DataColumn } from "@/components/datatable";
import { ago } from "@/lib/format";

/** The columns that the tables of a workspace have in common: by whom, and how long ago. */
export function whoAndWhen<T extends { created_at: string }>(
  who: (row: T) => string,
  when: { header: string; from: "sm" | "md"; now: number },
): DataColumn<T>[] {
  return [
    { id: "by", header: "By", value: who, cell: who, from: "md" },
    {
      id: "at",
      header: when.header,
      value: (row) => row.created_at,
      cell: (row) => ago(row.created_at, when.now),
      from: when.from,
    },
  ];
}
