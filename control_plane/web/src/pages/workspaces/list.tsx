import { useMutation } from "@tanstack/react-query";
import { FolderKanban, Plus } from "lucide-react";
import { useState } from "react";
import { Link, useNavigate } from "react-router";
import { api, unwrap } from "@/api/client";
import { useMay } from "@/api/session";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { Field, Input, Textarea } from "@/components/ui/input";
import { bytes, plural } from "@/lib/format";
import { Page } from "@/shell/page";
import { useForget, useWorkspaces, type Workspace } from "./data";

/** Workspaces that one belongs to: a namespace with its members, made and removed as one. */
export default function WorkspacesPage() {
  const mayMake = useMay("create_workspaces");
  const workspaces = useWorkspaces();
  const [making, setMaking] = useState(false);
  return (
    <Page
      title="Workspaces"
      description="A namespace for a team: its tables, its members, its files and connections."
      actions={
        mayMake && (
          <Button variant="primary" onClick={() => setMaking(true)}>
            <Plus aria-hidden />
            New workspace
          </Button>
        )
      }
    >
      {workspaces.error ? (
        <ProblemNote error={workspaces.error} onRetry={() => void workspaces.refetch()} />
      ) : workspaces.isPending ? (
        <SkeletonRows />
      ) : workspaces.data.length === 0 ? (
        <Empty
          icon={FolderKanban}
          title="You belong to no workspace"
          className="rounded-lg border bg-card"
        >
          {mayMake
            ? "Make one to bring files into tables that you share with its members."
            : "An owner of a workspace can make you a member; data engineers and lab admins make new ones."}
        </Empty>
      ) : (
        <ul className="grid gap-3 sm:grid-cols-2 xl:grid-cols-3">
          {workspaces.data.map((one) => (
            <li key={one.id}>
              <WorkspaceCard workspace={one} />
            </li>
          ))}
        </ul>
      )}
      <NewWorkspace open={making} onOpenChange={setMaking} />
    </Page>
  );
}

function WorkspaceCard({ workspace }: { workspace: Workspace }) {
  return (
    <Link
      to={`/workspaces/${workspace.id}`}
      className="flex h-full flex-col gap-1.5 rounded-lg border bg-card p-3 hover:border-border-strong"
    >
      <span className="flex items-center gap-2">
        <FolderKanban className="size-4 shrink-0 text-muted-foreground" aria-hidden />
        <span className="min-w-0 flex-1 truncate font-medium">{workspace.name}</span>
        <StateOf workspace={workspace} />
      </span>
      {workspace.description && (
        <span className="line-clamp-2 text-sm text-muted-foreground">{workspace.description}</span>
      )}
      <span className="mt-auto flex flex-wrap gap-1 pt-1">
        <Badge tone="primary">{workspace.role}</Badge>
        <Badge>{plural(workspace.usage.tables, "table")}</Badge>
        <Badge tone={(workspace.warnings ?? []).length > 0 ? "warning" : "neutral"}>
          {bytes(workspace.usage.size_bytes)}
        </Badge>
      </span>
    </Link>
  );
}

export function StateOf({ workspace }: { workspace: Workspace }) {
  if (workspace.state === "ready") return null;
  return (
    <Badge tone="warning">{workspace.state === "making" ? "being made" : "being removed"}</Badge>
  );
}

function NewWorkspace({
  open,
  onOpenChange,
}: {
  open: boolean;
  onOpenChange: (open: boolean) => void;
}) {
  const [name, setName] = useState("");
  const [description, setDescription] = useState("");
  const forget = useForget();
  const navigate = useNavigate();
  const make = useMutation({
    mutationFn: () =>
      unwrap(
        api.POST("/api/v1/workspaces", {
          body: { name: name.trim(), description: description.trim(), owners: [] },
        }),
      ),
    onSuccess: (made) => {
      onOpenChange(false);
      forget();
      navigate(`/workspaces/${made.id}`);
    },
  });
  return (
    <Dialog
      open={open}
      onOpenChange={onOpenChange}
      title="New workspace"
      description="Makes a namespace and a group whose members may do everything in it. You own it."
      footer={
        <Button
          variant="primary"
          disabled={name.trim() === ""}
          busy={make.isPending}
          onClick={() => make.mutate()}
        >
          Make it
        </Button>
      }
    >
      <div className="flex flex-col gap-3">
        {make.error && <ProblemNote error={make.error} />}
        <Field
          label="Name"
          hint="The namespace's name in every engine: lower-case letters, digits and underscores."
        >
          {(props) => (
            <Input
              {...props}
              className="font-mono"
              value={name}
              maxLength={40}
              onChange={(event) => setName(event.target.value)}
            />
          )}
        </Field>
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
      </div>
    </Dialog>
  );
}
