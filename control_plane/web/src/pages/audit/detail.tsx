import { Check, X } from "lucide-react";
import type { ReactNode } from "react";
import { Link } from "react-router";
import { useInfo, useMay } from "@/api/session";
import type { AuditLine } from "@/api/types";
import { Badge } from "@/components/ui/badge";
import { bytes, count, instant, plural } from "@/lib/format";
import { governedTablePath } from "@/lib/paths";

/** One query with its tables, the rules that were applied and OPA's decisions. */
export function LineDetail({ line }: { line: AuditLine }) {
  const catalog = useInfo()?.default_catalog ?? "";
  const mayRead = useMay("read_access");
  return (
    <div className="flex flex-col gap-4 border-t bg-background px-4 py-3 md:pl-11">
      <pre
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
        tabIndex={0}
        className="max-h-60 overflow-auto rounded-md border bg-card p-3 font-mono text-xs whitespace-pre-wrap break-words"
      >
        {line.statement || "The statement's text is not shown to you."}
      </pre>
      {line.message && (
        <p className="text-sm text-destructive">
          {line.error}: {line.message}
        </p>
      )}
      {line.tables.length > 0 && (
        <Block title="What it read">
          <ul className="flex flex-col gap-2">
            {line.tables.map((table) => (
              <li key={`${table.table} ${table.as_user ?? ""}`} className="text-sm">
                <span className="flex flex-wrap items-center gap-1.5">
                  <Link
                    to={governedTablePath(catalog, table.table, "access")}
                    className="font-mono text-xs font-medium text-primary hover:underline"
                  >
                    {table.table}
                  </Link>
                  {table.as_user && <Badge tone="outline">as {table.as_user}</Badge>}
                  {table.rules.map((rule) =>
                    mayRead && rule !== "?" ? (
                      <Link key={rule} to={`/governance/rules/${encodeURIComponent(rule)}`}>
                        <Badge tone="warning" className="hover:underline">
                          {rule}
                        </Badge>
                      </Link>
                    ) : (
                      <Badge key={rule} tone="warning">
                        {rule === "?" ? "a rule that is not known any more" : rule}
                      </Badge>
                    ),
                  )}
                </span>
                <span className="mt-0.5 flex flex-wrap gap-x-2 font-mono text-2xs text-muted-foreground">
                  {table.columns.map((column) => (
                    <span
                      key={column}
                      className={table.masked.includes(column) ? "text-warning" : ""}
                    >
                      {column}
                      {table.masked.includes(column) && " (masked)"}
                    </span>
                  ))}
                </span>
              </li>
            ))}
          </ul>
        </Block>
      )}
      {line.refused.length > 0 && (
        <Block title="What was refused">
          <ul className="list-disc pl-5 text-sm">
            {line.refused.map((one) => (
              <li key={one}>{one}</li>
            ))}
          </ul>
        </Block>
      )}
      <Block title="How it ran">
        <dl className="grid gap-x-6 gap-y-1 text-xs sm:grid-cols-2 lg:grid-cols-3">
          <Fact name="Query">
            <span className="font-mono">{line.query_id}</span>
          </Fact>
          <Fact name="Groups">{line.groups.join(", ") || "none"}</Fact>
          <Fact name="From">{[line.source, line.client].filter(Boolean).join(", ") || "–"}</Fact>
          <Fact name="Rows">{`${count(line.rows)} given out, ${count(line.read_rows)} read`}</Fact>
          <Fact name="Data">{bytes(line.bytes)}</Fact>
          <Fact name="Wrote">{line.written ?? "nothing"}</Fact>
          <Fact name="Access data">
            {line.revisions.length === 0
              ? "–"
              : line.revisions.map((revision, index) => (
                  <span key={revision}>
                    {index > 0 && ", "}
                    {mayRead ? (
                      <Link
                        to={`/governance/history/${revision}`}
                        className="text-primary hover:underline"
                      >
                        revision {revision}
                      </Link>
                    ) : (
                      `revision ${revision}`
                    )}
                  </span>
                ))}
          </Fact>
        </dl>
      </Block>
      {line.decisions.length > 0 && (
        <details>
          <summary className="min-h-6 text-xs font-medium">
            {plural(line.decisions.length, "decision")} of OPA
          </summary>
          <ul className="mt-2 flex flex-col gap-1">
            {line.decisions.map((one) => (
              <li key={one.id} className="flex flex-wrap items-center gap-2 text-xs">
                {one.allowed === false ? (
                  <X className="size-3.5 text-destructive" aria-label="refused" />
                ) : (
                  <Check className="size-3.5 text-success" aria-label="allowed" />
                )}
                <span className="font-medium">{one.operation}</span>
                <span className="font-mono">{one.object}</span>
                <span className="text-muted-foreground">
                  {instant(one.at)}, {one.id}
                </span>
                {one.shared_with.length > 0 && <Badge tone="outline">or of another query</Badge>}
              </li>
            ))}
          </ul>
        </details>
      )}
      {line.notes.map((note) => (
        <p key={note} className="text-xs text-warning">
          {note}
        </p>
      ))}
    </div>
  );
}

function Block({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section>
      <h3 className="mb-1 text-xs font-medium text-muted-foreground">{title}</h3>
      {children}
    </section>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className="flex gap-2">
      <dt className="w-20 shrink-0 text-muted-foreground">{name}</dt>
      <dd className="min-w-0 break-all">{children}</dd>
    </div>
  );
}
