import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, unwrap } from "@/api/client";
import { asProblem } from "@/api/problem";
import { useMe } from "@/api/session";
import type { SaveJob } from "@/api/types";
import { Card, CardHeader } from "@/components/ui/card";
import { Field, Input, Select } from "@/components/ui/input";
import { Checkbox } from "@/components/ui/switch";
import { useDebounced } from "@/lib/hooks";
import { SCHEDULES } from "./data";

const OWN = "own";
const zones = Intl.supportedValuesOf("timeZone");
const here = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** When a job runs by itself: on a schedule, after other jobs, or not at all. */
export function When({
  job,
  jobId,
  onChange,
}: {
  job: SaveJob;
  jobId: string | null;
  onChange: (changes: Partial<SaveJob>) => void;
}) {
  const me = useMe();
  const schedule = job.schedule ?? null;
  const [own, setOwn] = useState(
    schedule !== null && !SCHEDULES.some((one) => one.cron === schedule.cron),
  );
  const jobs = useQuery({
    queryKey: ["jobs", ""],
    queryFn: () => unwrap(api.GET("/api/v1/jobs")),
  });
  const others = (jobs.data ?? []).filter((one) => one.owner === me.username && one.id !== jobId);
  const after = job.after ?? [];
  const zone = schedule?.time_zone ?? here;
  return (
    <Card>
      <CardHeader title="When it runs" description="By hand it runs at any time." />
      <div className="grid gap-3 border-t p-4 sm:grid-cols-3">
        <Field label="Schedule">
          {(props) => (
            <Select
              {...props}
              value={schedule === null ? "" : own ? OWN : schedule.cron}
              onChange={(event) => {
                const { value } = event.target;
                setOwn(value === OWN);
                if (value === "") onChange({ schedule: null });
                else {
                  const cron = value === OWN ? (schedule?.cron ?? "30 6 * * *") : value;
                  onChange({ schedule: { cron, time_zone: zone } });
                }
              }}
            >
              <option value="">none</option>
              {SCHEDULES.map((one) => (
                <option key={one.cron} value={one.cron}>
                  {one.label}
                </option>
              ))}
              <option value={OWN}>cron…</option>
            </Select>
          )}
        </Field>
        {schedule !== null && own && (
          <Field label="Cron" hint="minute, hour, day, month, day of the week">
            {(props) => (
              <Input
                {...props}
                className="font-mono"
                value={schedule.cron}
                onChange={(event) =>
                  onChange({ schedule: { cron: event.target.value, time_zone: zone } })
                }
              />
            )}
          </Field>
        )}
        {schedule !== null && (
          <Field label="Time zone">
            {(props) => (
              <Select
                {...props}
                value={zone}
                onChange={(event) =>
                  onChange({ schedule: { cron: schedule.cron, time_zone: event.target.value } })
                }
              >
                {[...new Set(["UTC", zone, ...zones])].map((name) => (
                  <option key={name} value={name}>
                    {name}
                  </option>
                ))}
              </Select>
            )}
          </Field>
        )}
        {schedule !== null && <Preview cron={schedule.cron} zone={zone} />}
      </div>
      {others.length > 0 && (
        <fieldset className="flex flex-col gap-1 border-t p-4">
          <legend className="float-left mb-1 text-xs font-medium">
            After these have succeeded, each since its last such run
          </legend>
          {others.map((one) => (
            <Checkbox
              key={one.id}
              checked={after.includes(one.id)}
              onChange={(checked) =>
                onChange({
                  after: checked ? [...after, one.id] : after.filter((id) => id !== one.id),
                })
              }
            >
              {one.title}
            </Checkbox>
          ))}
        </fieldset>
      )}
    </Card>
  );
}

function Preview({ cron, zone }: { cron: string; zone: string }) {
  const settled = useDebounced(cron.trim(), 300);
  const preview = useQuery({
    queryKey: ["job-schedule", settled, zone],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/job-schedule", { params: { query: { cron: settled, time_zone: zone } } }),
      ),
    enabled: settled.length >= 9,
    staleTime: 60_000,
    placeholderData: (before) => before,
  });
  const format = new Intl.DateTimeFormat("en-GB", {
    weekday: "short",
    day: "2-digit",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    timeZone: zone,
  });
  return (
    <p className="text-xs text-muted-foreground sm:col-span-3" aria-live="polite">
      {preview.error ? (
        <span className="text-destructive">
          {asProblem(preview.error).facts.title}: {asProblem(preview.error).facts.permitted}
        </span>
      ) : (
        preview.data &&
        `Next: ${preview.data.times.map((one) => format.format(new Date(one))).join("; ")}`
      )}
    </p>
  );
}
