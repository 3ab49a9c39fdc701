import { useEffect, useState } from "react";
import type { AccessDocument, Rule } from "@/api/types";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Field, Input, Select, Textarea } from "@/components/ui/input";
import { Checkbox } from "@/components/ui/switch";
import { useObjects, usePeople } from "./data";
import { KIND_LABELS } from "./rules";
import { Proposing } from "./staged";

const MASKS = [
  ["hash", "Hash: a pseudonym that joins still work with"],
  ["last_4", "Last 4: ***1234"],
  ["email_domain", "E-mail: ***@example.com"],
  ["null", "Null: no value at all"],
] as const;

const ID = /^[a-z0-9][a-z0-9_.-]*$/;

/** "a, 1" → ["a", 1]: whole numbers are numbers, as in the access data. */
export function parseShare(text: string): (string | number)[] {
  return text
    .split(",")
    .map((one) => one.trim())
    .filter((one) => one !== "")
    .map((one) => (/^-?\d+$/.test(one) ? Number(one) : one.replace(/^'(.*)'$/, "$1")));
}

/** The rule without what its kind does not have. */
export function tidy(rule: Rule): Rule {
  const { id, kind, description, exempt } = rule;
  const tidied: Rule = { id: id.trim(), kind };
  if (rule.tag?.trim()) tidied.tag = rule.tag.trim();
  else if (rule.object?.trim()) tidied.object = rule.object.trim();
  if (exempt && exempt.length > 0) tidied.exempt = [...exempt].sort();
  if (kind === "column_mask" && rule.mask) tidied.mask = rule.mask;
  if (kind === "row_filter") {
    if (rule.expression?.trim()) tidied.expression = rule.expression.trim();
    const values = Object.entries(rule.values ?? {}).filter(([, share]) => share.length > 0);
    if (values.length > 0) tidied.values = Object.fromEntries(values);
    if (rule.as_filter_user) tidied.as_filter_user = true;
  }
  if (description?.trim()) tidied.description = description.trim();
  return tidied;
}

/** Shows a rule, and for those who may changes it. */
export function RuleDialog({
  rule,
  fresh,
  readOnly,
  taken,
  document,
  onClose,
  onSave,
}: {
  rule: Rule | null;
  fresh: boolean;
  readOnly: boolean;
  taken: readonly string[];
  document: AccessDocument;
  onClose: () => void;
  onSave: (rule: Rule) => void;
}) {
  const [edited, setEdited] = useState<Rule | null>(rule);
  const [byTag, setByTag] = useState(true);
  const [shares, setShares] = useState<Record<string, string>>({});
  // biome-ignore lint/correctness/useExhaustiveDependencies: filled when another rule is opened
  useEffect(() => {
    setEdited(rule);
    setByTag(rule?.object === undefined);
    setShares(
      Object.fromEntries(
        Object.entries(rule?.values ?? {}).map(([group, share]) => [group, share.join(", ")]),
      ),
    );
  }, [rule?.id, fresh]);
  const groups = usePeople().data?.groups.map((one) => one.name) ?? [];
  const objects = useObjects();
  const current = edited ?? rule;
  if (current === null || rule === null) return null;
  const set = (parts: Partial<Rule>) => setEdited({ ...current, ...parts });
  const tags = [...new Set(document.tags.map((one) => one.tag))].sort();
  const idError = !fresh
    ? undefined
    : taken.includes(current.id)
      ? "There is a rule of that name."
      : current.id !== "" && !ID.test(current.id)
        ? "Small letters, digits, - . and _ only."
        : undefined;
  const about = byTag ? current.tag : current.object;
  const ready =
    current.id !== "" &&
    idError === undefined &&
    !!about?.trim() &&
    (current.kind !== "row_filter" || !!current.expression?.trim());
  const save = () => {
    const values = Object.fromEntries(
      Object.entries(shares).map(([group, text]) => [group, parseShare(text)]),
    );
    onSave(
      tidy({
        ...current,
        tag: byTag ? current.tag : undefined,
        object: byTag ? undefined : current.object,
        values,
      }),
    );
    onClose();
  };
  return (
    <Dialog
      open
      onOpenChange={(open) => !open && onClose()}
      title={fresh ? "Write a rule" : current.id}
      description={
        readOnly
          ? "Data stewards and lab admins change rules."
          : "It is collected with your other changes; nothing is published yet."
      }
      shape="right"
      footer={
        !readOnly && (
          <Button variant="primary" disabled={!ready} onClick={save}>
            Collect
          </Button>
        )
      }
    >
      <fieldset disabled={readOnly} className="flex flex-col gap-3">
        <legend className="sr-only">Rule</legend>
        {fresh && (
          <Field label="Name" error={idError}>
            {(props) => (
              <Input
                {...props}
                className="font-mono"
                value={current.id}
                onChange={(event) => set({ id: event.target.value })}
              />
            )}
          </Field>
        )}
        <Field label="What it is for">
          {(props) => (
            <Input
              {...props}
              value={current.description ?? ""}
              onChange={(event) => set({ description: event.target.value })}
            />
          )}
        </Field>
        <Field label="Kind">
          {(props) => (
            <Select
              {...props}
              value={current.kind}
              onChange={(event) => set({ kind: event.target.value as Rule["kind"] })}
            >
              {Object.entries(KIND_LABELS).map(([kind, label]) => (
                <option key={kind} value={kind}>
                  {label}
                </option>
              ))}
            </Select>
          )}
        </Field>
        <div className="grid gap-3 sm:grid-cols-[8rem_1fr]">
          <Field label="About">
            {(props) => (
              <Select
                {...props}
                value={byTag ? "tag" : "object"}
                onChange={(event) => setByTag(event.target.value === "tag")}
              >
                <option value="tag">a tag</option>
                <option value="object">an object</option>
              </Select>
            )}
          </Field>
          <Field label={byTag ? "Tag" : "Object"}>
            {(props) => (
              <Proposing
                {...props}
                className="font-mono"
                value={about ?? ""}
                onChange={(value) => set(byTag ? { tag: value } : { object: value })}
                proposals={byTag ? tags : objects.all}
              />
            )}
          </Field>
        </div>
        {current.kind === "column_mask" && (
          <Field label="Mask">
            {(props) => (
              <Select
                {...props}
                value={current.mask ?? "hash"}
                onChange={(event) => set({ mask: event.target.value })}
              >
                {MASKS.map(([mask, label]) => (
                  <option key={mask} value={mask}>
                    {label}
                  </option>
                ))}
              </Select>
            )}
          </Field>
        )}
        {current.kind === "row_filter" && (
          <>
            <Field
              label="Rows pass where"
              hint="Trino SQL. {column}: the tagged column, {values}: the reader's share below, {user}: the reader's name, {catalog}: the catalog."
            >
              {(props) => (
                <Textarea
                  {...props}
                  rows={4}
                  className="font-mono text-xs"
                  spellCheck={false}
                  value={current.expression ?? ""}
                  onChange={(event) => set({ expression: event.target.value })}
                />
              )}
            </Field>
            <fieldset className="flex flex-col gap-1.5">
              <legend className="mb-1 text-xs font-medium">
                Share of each group, for {"{values}"}
              </legend>
              {groups.map((group) => (
                <div key={group} className="grid grid-cols-[9rem_1fr] items-center gap-2 text-sm">
                  <label htmlFor={`share-${group}`} className="truncate">
                    {group}
                  </label>
                  <Input
                    id={`share-${group}`}
                    className="font-mono"
                    placeholder="none"
                    value={shares[group] ?? ""}
                    onChange={(event) => setShares({ ...shares, [group]: event.target.value })}
                  />
                </div>
              ))}
            </fieldset>
            <Checkbox
              checked={current.as_filter_user ?? false}
              disabled={readOnly}
              onChange={(on) => set({ as_filter_user: on })}
            >
              Reads other tables as the filters' own user
            </Checkbox>
          </>
        )}
        <fieldset>
          <legend className="mb-1 text-xs font-medium">But not for</legend>
          <div className="grid grid-cols-2 gap-x-4">
            {groups.map((group) => (
              <Checkbox
                key={group}
                checked={current.exempt?.includes(group) ?? false}
                disabled={readOnly}
                onChange={(on) =>
                  set({
                    exempt: on
                      ? [...(current.exempt ?? []), group]
                      : (current.exempt ?? []).filter((one) => one !== group),
                  })
                }
              >
                {group}
              </Checkbox>
            ))}
          </div>
        </fieldset>
      </fieldset>
    </Dialog>
  );
}
