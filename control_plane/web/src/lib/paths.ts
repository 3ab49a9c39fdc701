/** Addresses of pages. Names may hold anything, so every part is encoded. */

export type TableTab =
  | "columns"
  | "sample"
  | "access"
  | "snapshots"
  | "files"
  | "lineage"
  | "definition";

export function tablePath(
  catalog: string,
  namespace: string,
  table: string,
  tab?: TableTab,
): string {
  const parts = [catalog, namespace, table].map(encodeURIComponent);
  return `/explorer/${parts.join("/")}${tab && tab !== "columns" ? `/${tab}` : ""}`;
}

/** A path of a `ns.table` as access data and audit have it. */
export function governedTablePath(catalog: string, name: string, tab?: TableTab): string {
  const [namespace, table] = splitTable(name);
  return tablePath(catalog, namespace, table, tab);
}

/** `catalog.ns.table` or `ns.table` → its namespace and table. */
export function splitTable(name: string): [string, string] {
  const parts = name.split(".");
  return [parts.at(-2) ?? "", parts.at(-1) ?? ""];
}

export function worksheetPath(sql: string, catalog?: string, namespace?: string): string {
  const search = new URLSearchParams({ sql });
  if (catalog) search.set("catalog", catalog);
  if (namespace) search.set("namespace", namespace);
  return `/worksheet?${search}`;
}

/** The path of the page itself, for coming back to it. */
export function here(): string {
  return window.location.pathname + window.location.search + window.location.hash;
}
