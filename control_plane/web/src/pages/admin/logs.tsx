import { useQuery } from "@tanstack/react-query";
import { ScrollText } from "lucide-react";
import { useEffect, useMemo, useRef, useState } from "react";
import { useSearchParams } from "react-router";
import { again } from "@/api/again";
import { api, unwrap } from "@/api/client";
import { asProblem, mayPass } from "@/api/problem";
import { ProblemNote } from "@/components/problem";
import { Empty, SkeletonRows, Spinner } from "@/components/ui/feedback";
import { Field, Input, Select } from "@/components/ui/input";
import { Switch } from "@/components/ui/switch";
import { ago, bytes, count } from "@/lib/format";
import { useNow } from "@/lib/hooks";
import { appended, EMPTY_LOG, type LogText, matchingLines } from "./logtext";

const EVERY_MS = 2000;

/** The services' own words, as they write them. */
export function LogsPanel() {
  const [search, setSearch] = useSearchParams();
  const now = useNow(10_000);
  const logs = useQuery({
    queryKey: ["logs"],
    queryFn: () => unwrap(api.GET("/api/v1/admin/logs")),
    refetchInterval: (query) => again(query, 30_000),
  });
  if (logs.error && logs.data === undefined) {
    const { facts } = asProblem(logs.error);
    if (facts.status !== 404) {
      return <ProblemNote error={logs.error} onRetry={() => void logs.refetch()} />;
    }
    return (
      <Empty icon={ScrollText} title={facts.title} className="rounded-lg border bg-card">
        <p>The command reads them there:</p>
        <code className="mt-2 inline-block rounded-md bg-secondary px-2 py-1 font-mono text-foreground">
          {facts.next_command ?? "lab logs SERVICE"}
        </code>
      </Empty>
    );
  }
  if (logs.data === undefined) return <SkeletonRows />;
  const asked = search.get("service");
  const chosen = logs.data.find((one) => one.service === asked) ?? logs.data[0];
  if (chosen === undefined) {
    return <Empty icon={ScrollText} title="No service has written anything yet" />;
  }
  return (
    <div className="flex min-w-0 flex-col gap-3">
      <Field label="Service" className="max-w-72">
        {(props) => (
          <Select
            {...props}
            value={chosen.service}
            onChange={(event) => setSearch({ service: event.target.value }, { replace: true })}
          >
            {logs.data.map((one) => (
              <option key={one.service} value={one.service}>
                {one.service} · {bytes(one.size_bytes)} · {ago(one.changed_at, now)}
              </option>
            ))}
          </Select>
        )}
      </Field>
      <LogView key={chosen.service} service={chosen.service} />
    </div>
  );
}

function LogView({ service }: { service: string }) {
  const [follow, setFollow] = useState(true);
  const [words, setWords] = useState("");
  const { log, error } = useLog(service, follow);
  const shown = useMemo(() => matchingLines(log.lines, words), [log.lines, words]);
  const host = useRef<HTMLElement>(null);
  const last = shown.at(-1);
  // biome-ignore lint/correctness/useExhaustiveDependencies: to the end when there are other lines
  useEffect(() => {
    if (follow && host.current) host.current.scrollTop = host.current.scrollHeight;
  }, [follow, shown.length, last]);
  return (
    <>
      <div className="flex flex-wrap items-center gap-x-4 gap-y-2">
        <Input
          type="search"
          aria-label="Show lines that have"
          placeholder="Show lines that have…"
          className="max-w-72"
          value={words}
          onChange={(event) => setWords(event.target.value)}
        />
        <span className="inline-flex items-center gap-2 text-sm">
          <Switch checked={follow} onChange={setFollow} label="Follow" />
          Follow
        </span>
        <span role="status" className="text-xs text-muted-foreground tabular">
          {words === ""
            ? `${count(shown.length)} lines`
            : `${count(shown.length)} of ${count(log.lines.length)} lines`}
          {log.skipped ? ", older ones left out" : ""}
        </span>
      </div>
      {error !== null && <ProblemNote error={error} again={follow} />}
      {log.next === undefined && error === null ? (
        <Spinner label="Reading" />
      ) : (
        <section
          ref={host}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
          tabIndex={0}
          aria-label={`Log of ${service}`}
          className="h-[60vh] min-h-60 overflow-auto rounded-lg border bg-muted p-3"
        >
          <pre className="font-mono text-2xs whitespace-pre-wrap break-all">
            {shown.length > 0 ? shown.join("\n") : "Nothing here."}
          </pre>
        </section>
      )}
    </>
  );
}

/** A log from its last lines on; asked again every other second while it is followed. */
function useLog(service: string, follow: boolean): { log: LogText; error: unknown } {
  const [log, setLog] = useState(EMPTY_LOG);
  const [error, setError] = useState<unknown>(null);
  const next = useRef<number | undefined>(undefined);
  useEffect(() => {
    let over = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async () => {
      try {
        const part = await unwrap(
          api.GET("/api/v1/admin/logs/{service}", {
            params: { path: { service }, query: { after: next.current } },
          }),
        );
        if (over) return;
        setError(null);
        setLog((before) => appended(before, part));
        next.current = part.next;
      } catch (failure) {
        if (over) return;
        setError(failure);
        if (!mayPass(failure)) return;
      }
      if (follow) timer = setTimeout(() => void read(), EVERY_MS);
    };
    if (follow || next.current === undefined) void read();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [service, follow]);
  return { log, error };
}
