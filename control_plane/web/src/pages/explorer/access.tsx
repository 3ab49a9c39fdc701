import { useQuery } from "@tanstack/react-query";
import { Check, KeyRound, Lock, ShieldAlert } from "lucide-react";
import type { ReactNode } from "react";
import { Link, useSearchParams } from "react-router";
import { api, unwrap } from "@/api/client";
import { useMay, useMe } from "@/api/session";
import type { Explanation, TableReaders } from "@/api/types";
import { DataTable } from "@/components/datatable";
import { ProblemNote } from "@/components/problem";
import { LookBadge } from "@/components/tags";
import { Badge } from "@/components/ui/badge";
import { Card, CardHeader } from "@/components/ui/card";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { Field, Select } from "@/components/ui/input";
import { instant, plural } from "@/lib/format";
import { type TableRef, useAccess, useReaders } from "./data";

/** Why somebody sees a table as they do, and who else may read it. */
export function AccessTab({ tableRef }: { tableRef: TableRef }) {
  const me = useMe();
  const mayAsk = useMay("read_access");
  const [search, setSearch] = useSearchParams();
  const user = search.get("user");
  const access = useAccess(tableRef, user);
  const readers = useReaders(tableRef);
  return (
    <div className="flex flex-col gap-4">
      {mayAsk && (
        <WhoField
          value={user ?? me.username}
          onChange={(name) =>
            setSearch(name === me.username ? {} : { user: name }, { replace: true })
          }
        />
      )}
      {access.error ? (
        <ProblemNote error={access.error} onRetry={() => void access.refetch()} />
      ) : access.isPending ? (
        <SkeletonRows />
      ) : (
        <Why explanation={access.data} self={user === null || user === me.username} />
      )}
      <Card>
        <CardHeader
          title="Who may read this table"
          description={
            readers.data && !readers.data.complete
              ? "Only your own groups are shown to you."
              : undefined
          }
        />
        {readers.error ? (
          <ProblemNote
            error={readers.error}
            className="mx-4 mb-4"
            onRetry={() => void readers.refetch()}
          />
        ) : readers.isPending ? (
          <SkeletonRows rows={4} />
        ) : (
          <Readers readers={readers.data} />
        )}
      </Card>
    </div>
  );
}

function WhoField({ value, onChange }: { value: string; onChange: (user: string) => void }) {
  const personas = useQuery({
    queryKey: ["personas"],
    queryFn: () => unwrap(api.GET("/api/v1/admin/personas")),
    staleTime: 300_000,
  });
  const people = useQuery({
    queryKey: ["people"],
    queryFn: () => unwrap(api.GET("/api/v1/people")),
    staleTime: 300_000,
  });
  const names = new Set([
    value,
    ...(personas.data ?? []).map((one) => one.username),
    ...(people.data?.groups ?? []).flatMap((one) => one.members ?? []),
  ]);
  return (
    <Field label="As seen by" className="w-64">
      {(props) => (
        <Select {...props} value={value} onChange={(event) => onChange(event.target.value)}>
          {[...names].sort().map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </Select>
      )}
    </Field>
  );
}

function Step({ title, children }: { title: string; children: ReactNode }) {
  return (
    <li className="grid gap-x-6 gap-y-1 border-t px-4 py-3 md:grid-cols-[11rem_1fr]">
      <h3 className="text-sm font-medium">{title}</h3>
      <div className="min-w-0 text-sm">{children}</div>
    </li>
  );
}

function RuleName({ id }: { id: string }) {
  const mayRead = useMay("read_access");
  return mayRead ? (
    <Link
      to={`/governance/rules/${encodeURIComponent(id)}`}
      className="inline-block min-h-6 py-0.5 font-medium text-primary hover:underline"
    >
      {id}
    </Link>
  ) : (
    <span className="font-medium">{id}</span>
  );
}

/** From grants over row filters to columns, in the order in which they are applied. */
function Why({ explanation, self }: { explanation: Explanation; self: boolean }) {
  const { view, username } = explanation;
  const who = self ? "you" : username;
  const changed = view.columns.filter((column) => column.visibility !== "plain");
  return (
    <Card aria-label="Why it is seen like this">
      <CardHeader
        title={self ? "Why do I see this?" : `Why does ${username} see this?`}
        description={`By revision ${explanation.revision} of the access data${
          explanation.published === explanation.revision
            ? ", which is published"
            : ", not published yet"
        }.`}
        actions={
          explanation.readable ? (
            <Badge tone="success">
              <Check aria-hidden />
              may read
            </Badge>
          ) : (
            <Badge tone="danger">
              <Lock aria-hidden />
              may not read
            </Badge>
          )
        }
      />
      <ol>
        <Step title="1. Groups">
          {explanation.groups.length === 0 ? (
            <span className="text-muted-foreground">in no group</span>
          ) : (
            <span className="flex flex-wrap gap-1">
              {explanation.groups.map((group) => (
                <Badge key={group} tone="primary">
                  {group}
                </Badge>
              ))}
            </span>
          )}
        </Step>
        <Step title="2. Grants">
          {view.grants.length === 0 ? (
            <span className="text-muted-foreground">
              Nothing grants {self ? "you" : username} this table, so it stays closed.
            </span>
          ) : (
            <ul className="flex flex-col gap-1">
              {view.grants.map((use) => (
                <li
                  key={`${use.privilege} ${use.by}`}
                  className="flex flex-wrap items-center gap-2"
                >
                  <KeyRound className="size-3.5 text-muted-foreground" aria-hidden />
                  <span className="font-medium">{use.privilege}</span>
                  <span className="text-muted-foreground">by {use.by}</span>
                </li>
              ))}
            </ul>
          )}
        </Step>
        <Step title="3. Rows">
          {view.filters.length === 0 ? (
            <span className="text-muted-foreground">No row filter: every row.</span>
          ) : (
            <ul className="flex flex-col gap-2">
              {view.filters.map((use) => (
                <li key={use.rule}>
                  <p>
                    <RuleName id={use.rule} /> lets through only rows where
                    {use.identity && (
                      <span className="text-muted-foreground"> (read as {use.identity})</span>
                    )}
                  </p>
                  <code className="mt-1 block rounded-md border bg-muted px-2.5 py-1.5 font-mono text-xs break-words whitespace-pre-wrap">
                    {use.predicate}
                  </code>
                </li>
              ))}
            </ul>
          )}
        </Step>
        <Step title="4. Columns">
          {changed.length === 0 && explanation.denied === 0 ? (
            <span className="text-muted-foreground">Every column as it is.</span>
          ) : (
            <ul className="flex flex-col gap-1.5">
              {changed.map((column) => (
                <li key={column.column} className="flex flex-wrap items-center gap-2">
                  <span className="font-mono text-xs">{column.column}</span>
                  <LookBadge
                    look={column.visibility === "denied" ? "denied" : "masked"}
                    mask={column.mask}
                  />
                  <span className="text-muted-foreground">
                    by{" "}
                    {column.rules.map((rule, index) => (
                      <span key={rule}>
                        {index > 0 && ", "}
                        <RuleName id={rule} />
                      </span>
                    ))}
                  </span>
                </li>
              ))}
              {explanation.denied > changed.filter((one) => one.visibility === "denied").length && (
                <li className="text-muted-foreground">
                  {plural(explanation.denied, "column")} hidden from {self ? "you" : username}.
                </li>
              )}
            </ul>
          )}
        </Step>
        {view.exemptions.length > 0 && (
          <Step title="5. Does not hold">
            <ul className="flex flex-col gap-1">
              {view.exemptions.map((one) => (
                <li key={`${one.rule} ${one.by}`}>
                  <RuleName id={one.rule} />{" "}
                  <span className="text-muted-foreground">
                    since {who} {self ? "are" : "is"} exempt by {one.by}
                  </span>
                </li>
              ))}
            </ul>
          </Step>
        )}
      </ol>
    </Card>
  );
}

function Readers({ readers }: { readers: TableReaders }) {
  return (
    <div className="flex flex-col gap-3 px-4 pb-4">
      <DataTable
        label="Groups that may read this table"
        rows={readers.groups}
        rowKey={(row) => row.group}
        empty={<Empty icon={Lock} title="No group may read it" />}
        columns={[
          {
            id: "group",
            header: "Group",
            value: (row) => row.group,
            cell: (row) => <span className="font-medium">{row.group}</span>,
          },
          {
            id: "privileges",
            header: "May",
            value: (row) => row.privileges.join(" "),
            cell: (row) => (
              <span className="flex flex-wrap gap-1">
                {row.privileges.map((one) => (
                  <Badge key={one}>{one}</Badge>
                ))}
              </span>
            ),
          },
          {
            id: "by",
            header: "By",
            value: (row) => row.by.join(" "),
            cell: (row) => <span className="text-muted-foreground">{row.by.join("; ")}</span>,
            from: "sm",
          },
          {
            id: "rules",
            header: "Rules that hold for it",
            value: (row) => row.rules.join(" "),
            cell: (row) => (
              <span className="flex flex-wrap gap-x-2">
                {row.rules.length === 0 ? (
                  <span className="text-muted-foreground">none</span>
                ) : (
                  row.rules.map((rule) => <RuleName key={rule} id={rule} />)
                )}
              </span>
            ),
            from: "md",
          },
        ]}
      />
      {readers.exceptions.map((one) => (
        <p
          key={one.id}
          className="flex flex-wrap items-center gap-2 rounded-md bg-warning-soft px-3 py-2 text-sm"
        >
          <ShieldAlert className="size-4 text-warning" aria-hidden />
          <span>
            <strong className="font-medium">{one.user}</strong> by exception until{" "}
            {instant(one.expires_at)}
            {one.lifts.length > 0 && `, without ${one.lifts.join(", ")}`}: {one.reason}
          </span>
        </p>
      ))}
    </div>
  );
}
