import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense } from "react";
import { api, unwrap } from "@/api/client";
import { useInfo } from "@/api/session";
import type { SaveJob } from "@/api/types";
import { Card, CardHeader } from "@/components/ui/card";
import { Spinner } from "@/components/ui/feedback";
import { Field, Input, Select, Textarea } from "@/components/ui/input";
import { Parameters } from "@/pages/worksheet/parameters";
import type { ParameterValue } from "@/query/parametervalues";
import { toLines } from "./data";

const Editor = lazy(() => import("@/pages/worksheet/editor"));

type Work = SaveJob["work"];
const NOTHING = { run: () => {}, format: () => {}, save: () => {}, cancel: () => {} };

/** What a job does: statements for Trino, or a program for Spark. */
export function WorkFields({
  work,
  onChange,
  values,
  onValue,
}: {
  work: Work;
  onChange: (work: Work) => void;
  values: Readonly<Record<string, ParameterValue>>;
  onValue: (name: string, value: ParameterValue) => void;
}) {
  const info = useInfo();
  const withoutSpark = info !== undefined && !info.services.includes("spark");
  const named = Object.keys(values).length > 0;
  return (
    <Card>
      <CardHeader
        title="What it does"
        description="Names such as :since are parameters; :scheduled_date and :scheduled_at are the time that a run is for."
        actions={
          <Select
            aria-label="Kind"
            className="w-auto"
            value={work.kind}
            onChange={(event) =>
              onChange(
                event.target.value === "sql"
                  ? {
                      kind: "sql",
                      statement: "",
                      catalog: info?.default_catalog ?? null,
                      namespace: null,
                    }
                  : { kind: "spark", source: "", arguments: [], modules: {} },
              )
            }
          >
            <option value="sql">SQL for Trino</option>
            <option value="spark">Python for Spark</option>
          </Select>
        }
      />
      {work.kind === "spark" && withoutSpark && (
        <p className="border-t px-4 py-2 text-sm text-warning">
          This lab runs without Spark, so that runs fail until <code>lab up spark</code> has brought
          it up.
        </p>
      )}
      {work.kind === "sql" ? (
        <Sql work={work} onChange={onChange} />
      ) : (
        <Spark work={work} onChange={onChange} />
      )}
      {named && <Parameters values={values} onChange={onValue} />}
    </Card>
  );
}

function Sql({
  work,
  onChange,
}: {
  work: Extract<Work, { kind?: "sql" }>;
  onChange: (work: Work) => void;
}) {
  const completion = useQuery({
    queryKey: ["completion"],
    queryFn: () => unwrap(api.GET("/api/v1/sql/completion")),
    staleTime: 60_000,
  });
  return (
    <>
      <div className="h-64 border-t">
        <Suspense
          fallback={
            <div className="p-4">
              <Spinner />
            </div>
          }
        >
          <Editor
            documentKey="job"
            text={work.statement}
            onChange={(statement) => onChange({ ...work, statement })}
            commands={NOTHING}
            completion={completion.data}
            namespace={work.namespace ?? null}
            marks={[]}
          />
        </Suspense>
      </div>
      <div className="grid gap-3 border-t p-4 sm:grid-cols-2">
        <Field label="Catalog">
          {(props) => (
            <Input
              {...props}
              className="font-mono"
              value={work.catalog ?? ""}
              onChange={(event) => onChange({ ...work, catalog: event.target.value || null })}
            />
          )}
        </Field>
        <Field label="Namespace" hint="Where names without one are looked for">
          {(props) => (
            <Input
              {...props}
              className="font-mono"
              value={work.namespace ?? ""}
              onChange={(event) => onChange({ ...work, namespace: event.target.value || null })}
            />
          )}
        </Field>
      </div>
    </>
  );
}

function Spark({
  work,
  onChange,
}: {
  work: Extract<Work, { kind?: "spark" }>;
  onChange: (work: Work) => void;
}) {
  return (
    <div className="flex flex-col gap-3 border-t p-4">
      <Field label="Program" hint="Python; what it prints is the run’s log, for you alone.">
        {(props) => (
          <Textarea
            {...props}
            className="min-h-64 font-mono text-xs md:text-xs"
            spellCheck={false}
            value={work.source}
            onChange={(event) => onChange({ ...work, source: event.target.value })}
          />
        )}
      </Field>
      <Field label="Arguments" hint="One a line; :name stands for that parameter’s value.">
        {(props) => (
          <Textarea
            {...props}
            className="font-mono text-xs md:text-xs"
            spellCheck={false}
            defaultValue={(work.arguments ?? []).join("\n")}
            onChange={(event) => onChange({ ...work, arguments: toLines(event.target.value) })}
          />
        )}
      </Field>
    </div>
  );
}
