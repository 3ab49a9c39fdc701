import type { Column, Row, Value } from "@/api/types";
import { membersOf } from "@/components/grid/nested";

export interface Partitions {
  columns: Column[];
  rows: Row[];
  /** What the table is partitioned by; empty for a table in one part. */
  by: string[];
}

const PARTITIONING = /\bpartitioning = ARRAY\[((?:'(?:[^']|'')*'|[\s,])*)\]/i;
const NUMBER = /^(tinyint|smallint|integer|bigint|real|double|decimal)\b/;
const HOUR_MS = 3_600_000;

/** The transforms in a table's definition, such as `month(event_time)`. */
export function transformsIn(definition: string | null | undefined): string[] {
  const listed = PARTITIONING.exec(definition ?? "")?.[1] ?? "";
  return [...listed.matchAll(/'((?:[^']|'')*)'/g)].map((one) =>
    (one[1] ?? "").replaceAll("''", "'"),
  );
}

/**
 * What a partition's number stands for: years, months and hours count from 1970.
 * https://iceberg.apache.org/spec/#partition-transforms
 */
export function partitionValue(value: Value, transform: string): Value {
  if (typeof value !== "number") return value;
  if (transform.startsWith("year(")) return String(1970 + value);
  if (transform.startsWith("month(")) {
    const month = String((((value % 12) + 12) % 12) + 1).padStart(2, "0");
    return `${1970 + Math.floor(value / 12)}-${month}`;
  }
  if (transform.startsWith("hour(")) {
    const at = new Date(value * HOUR_MS).toISOString();
    return `${at.slice(0, 10)} ${at.slice(11, 13)}:00 UTC`;
  }
  return value;
}

function ordered(a: Value, b: Value): number {
  if (a === b) return 0;
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a) < String(b) ? -1 : 1;
}

/** Rows of `$partitions` with a column for each field that the table is partitioned by, in order. */
export function byField(
  columns: readonly Column[],
  rows: readonly Row[],
  definition: string | null | undefined,
): Partitions {
  const at = columns.findIndex((one) => one.name === "partition");
  const fields = membersOf(columns[at]?.type ?? "");
  if (fields === null) return { columns: [...columns], rows: [...rows], by: [] };
  const transforms = transformsIn(definition);
  // A table whose partitioning was changed has fields of before, too: then only their names are known.
  const by = transforms.length === fields.length ? transforms : fields.map((one) => one.name);
  const spread = rows.map((row) => {
    const values = (row[at] ?? []) as Value[];
    return [
      ...by.map((transform, index) => partitionValue(values[index] ?? null, transform)),
      ...row.filter((_, index) => index !== at),
    ];
  });
  spread.sort((a, b) => {
    for (let index = 0; index < by.length; index += 1) {
      const order = ordered(a[index], b[index]);
      if (order !== 0) return order;
    }
    return 0;
  });
  return {
    by,
    rows: spread,
    columns: [
      ...fields.map(({ type }, index) => {
        const name = by[index] ?? "";
        const plain = NUMBER.test(type) && !/^(year|month|hour)\(/.test(name);
        return { name, type, kind: plain ? ("number" as const) : ("text" as const) };
      }),
      ...columns.filter((_, index) => index !== at),
    ],
  };
}
