import { useMutation } from "@tanstack/react-query";
import { UserMinus, UserPlus } from "lucide-react";
import { useState } from "react";
import { api, unwrap } from "@/api/client";
import { useMe } from "@/api/session";
import { DataTable } from "@/components/datatable";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { SkeletonRows } from "@/components/ui/feedback";
import { Field, Input } from "@/components/ui/input";
import { Checkbox } from "@/components/ui/switch";
import { useForget, useMembers, type Workspace } from "./data";

/** Who is in a workspace; its owners decide. */
export function Members({ workspace }: { workspace: Workspace }) {
  const me = useMe();
  const members = useMembers(workspace.id);
  const forget = useForget();
  const path = (username: string) => ({ path: { workspace_id: workspace.id, username } });
  const put = useMutation({
    mutationFn: ({ username, owner }: { username: string; owner: boolean }) =>
      unwrap(
        api.PUT("/api/v1/workspaces/{workspace_id}/members/{username}", {
          params: path(username),
          body: { owner },
        }),
      ),
    onSuccess: forget,
  });
  const take = useMutation({
    mutationFn: (username: string) =>
      unwrap(
        api.DELETE("/api/v1/workspaces/{workspace_id}/members/{username}", {
          params: path(username),
        }),
      ),
    onSuccess: forget,
  });
  const failure = put.error ?? take.error;
  return (
    <div className="flex flex-col gap-3">
      {failure && <ProblemNote error={failure} />}
      {workspace.may_manage && (
        <AddMember
          busy={put.isPending}
          onAdd={(username, owner) => put.mutate({ username, owner })}
        />
      )}
      {members.error ? (
        <ProblemNote error={members.error} onRetry={() => void members.refetch()} />
      ) : members.isPending ? (
        <SkeletonRows />
      ) : (
        <DataTable
          label="Members"
          rows={members.data}
          rowKey={(row) => row.username}
          noun="member"
          columns={[
            {
              id: "username",
              header: "Member",
              value: (row) => row.username,
              cell: (row) => <span className="font-medium">{row.username}</span>,
            },
            {
              id: "owner",
              header: "",
              cell: (row) => row.owner && <Badge tone="primary">owner</Badge>,
            },
            {
              id: "actions",
              header: "",
              align: "right",
              cell: (row) => (
                <span className="flex flex-wrap justify-end gap-1">
                  {workspace.may_manage && (
                    <Button
                      size="sm"
                      onClick={() => put.mutate({ username: row.username, owner: !row.owner })}
                    >
                      {row.owner ? "No owner any more" : "Make owner"}
                    </Button>
                  )}
                  {(workspace.may_manage || row.username === me.username) && (
                    <Button
                      size="sm"
                      aria-label={`${row.username === me.username ? "Leave" : "Take out"} ${row.username}`}
                      onClick={() => take.mutate(row.username)}
                    >
                      <UserMinus aria-hidden />
                      {row.username === me.username ? "Leave" : "Take out"}
                    </Button>
                  )}
                </span>
              ),
            },
          ]}
        />
      )}
      <p className="text-xs text-muted-foreground">
        Membership holds from the member's next sign-in, at most five minutes later.
      </p>
    </div>
  );
}

function AddMember({
  busy,
  onAdd,
}: {
  busy: boolean;
  onAdd: (username: string, owner: boolean) => void;
}) {
  const [username, setUsername] = useState("");
  const [owner, setOwner] = useState(false);
  return (
    <form
      className="flex flex-wrap items-end gap-3"
      onSubmit={(event) => {
        event.preventDefault();
        onAdd(username.trim(), owner);
        setUsername("");
      }}
    >
      <Field label="User name" className="w-56">
        {(props) => (
          <Input
            {...props}
            value={username}
            onChange={(event) => setUsername(event.target.value)}
          />
        )}
      </Field>
      <Checkbox checked={owner} onChange={setOwner}>
        as an owner
      </Checkbox>
      <Button type="submit" variant="primary" disabled={username.trim() === ""} busy={busy}>
        <UserPlus aria-hidden />
        Add member
      </Button>
    </form>
  );
}
