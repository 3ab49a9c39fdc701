import { useMe } from "@/api/session";
import type { SaveJob } from "@/api/types";
import { Card, CardHeader } from "@/components/ui/card";
import { Field, Input, Select } from "@/components/ui/input";
import { Checkbox } from "@/components/ui/switch";

const NO_RETRIES = { count: 0, first_wait_s: 30, longest_wait_s: 3600 };

/** How long, how often, how many at once, and in what group. */
export function Limits({
  job,
  onChange,
}: {
  job: SaveJob;
  onChange: (changes: Partial<SaveJob>) => void;
}) {
  const me = useMe();
  const retries = job.retries ?? NO_RETRIES;
  const whole = (
    label: string,
    value: number,
    low: number,
    high: number,
    set: (n: number) => void,
  ) => (
    <Field label={label}>
      {(props) => (
        <Input
          {...props}
          type="number"
          required
          min={low}
          max={high}
          value={Number.isNaN(value) ? "" : value}
          onChange={(event) => set(event.target.valueAsNumber)}
        />
      )}
    </Field>
  );
  return (
    <Card>
      <CardHeader title="Limits" description="Of each try, and of runs side by side." />
      <div className="grid gap-3 border-t p-4 sm:grid-cols-3">
        {whole("Longest try (s)", job.timeout_s ?? 3600, 1, 604_800, (timeout_s) =>
          onChange({ timeout_s }),
        )}
        {whole("Runs at once", job.max_concurrent ?? 1, 1, 10, (max_concurrent) =>
          onChange({ max_concurrent }),
        )}
        <Field label="When as many run as may">
          {(props) => (
            <Select
              {...props}
              value={job.when_busy ?? "queue"}
              onChange={(event) =>
                onChange({ when_busy: event.target.value === "skip" ? "skip" : "queue" })
              }
            >
              <option value="queue">wait for room</option>
              <option value="skip">skip the time</option>
            </Select>
          )}
        </Field>
        {whole("Retries", retries.count, 0, 10, (count) =>
          onChange({ retries: { ...retries, count } }),
        )}
        {whole("First pause (s)", retries.first_wait_s, 1, 86_400, (first_wait_s) =>
          onChange({ retries: { ...retries, first_wait_s } }),
        )}
        {whole("Longest pause (s)", retries.longest_wait_s, 1, 86_400, (longest_wait_s) =>
          onChange({ retries: { ...retries, longest_wait_s } }),
        )}
        <Field label="Only as long as you are in" hint="Else in any group">
          {(props) => (
            <Select
              {...props}
              value={job.group ?? ""}
              onChange={(event) => onChange({ group: event.target.value || null })}
            >
              <option value="">any group</option>
              {me.groups.map((group) => (
                <option key={group} value={group}>
                  {group}
                </option>
              ))}
            </Select>
          )}
        </Field>
        <div className="flex items-center sm:col-span-2">
          <Checkbox
            checked={job.restart_lost ?? true}
            onChange={(restart_lost) => onChange({ restart_lost })}
          >
            Begin again when an engine goes away and nobody knows how a try ended
          </Checkbox>
        </div>
      </div>
    </Card>
  );
}
