import { DataTable } from "@/components/datatable";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { SkeletonRows } from "@/components/ui/feedback";
import { usePeople, usePersonas } from "@/pages/governance/data";

/** Groups of the realm and the lab's sample users. Keycloak's own pages change them. */
export function PeoplePanel() {
  const people = usePeople();
  const personas = usePersonas();
  return (
    <div className="flex flex-col gap-6">
      <section>
        <h2 className="mb-2 text-sm font-semibold">Groups</h2>
        {people.error ? (
          <ProblemNote error={people.error} onRetry={() => void people.refetch()} />
        ) : people.isPending ? (
          <SkeletonRows />
        ) : (
          <DataTable
            label="Groups"
            rows={people.data.groups}
            rowKey={(row) => row.name}
            columns={[
              {
                id: "name",
                header: "Group",
                value: (row) => row.name,
                cell: (row) => <span className="font-medium">{row.name}</span>,
              },
              {
                id: "description",
                header: "What it is for",
                value: (row) => row.description,
                cell: (row) => <span className="text-muted-foreground">{row.description}</span>,
                from: "sm",
              },
              {
                id: "members",
                header: "Members",
                value: (row) => (row.members ?? []).join(" "),
                cell: (row) =>
                  row.members === null ? (
                    <span className="text-muted-foreground">not shown to you</span>
                  ) : row.members.length === 0 ? (
                    <span className="text-muted-foreground">nobody</span>
                  ) : (
                    <span className="flex flex-wrap gap-1">
                      {row.members.map((member) => (
                        <Badge key={member}>{member}</Badge>
                      ))}
                    </span>
                  ),
              },
            ]}
          />
        )}
      </section>
      <section>
        <h2 className="mb-2 text-sm font-semibold">Sample users</h2>
        {personas.error ? (
          <ProblemNote error={personas.error} onRetry={() => void personas.refetch()} />
        ) : personas.isPending ? (
          <SkeletonRows />
        ) : (
          <DataTable
            label="Sample users"
            rows={personas.data}
            rowKey={(row) => row.username}
            columns={[
              {
                id: "username",
                header: "User",
                value: (row) => row.username,
                cell: (row) => (
                  <span className="flex flex-col">
                    <span className="font-medium">{row.username}</span>
                    <span className="text-xs text-muted-foreground">{row.name}</span>
                  </span>
                ),
              },
              {
                id: "groups",
                header: "Groups",
                value: (row) => row.groups.join(" "),
                cell: (row) => (
                  <span className="flex flex-wrap gap-1">
                    {row.groups.map((group) => (
                      <Badge key={group} tone="primary">
                        {group}
                      </Badge>
                    ))}
                  </span>
                ),
              },
              {
                id: "description",
                header: "Who that is",
                value: (row) => row.description,
                cell: (row) => <span className="text-muted-foreground">{row.description}</span>,
                from: "sm",
              },
            ]}
          />
        )}
      </section>
    </div>
  );
}
