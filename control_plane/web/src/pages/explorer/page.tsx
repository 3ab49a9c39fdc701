import { Database, Folder, Table2 } from "lucide-react";
import { Link, useParams } from "react-router";
import { useInfo } from "@/api/session";
import type { TableSummary } from "@/api/types";
import { type DataColumn, DataTable } from "@/components/datatable";
import { ProblemNote } from "@/components/problem";
import { TagList } from "@/components/tags";
import { Badge } from "@/components/ui/badge";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { plural } from "@/lib/format";
import { useWide } from "@/lib/hooks";
import { type TableTab, tablePath } from "@/lib/paths";
import { Page } from "@/shell/page";
import { useCatalogs, useNamespaces, useTables } from "./data";
import { TablePage } from "./table";
import { Tree } from "./tree";

export default function ExplorerPage() {
  const { catalog, namespace, table, tab } = useParams();
  const wide = useWide();
  const fallback = useInfo()?.default_catalog;
  return (
    <div className="flex h-full min-h-0">
      {wide && (
        <aside aria-label="Tables" className="w-64 shrink-0 overflow-y-auto border-r bg-sidebar">
          <Tree />
        </aside>
      )}
      <div className="min-w-0 flex-1 overflow-y-auto">
        {catalog && namespace && table ? (
          <TablePage
            key={`${catalog}.${namespace}.${table}`}
            catalog={catalog}
            namespace={namespace}
            table={table}
            tab={(tab as TableTab | undefined) ?? "columns"}
          />
        ) : catalog && namespace ? (
          <NamespacePage catalog={catalog} namespace={namespace} />
        ) : catalog || fallback ? (
          <CatalogPage catalog={catalog ?? fallback ?? ""} root={catalog === undefined} />
        ) : (
          <SkeletonRows />
        )}
      </div>
    </div>
  );
}

function CatalogPage({ catalog, root }: { catalog: string; root: boolean }) {
  const catalogs = useCatalogs();
  const namespaces = useNamespaces(catalog);
  const others = (catalogs.data ?? []).filter((one) => one.name !== catalog);
  return (
    <Page
      title={root ? "Explorer" : catalog}
      crumbs={root ? [] : [{ label: "Explorer", to: "/explorer" }]}
      description={`Namespaces of the catalog ${catalog} with tables that you may see.`}
    >
      {namespaces.error ? (
        <ProblemNote error={namespaces.error} onRetry={() => void namespaces.refetch()} />
      ) : namespaces.isPending ? (
        <SkeletonRows />
      ) : namespaces.data.length === 0 ? (
        <Empty icon={Database} title="There is nothing here that you may see">
          A data steward or a lab admin can grant one of your groups a table.
        </Empty>
      ) : (
        <ul className="grid gap-3 sm:grid-cols-2 xl:grid-cols-3">
          {namespaces.data.map((namespace) => (
            <li key={namespace.name}>
              <NamespaceCard catalog={catalog} name={namespace.name} tags={namespace.tags} />
            </li>
          ))}
        </ul>
      )}
      {others.length > 0 && (
        <p className="flex flex-wrap items-center gap-2 text-sm text-muted-foreground">
          Other catalogs:
          {others.map((one) => (
            <Link
              key={one.name}
              to={`/explorer/${encodeURIComponent(one.name)}`}
              className="text-primary hover:underline"
            >
              {one.name}
            </Link>
          ))}
        </p>
      )}
    </Page>
  );
}

function NamespaceCard({ catalog, name, tags }: { catalog: string; name: string; tags: string[] }) {
  const tables = useTables(catalog, name);
  return (
    <Link
      to={`/explorer/${encodeURIComponent(catalog)}/${encodeURIComponent(name)}`}
      className="flex h-full flex-col gap-1.5 rounded-lg border bg-card p-4 hover:border-border-strong hover:bg-accent/40"
    >
      <span className="flex items-center gap-2 font-medium">
        <Folder className="size-4 text-muted-foreground" aria-hidden />
        {name}
      </span>
      <span className="text-xs text-muted-foreground">
        {tables.data ? plural(tables.data.length, "table") : "…"}
      </span>
      <TagList tags={tags} />
    </Link>
  );
}

function NamespacePage({ catalog, namespace }: { catalog: string; namespace: string }) {
  const tables = useTables(catalog, namespace);
  const columns: DataColumn<TableSummary>[] = [
    {
      id: "name",
      header: "Table",
      value: (row) => row.name,
      cell: (row) => (
        <Link
          to={tablePath(catalog, namespace, row.name)}
          className="inline-flex items-center gap-2 py-0.5 font-medium text-primary hover:underline"
        >
          <Table2 className="size-3.5 text-muted-foreground" aria-hidden />
          {row.name}
        </Link>
      ),
    },
    {
      id: "type",
      header: "Kind",
      value: (row) => row.type,
      cell: (row) => <Badge>{row.type}</Badge>,
    },
    {
      id: "tags",
      header: "Tags",
      value: (row) => row.tags.join(" "),
      cell: (row) => <TagList tags={row.tags} />,
      from: "sm",
    },
    {
      id: "comment",
      header: "Comment",
      value: (row) => row.comment ?? "",
      cell: (row) => <span className="text-muted-foreground">{row.comment}</span>,
      from: "md",
    },
  ];
  return (
    <Page
      title={namespace}
      crumbs={[
        { label: "Explorer", to: "/explorer" },
        { label: catalog, to: `/explorer/${encodeURIComponent(catalog)}` },
      ]}
      description="Tables that you may see."
    >
      {tables.error ? (
        <ProblemNote error={tables.error} onRetry={() => void tables.refetch()} />
      ) : tables.isPending ? (
        <SkeletonRows />
      ) : (
        <DataTable
          label={`Tables of ${namespace}`}
          rows={tables.data}
          columns={columns}
          rowKey={(row) => row.name}
          filterLabel="Filter tables"
          noun="table"
          empty={<Empty icon={Table2} title="No table that you may see" />}
        />
      )}
    </Page>
  );
}
