import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { api, unwrap } from "@/api/client";
import { ProblemNote } from "@/components/problem";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Field, Input, Textarea } from "@/components/ui/input";
import { notify } from "@/components/ui/toast";
import { useForget, type Workspace } from "./data";

type Quota = Workspace["quota"];

const LIMITS: { key: keyof Quota; label: string; hint: string; most: number }[] = [
  { key: "queries", label: "Queries at once", hint: "More of them wait in Trino.", most: 1000 },
  {
    key: "jobs",
    label: "Jobs at once",
    hint: "Runs and ingests; a run waits, an ingest is refused.",
    most: 1000,
  },
  { key: "storage_mib", label: "Storage (MiB)", hint: "More is warned of.", most: 2 ** 40 },
];

/** What is said of a workspace, and for lab admins its quota. */
export function SettingsDialog({
  workspace,
  open,
  onOpenChange,
}: {
  workspace: Workspace;
  open: boolean;
  onOpenChange: (open: boolean) => void;
}) {
  return (
    <Dialog
      open={open}
      onOpenChange={onOpenChange}
      title={`Settings of ${workspace.name}`}
      description={
        workspace.may_set_quota
          ? "A changed quota holds a few seconds later; what is under way goes on."
          : "Its quota is set by lab admins."
      }
    >
      {open && <Form workspace={workspace} onDone={() => onOpenChange(false)} />}
    </Dialog>
  );
}

function Form({ workspace, onDone }: { workspace: Workspace; onDone: () => void }) {
  const [description, setDescription] = useState(workspace.description);
  const [quota, setQuota] = useState(workspace.quota);
  const forget = useForget();
  const valid = LIMITS.every(
    ({ key, most }) => Number.isInteger(quota[key]) && quota[key] >= 1 && quota[key] <= most,
  );
  const save = useMutation({
    mutationFn: () =>
      unwrap(
        api.PATCH("/api/v1/workspaces/{workspace_id}", {
          params: { path: { workspace_id: workspace.id } },
          body: {
            description: description.trim(),
            quota: workspace.may_set_quota ? quota : null,
          },
        }),
      ),
    onSuccess: () => {
      forget();
      notify(`${workspace.name} is changed`);
      onDone();
    },
  });
  return (
    <form
      className="flex flex-col gap-3"
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate();
      }}
    >
      {save.error && <ProblemNote error={save.error} />}
      <Field label="What it is for">
        {(props) => (
          <Textarea
            {...props}
            value={description}
            maxLength={2000}
            onChange={(event) => setDescription(event.target.value)}
          />
        )}
      </Field>
      {workspace.may_set_quota && (
        <div className="grid gap-3 sm:grid-cols-3">
          {LIMITS.map(({ key, label, hint, most }) => (
            <Field key={key} label={label} hint={hint}>
              {(props) => (
                <Input
                  {...props}
                  type="number"
                  required
                  min={1}
                  max={most}
                  value={Number.isNaN(quota[key]) ? "" : quota[key]}
                  onChange={(event) => setQuota({ ...quota, [key]: event.target.valueAsNumber })}
                />
              )}
            </Field>
          ))}
        </div>
      )}
      <div className="flex justify-end">
        <Button type="submit" variant="primary" disabled={!valid} busy={save.isPending}>
          Save
        </Button>
      </div>
    </form>
  );
}
