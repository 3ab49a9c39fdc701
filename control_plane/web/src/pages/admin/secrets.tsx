import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { api, unwrap } from "@/api/client";
import { DataTable } from "@/components/datatable";
import { ProblemNote } from "@/components/problem";
import { SkeletonRows } from "@/components/ui/feedback";
import { EndSessions } from "./sessions";

const EFFECTS: { command: string; effect: ReactNode }[] = [
  {
    command: "lab rotate people",
    effect: (
      <>
        Sample users are signed out everywhere; <Command>lab credentials</Command> has the new
        passwords. No service is started again. Permissions to run jobs stay: each user takes theirs
        back on the page of jobs.
      </>
    ),
  },
  {
    command: "lab rotate keys",
    effect: "The services that hold one start again. Until they have, queries may fail.",
  },
];

/** For when one was lost or seen: what ends sessions, and what makes secrets anew. */
export function SecretsPanel() {
  return (
    <div className="flex flex-col gap-6">
      <EndSessions />
      <Secrets />
    </div>
  );
}

/** What secrets there are and what makes them anew. The console knows none of them but its own. */
function Secrets() {
  const secrets = useQuery({
    queryKey: ["secrets"],
    queryFn: () => unwrap(api.GET("/api/v1/admin/secrets")),
    staleTime: Number.POSITIVE_INFINITY,
  });
  return (
    <section className="flex flex-col gap-3">
      <h2 className="text-sm font-semibold">Secrets</h2>
      <p className="max-w-prose text-sm text-muted-foreground">
        The console can neither show nor change the lab's passwords and keys: these commands do,
        where the lab was brought up. Each makes all of its kind anew, and whatever fails in
        between, the next <Command>lab up</Command> goes on with it. Nothing here says when that was
        last done: whoever brought the lab up sees how often, as <Command>peopleRotation</Command>{" "}
        and <Command>keysRotation</Command> of its settings.
      </p>
      <dl className="grid max-w-prose gap-2 text-sm">
        {EFFECTS.map(({ command, effect }) => (
          <div key={command} className="flex flex-col gap-0.5">
            <dt>
              <Command>{command}</Command>
            </dt>
            <dd className="text-muted-foreground">{effect}</dd>
          </div>
        ))}
      </dl>
      {secrets.error ? (
        <ProblemNote error={secrets.error} onRetry={() => void secrets.refetch()} />
      ) : secrets.isPending ? (
        <SkeletonRows />
      ) : (
        <DataTable
          label="Secrets"
          rows={secrets.data}
          rowKey={(row) => row.title}
          columns={[
            {
              id: "title",
              header: "What it is",
              value: (row) => row.title,
              cell: (row) => row.title,
            },
            {
              id: "command",
              header: "Made anew by",
              value: (row) => row.command ?? "",
              cell: (row) =>
                row.command ? (
                  <Command>{row.command}</Command>
                ) : (
                  <span className="text-muted-foreground">nothing: {row.stays}</span>
                ),
            },
            {
              id: "services",
              header: "Services that hold it",
              value: (row) => row.services.join(" "),
              cell: (row) =>
                row.services.length > 0 ? (
                  <span className="font-mono text-xs">{row.services.join(", ")}</span>
                ) : (
                  <span className="text-muted-foreground">no service</span>
                ),
              from: "md",
            },
          ]}
        />
      )}
    </section>
  );
}

function Command({ children }: { children: string }) {
  return <code className="font-mono whitespace-nowrap text-foreground">{children}</code>;
}
