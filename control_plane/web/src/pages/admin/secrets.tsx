/** What makes secrets anew. The console knows none of them, so that it can only say how. */
export function Secrets() {
  return (
    <section className="flex flex-col gap-2">
      <h2 className="text-sm font-semibold">Secrets</h2>
      <p className="max-w-prose text-sm text-muted-foreground">
        The console holds neither passwords nor keys of the lab, and changes none. Where the lab was
        brought up, <Command>lab rotate people</Command> gives the sample users new passwords and
        signs them out, and <Command>lab rotate keys</Command> gives the services new secrets and
        starts them again.
      </p>
    </section>
  );
}

function Command({ children }: { children: string }) {
  return <code className="font-mono whitespace-nowrap text-foreground">{children}</code>;
}
