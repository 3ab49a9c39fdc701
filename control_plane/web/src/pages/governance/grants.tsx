import { KeyRound, Pencil, Plus, Trash2 } from "lucide-react";
import { useEffect, useState } from "react";
import { useMay } from "@/api/session";
import type { AccessDocument, Grant } from "@/api/types";
import { type DataColumn, DataTable } from "@/components/datatable";
import { ObjectName } from "@/components/tags";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Empty } from "@/components/ui/feedback";
import { Field, Select } from "@/components/ui/input";
import { Checkbox } from "@/components/ui/switch";
import { useObjects, usePeople, useStaging } from "./data";
import { keyOf, nameOf, type ShownItem, withDraft } from "./draft";
import { Proposing, rowClass, StateMark, Undo } from "./staged";

export const PRIVILEGES = [
  "select",
  "insert",
  "update",
  "delete",
  "create",
  "alter",
  "drop",
  "maintain",
] as const;

/** Who may do what: nothing is allowed that no grant allows. */
export function Grants({ document }: { document: AccessDocument }) {
  const mayEdit = useMay("edit_grants");
  const { draft, put } = useStaging();
  const [editing, setEditing] = useState<{ before: Grant | null; grant: Grant } | null>(null);
  const shown = withDraft<Grant>("grants", document.grants, draft);
  const columns: DataColumn<ShownItem<Grant>>[] = [
    {
      id: "group",
      header: "Group",
      value: ({ item }) => item.group,
      cell: ({ item, state }) => (
        <span className="flex flex-wrap items-center gap-1.5 font-medium">
          {item.group}
          <StateMark state={state} />
        </span>
      ),
    },
    {
      id: "object",
      header: "On",
      value: ({ item }) => item.object,
      cell: ({ item }) => <ObjectName name={item.object} />,
    },
    {
      id: "privileges",
      header: "May",
      value: ({ item }) => item.privileges.join(" "),
      cell: ({ item, before }) => (
        <span className="flex flex-wrap gap-1">
          {PRIVILEGES.filter(
            (one) => item.privileges.includes(one) || before?.privileges.includes(one),
          ).map((one) => (
            <Badge
              key={one}
              tone={
                !item.privileges.includes(one)
                  ? "danger"
                  : before && !before.privileges.includes(one)
                    ? "success"
                    : "neutral"
              }
            >
              {item.privileges.includes(one) ? one : `no ${one}`}
            </Badge>
          ))}
        </span>
      ),
    },
    {
      id: "actions",
      header: "",
      align: "right",
      cell: ({ item, state, before }) =>
        mayEdit && (
          <span className="flex justify-end">
            {state !== "removed" && (
              <Button
                variant="ghost"
                size="icon-sm"
                aria-label={`Change ${nameOf("grants", item)}`}
                onClick={() => setEditing({ before, grant: item })}
              >
                <Pencil aria-hidden />
              </Button>
            )}
            {state === "living" ? (
              <Button
                variant="ghost"
                size="icon-sm"
                aria-label={`Take away ${nameOf("grants", item)}`}
                onClick={() => put("grants", item, null)}
              >
                <Trash2 aria-hidden />
              </Button>
            ) : (
              <Undo
                name={nameOf("grants", item)}
                onUndo={() => put("grants", state === "added" ? item : before, before)}
              />
            )}
          </span>
        ),
    },
  ];
  return (
    <>
      {!mayEdit && (
        <p className="mb-3 text-sm text-muted-foreground">
          Lab admins change grants; you can read them.
        </p>
      )}
      <DataTable
        label="Grants"
        rows={shown}
        columns={columns}
        rowKey={({ item }) => keyOf("grants", item)}
        rowClassName={({ state }) => rowClass(state)}
        filterLabel="Filter grants"
        noun="grant"
        empty={<Empty icon={KeyRound} title="Nothing is granted: every table is closed" />}
        actions={
          mayEdit && (
            <Button
              variant="primary"
              onClick={() =>
                setEditing({
                  before: null,
                  grant: { group: "", object: "", privileges: ["select"] },
                })
              }
            >
              <Plus aria-hidden />
              Grant
            </Button>
          )
        }
      />
      <EditGrant
        editing={editing}
        onClose={() => setEditing(null)}
        onSave={(grant) => {
          put(
            "grants",
            document.grants.find((one) => keyOf("grants", one) === keyOf("grants", grant)) ?? null,
            grant,
          );
          setEditing(null);
        }}
      />
    </>
  );
}

function EditGrant({
  editing,
  onClose,
  onSave,
}: {
  editing: { before: Grant | null; grant: Grant } | null;
  onClose: () => void;
  onSave: (grant: Grant) => void;
}) {
  const [grant, setGrant] = useState<Grant>({ group: "", object: "", privileges: [] });
  const groups = usePeople().data?.groups ?? [];
  const objects = useObjects();
  const fresh = editing?.before === null;
  useEffect(() => {
    if (editing) setGrant(editing.grant);
  }, [editing]);
  const ready = grant.group !== "" && grant.object.trim() !== "" && grant.privileges.length > 0;
  return (
    <Dialog
      open={editing !== null}
      onOpenChange={(open) => !open && onClose()}
      title={fresh ? "Grant" : `Change what ${grant.group} may do`}
      description="It is collected with your other changes; nothing is published yet."
      footer={
        <Button
          variant="primary"
          disabled={!ready}
          onClick={() =>
            onSave({
              ...grant,
              object: grant.object.trim(),
              privileges: [...grant.privileges].sort(),
            })
          }
        >
          Collect
        </Button>
      }
    >
      <div className="flex flex-col gap-3">
        <Field label="Group">
          {(props) => (
            <Select
              {...props}
              disabled={!fresh}
              value={grant.group}
              onChange={(event) => setGrant({ ...grant, group: event.target.value })}
            >
              <option value="">A group…</option>
              {groups.map((group) => (
                <option key={group.name} value={group.name}>
                  {group.name}
                </option>
              ))}
            </Select>
          )}
        </Field>
        <Field label="On" hint="A table (ns.table) or every table of a namespace (ns.*).">
          {(props) => (
            <Proposing
              {...props}
              disabled={!fresh}
              className="font-mono"
              value={grant.object}
              onChange={(object) => setGrant({ ...grant, object })}
              proposals={objects.tables}
            />
          )}
        </Field>
        <fieldset>
          <legend className="mb-1 text-xs font-medium">May</legend>
          <div className="grid grid-cols-2 gap-x-4">
            {PRIVILEGES.map((one) => (
              <Checkbox
                key={one}
                checked={grant.privileges.includes(one)}
                onChange={(on) =>
                  setGrant({
                    ...grant,
                    privileges: on
                      ? [...grant.privileges, one]
                      : grant.privileges.filter((other) => other !== one),
                  })
                }
              >
                {one}
              </Checkbox>
            ))}
          </div>
        </fieldset>
      </div>
    </Dialog>
  );
}
