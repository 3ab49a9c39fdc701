import { Minus, Pencil, Plus } from "lucide-react";
import type { Change } from "@/api/types";
import { Badge, type Tone } from "@/components/ui/badge";
import { Empty } from "@/components/ui/feedback";

const VERBS: Record<string, { tone: Tone; icon: typeof Plus }> = {
  added: { tone: "success", icon: Plus },
  changed: { tone: "warning", icon: Pencil },
  removed: { tone: "danger", icon: Minus },
};

export interface FieldChange {
  field: string;
  before: string | null;
  after: string | null;
}

function text(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  if (Array.isArray(value)) return value.map((one) => text(one) ?? "null").join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** The fields of an item that differ. */
export function fieldChanges(before: unknown, after: unknown): FieldChange[] {
  const [old, fresh] = [
    (before ?? {}) as Record<string, unknown>,
    (after ?? {}) as Record<string, unknown>,
  ];
  const fields = [...new Set([...Object.keys(old), ...Object.keys(fresh)])];
  return fields
    .map((field) => ({ field, before: text(old[field]), after: text(fresh[field]) }))
    .filter((one) => one.before !== one.after);
}

/** Items of access data that differ, field by field. */
export function ChangeList({ changes }: { changes: readonly Change[] }) {
  if (changes.length === 0) return <Empty title="Nothing differs" />;
  return (
    <ul className="flex flex-col divide-y">
      {changes.map((change) => {
        const verb = VERBS[change.verb] ?? { tone: "neutral" as const, icon: Pencil };
        return (
          <li key={`${change.section} ${change.name}`} className="px-4 py-2.5">
            <p className="flex flex-wrap items-center gap-2 text-sm">
              <Badge tone={verb.tone}>
                <verb.icon aria-hidden />
                {change.verb}
              </Badge>
              <span className="text-xs text-muted-foreground">
                {change.section.replace(/s$/, "")}
              </span>
              <span className="font-medium break-all">{change.name}</span>
            </p>
            {change.verb === "changed" && (
              <dl className="mt-1.5 flex flex-col gap-1">
                {fieldChanges(change.before, change.after).map((one) => (
                  <div key={one.field} className="grid gap-x-3 text-xs sm:grid-cols-[8rem_1fr]">
                    <dt className="text-muted-foreground">{one.field}</dt>
                    <dd className="flex min-w-0 flex-col gap-0.5 font-mono">
                      {one.before !== null && (
                        <del className="rounded-sm bg-destructive-soft px-1.5 break-words no-underline">
                          <span aria-hidden>− </span>
                          {one.before}
                        </del>
                      )}
                      {one.after !== null && (
                        <ins className="rounded-sm bg-success-soft px-1.5 break-words no-underline">
                          <span aria-hidden>+ </span>
                          {one.after}
                        </ins>
                      )}
                    </dd>
                  </div>
                ))}
              </dl>
            )}
          </li>
        );
      })}
    </ul>
  );
}
