import type { ReactNode } from "react";

const ROTATIONS: { command: string; what: string; effect: ReactNode }[] = [
  {
    command: "lab rotate people",
    what: "Passwords of the sample users",
    effect: (
      <>
        They are signed out everywhere; <Command>lab credentials</Command> has the new ones. No
        service is started again. Permissions to run jobs stay: each user takes theirs back on the
        page of jobs.
      </>
    ),
  },
  {
    command: "lab rotate keys",
    what: "Secrets of clients, databases, the object store and between services; signing keys of bundles and of the catalog’s tokens",
    effect: "Services start again with them. Until they have, queries may fail.",
  },
];

/** What makes secrets anew. The console knows none of them, so that it can only say how. */
export function Secrets() {
  return (
    <section className="flex flex-col gap-2">
      <h2 className="text-sm font-semibold">Secrets</h2>
      <p className="max-w-prose text-sm text-muted-foreground">
        The console holds neither passwords nor keys of the lab, and changes none: these commands
        do, where the lab was brought up. Whatever fails in between, the next{" "}
        <Command>lab up</Command> goes on with it.
      </p>
      <dl className="grid max-w-prose gap-3 text-sm">
        {ROTATIONS.map(({ command, what, effect }) => (
          <div key={command} className="flex flex-col gap-0.5">
            <dt>
              <Command>{command}</Command>
            </dt>
            <dd>{what}.</dd>
            <dd className="text-muted-foreground">{effect}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function Command({ children }: { children: string }) {
  return <code className="font-mono whitespace-nowrap text-foreground">{children}</code>;
}
