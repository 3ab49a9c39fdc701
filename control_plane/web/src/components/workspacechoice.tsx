import { useSearchParams } from "react-router";
import type { WorkspaceRef } from "@/api/types";
import { Badge } from "@/components/ui/badge";
import { Field, Select } from "@/components/ui/input";
import { useWorkspaces, type Workspace } from "@/pages/workspaces/data";

const PARAMETER = "workspace";

/** Those that one works in, so that something may belong to them. */
export function worksIn(workspaces: readonly Workspace[]): Workspace[] {
  return workspaces.filter((one) => one.role !== "viewer" && one.state === "ready");
}

/** Where a list of what one workspace has stands. */
export function ofWorkspace(path: string, workspaceId: string): string {
  return `${path}?${new URLSearchParams({ [PARAMETER]: workspaceId })}`;
}

/** To whom something belongs: to a workspace with its members, or to whoever saves it. */
export function WorkspaceChoice({
  value,
  onChange,
}: {
  value: WorkspaceRef | null;
  onChange: (value: WorkspaceRef | null) => void;
}) {
  const workspaces = useWorkspaces();
  const choices: WorkspaceRef[] = worksIn(workspaces.data ?? []);
  const known = value === null || choices.some((one) => one.id === value.id);
  const all = known ? choices : [...choices, value];
  if (all.length === 0) return null;
  return (
    <Field
      label="Belongs to"
      hint="Members of a workspace see and change what belongs to it, each with their own rows."
    >
      {(props) => (
        <Select
          {...props}
          value={value?.id ?? ""}
          onChange={(event) => {
            const chosen = all.find((one) => one.id === event.target.value);
            onChange(chosen ? { id: chosen.id, name: chosen.name } : null);
          }}
        >
          <option value="">You alone</option>
          {all.map((one) => (
            <option key={one.id} value={one.id}>
              Workspace {one.name}
            </option>
          ))}
        </Select>
      )}
    </Field>
  );
}

/** A page's heading with the workspace that what it shows belongs to. */
export function InWorkspace({
  title,
  workspace,
}: {
  title: string;
  workspace: WorkspaceRef | null;
}) {
  if (workspace === null) return title;
  return (
    <span className="inline-flex flex-wrap items-center gap-2">
      {title}
      <Badge tone="primary">workspace {workspace.name}</Badge>
    </span>
  );
}

/** The workspace that the address chooses for a list, and the control that changes it. */
export function useWorkspaceFilter(): string | undefined {
  const [search] = useSearchParams();
  return search.get(PARAMETER) ?? undefined;
}

export function WorkspaceFilter() {
  const [search, setSearch] = useSearchParams();
  const chosen = search.get(PARAMETER) ?? "";
  const choices = worksIn(useWorkspaces().data ?? []);
  if (choices.length === 0 && chosen === "") return null;
  return (
    <Select
      aria-label="Workspace"
      className="w-auto max-w-60"
      value={chosen}
      onChange={(event) => {
        const next = new URLSearchParams(search);
        if (event.target.value === "") next.delete(PARAMETER);
        else next.set(PARAMETER, event.target.value);
        setSearch(next, { replace: true });
      }}
    >
      <option value="">All that you may see</option>
      {choices.map((one) => (
        <option key={one.id} value={one.id}>
          Workspace {one.name}
        </option>
      ))}
      {chosen !== "" && !choices.some((one) => one.id === chosen) && (
        <option value={chosen}>A workspace</option>
      )}
    </Select>
  );
}
