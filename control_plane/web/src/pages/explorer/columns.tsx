import { EyeOff, Funnel } from "lucide-react";
import { useEffect } from "react";
import { Link, useLocation } from "react-router";
import { useMay } from "@/api/session";
import type { TableColumn, TableDetail } from "@/api/types";
import { type DataColumn, DataTable } from "@/components/datatable";
import { LookBadge, ObjectName, TagList } from "@/components/tags";
import { Badge } from "@/components/ui/badge";
import { plural } from "@/lib/format";
import { tablePath } from "@/lib/paths";

/** Columns with what is done to them for the reader. */
export function ColumnsTab({ detail }: { detail: TableDetail }) {
  const { hash } = useLocation();
  const mayRead = useMay("read_access");
  const wanted = decodeURIComponent(hash.slice(1));
  useEffect(() => {
    if (wanted) document.getElementById(`column-${wanted}`)?.scrollIntoView({ block: "center" });
  }, [wanted]);
  const columns: DataColumn<TableColumn>[] = [
    {
      id: "name",
      header: "Column",
      value: (row) => row.name,
      cell: (row) => (
        <span id={`column-${row.name}`}>
          <ObjectName name={row.name} className="font-medium" />
        </span>
      ),
    },
    {
      id: "type",
      header: "Type",
      value: (row) => row.type,
      cell: (row) => (
        <span className="font-mono text-xs text-muted-foreground">
          {row.type}
          {!row.nullable && " not null"}
        </span>
      ),
    },
    {
      id: "look",
      header: "You see",
      value: (row) => row.look,
      cell: (row) => <LookBadge look={row.look} mask={row.mask} />,
    },
    {
      id: "tags",
      header: "Tags",
      value: (row) => row.tags.join(" "),
      cell: (row) => <TagList tags={row.tags} />,
      from: "sm",
    },
    {
      id: "rules",
      header: "Rules",
      value: (row) => row.rules.join(" "),
      cell: (row) => (
        <span className="flex flex-wrap gap-1">
          {row.rules.map((rule) =>
            mayRead ? (
              <Link
                key={rule}
                to={`/governance/rules/${encodeURIComponent(rule)}`}
                className="text-xs text-primary hover:underline"
              >
                {rule}
              </Link>
            ) : (
              <span key={rule} className="text-xs text-muted-foreground">
                {rule}
              </span>
            ),
          )}
        </span>
      ),
      from: "md",
    },
    {
      id: "comment",
      header: "Comment",
      value: (row) => row.comment ?? "",
      cell: (row) => <span className="text-muted-foreground">{row.comment}</span>,
      from: "lg",
    },
  ];
  return (
    <div className="flex flex-col gap-3">
      {(detail.row_filters.length > 0 || detail.hidden_columns > 0) && (
        <div className="flex flex-wrap items-center gap-x-4 gap-y-1.5 rounded-lg border bg-card px-4 py-2.5 text-sm">
          {detail.row_filters.length > 0 && (
            <span className="inline-flex flex-wrap items-center gap-1.5">
              <Funnel className="size-3.5 text-warning" aria-hidden />
              You see only rows that pass
              {detail.row_filters.map((rule) => (
                <Badge key={rule} tone="warning">
                  {rule}
                </Badge>
              ))}
            </span>
          )}
          {detail.hidden_columns > 0 && (
            <span className="inline-flex items-center gap-1.5">
              <EyeOff className="size-3.5 text-destructive" aria-hidden />
              {plural(detail.hidden_columns, "column")} hidden from you
            </span>
          )}
          <Link
            to={tablePath(detail.catalog, detail.namespace, detail.name, "access")}
            className="ml-auto text-primary hover:underline"
          >
            Why do I see this?
          </Link>
        </div>
      )}
      <DataTable
        label="Columns"
        rows={detail.columns}
        columns={columns}
        rowKey={(row) => row.name}
        filterLabel="Filter columns"
        noun="column"
        rowClassName={(row) => (row.name === wanted ? "bg-primary-soft" : undefined)}
      />
    </div>
  );
}
