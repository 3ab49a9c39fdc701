import { useInfo } from "@/api/session";
import { DataTable } from "@/components/datatable";
import { ProblemNote } from "@/components/problem";
import { SkeletonRows } from "@/components/ui/feedback";
import { useHealth } from "./data";

/** What runs, in which version. */
export function VersionsPanel() {
  const info = useInfo();
  const health = useHealth();
  if (health.error && health.data === undefined) {
    return <ProblemNote error={health.error} onRetry={() => void health.refetch()} />;
  }
  if (health.data === undefined) return <SkeletonRows />;
  const rows = [
    { name: "lakehouse-lab", title: "Lakehouse Lab", version: info?.version ?? null },
    ...health.data.components.filter((one) => one.state !== "absent"),
  ];
  return (
    <DataTable
      label="Versions"
      rows={rows}
      rowKey={(row) => row.name}
      columns={[
        {
          id: "title",
          header: "Part",
          value: (row) => row.title,
          cell: (row) => <span className="font-medium">{row.title}</span>,
        },
        {
          id: "name",
          header: "Service",
          value: (row) => row.name,
          cell: (row) => (
            <span className="font-mono text-xs text-muted-foreground">{row.name}</span>
          ),
        },
        {
          id: "version",
          header: "Version",
          value: (row) => row.version ?? "",
          cell: (row) =>
            row.version ? (
              <span className="font-mono text-xs">{row.version}</span>
            ) : (
              <span className="text-muted-foreground">it does not tell</span>
            ),
        },
      ]}
    />
  );
}
