import { ArrowRight, CircleCheck, Eye, EyeOff, TriangleAlert } from "lucide-react";
import type { Impact, TableImpact } from "@/api/types";
import { DataTable } from "@/components/datatable";
import { Badge } from "@/components/ui/badge";
import { Empty } from "@/components/ui/feedback";
import { count, plural } from "@/lib/format";

type RowImpact = NonNullable<TableImpact["rows"]>;

/** What a change means for readers: rows, columns and privileges that they gain and lose. */
export function ImpactReport({ impact }: { impact: Impact }) {
  const { report } = impact;
  return (
    <div className="flex flex-col gap-3 px-4 pb-4">
      <p className="flex flex-wrap items-center gap-2 text-sm">
        {impact.widens && (
          <Badge tone="warning">
            <Eye aria-hidden />
            somebody sees more
          </Badge>
        )}
        {impact.narrows && (
          <Badge tone="primary">
            <EyeOff aria-hidden />
            somebody sees less
          </Badge>
        )}
        {!impact.widens && !impact.narrows && (
          <Badge tone="success">
            <CircleCheck aria-hidden />
            nobody sees anything else
          </Badge>
        )}
        <span className="text-xs text-muted-foreground">
          {plural(report.readers.length, "reader")} and {plural(report.tables_compared, "table")}{" "}
          compared
          {report.counted ? ", rows counted" : ", rows not counted"}
        </span>
      </p>
      {report.notes.map((note) => (
        <p key={note} className="flex items-center gap-1.5 text-xs text-muted-foreground">
          <TriangleAlert className="size-3.5" aria-hidden />
          {note}
        </p>
      ))}
      {report.impacts.length > 0 && (
        <DataTable
          label="Impact by reader and table"
          rows={report.impacts}
          rowKey={(row) => `${row.username} ${row.table}`}
          empty={<Empty title="No difference" />}
          columns={[
            {
              id: "who",
              header: "Reader",
              value: (row) => row.username,
              cell: (row) => <span className="font-medium">{row.username}</span>,
            },
            {
              id: "table",
              header: "Table",
              value: (row) => row.table,
              cell: (row) => <span className="font-mono text-xs">{row.table}</span>,
            },
            {
              id: "rows",
              header: "Rows",
              value: (row) => row.rows?.gained ?? 0,
              cell: (row) => <Rows impact={row} />,
            },
            { id: "columns", header: "Columns", cell: (row) => <Columns impact={row} /> },
            {
              id: "privileges",
              header: "Privileges",
              cell: (row) => (
                <span className="flex flex-wrap gap-1">
                  {row.privileges_gained.map((one) => (
                    <Badge key={one} tone="warning">
                      + {one}
                    </Badge>
                  ))}
                  {row.privileges_lost.map((one) => (
                    <Badge key={one}>− {one}</Badge>
                  ))}
                </span>
              ),
              from: "md",
            },
          ]}
        />
      )}
    </div>
  );
}

function Rows({ impact }: { impact: TableImpact }) {
  const rows: RowImpact | null = impact.rows;
  if (rows === null) {
    return (
      <span className="text-muted-foreground">
        {impact.filter_before === impact.filter_after ? "the same" : "another filter, not counted"}
      </span>
    );
  }
  if (rows.error) return <span className="text-destructive">{rows.error}</span>;
  // Where no filter differs, rows are not counted: whoever sees them sees the same ones.
  if (impact.filter_before === impact.filter_after && rows.gained === 0 && rows.lost === 0) {
    return <span className="text-muted-foreground">the same</span>;
  }
  return (
    <span className="flex items-center gap-1.5 tabular whitespace-nowrap">
      {count(rows.before)}
      <ArrowRight className="size-3 text-muted-foreground" aria-label="then" />
      {count(rows.after)}
      {rows.gained > 0 && <Badge tone="warning">+ {count(rows.gained)}</Badge>}
      {rows.lost > 0 && <Badge>− {count(rows.lost)}</Badge>}
      {impact.approximate && <span className="text-xs text-muted-foreground">about</span>}
    </span>
  );
}

function Columns({ impact }: { impact: TableImpact }) {
  if (impact.columns.length === 0) return <span className="text-muted-foreground">the same</span>;
  return (
    <ul className="flex flex-col gap-0.5">
      {impact.columns.map((column) => (
        <li key={column.column} className="flex flex-wrap items-center gap-1.5 text-xs">
          <span className="font-mono">{column.column}</span>
          <Badge>{column.before}</Badge>
          <ArrowRight className="size-3 text-muted-foreground" aria-label="then" />
          <Badge tone={column.gained ? "warning" : "primary"}>{column.after}</Badge>
        </li>
      ))}
    </ul>
  );
}
