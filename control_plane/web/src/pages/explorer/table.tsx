import {
  Clock,
  Columns3,
  Files,
  GitFork,
  ShieldCheck,
  SquareTerminal,
  Table2,
  TextQuote,
} from "lucide-react";
import { Link, useNavigate } from "react-router";
import type { TableDetail } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { TagList } from "@/components/tags";
import { Badge } from "@/components/ui/badge";
import { buttonVariants } from "@/components/ui/button";
import { SkeletonRows } from "@/components/ui/feedback";
import { Tabs } from "@/components/ui/tabs";
import { bytes, count } from "@/lib/format";
import { type TableTab, tablePath, worksheetPath } from "@/lib/paths";
import { quoted } from "@/pages/worksheet/statements";
import { Page } from "@/shell/page";
import { AccessTab } from "./access";
import { ColumnsTab } from "./columns";
import { type TableRef, useTableDetail } from "./data";
import { DatasetFacts, RegisterDataset } from "./dataset";
import { FilesTab } from "./files";
import { LineageTab } from "./lineage";
import { SampleTab } from "./sample";
import { SnapshotsTab } from "./snapshots";

const TABS = [
  { value: "columns", label: "Columns", icon: <Columns3 aria-hidden /> },
  { value: "sample", label: "Sample", icon: <Table2 aria-hidden /> },
  { value: "access", label: "Access", icon: <ShieldCheck aria-hidden /> },
  { value: "snapshots", label: "Snapshots", icon: <Clock aria-hidden /> },
  { value: "files", label: "Files", icon: <Files aria-hidden /> },
  { value: "lineage", label: "Lineage", icon: <GitFork aria-hidden /> },
  { value: "definition", label: "Definition", icon: <TextQuote aria-hidden /> },
] as const;

/** A table as the caller has it: what it holds, who may read it and why, how it came to be. */
export function TablePage({ catalog, namespace, table, tab }: TableRef & { tab: TableTab }) {
  const ref: TableRef = { catalog, namespace, table };
  const detail = useTableDetail(ref);
  const navigate = useNavigate();
  return (
    <Page
      title={table}
      heading={<span className="break-all">{table}</span>}
      wide
      crumbs={[
        { label: "Explorer", to: "/explorer" },
        { label: catalog, to: `/explorer/${encodeURIComponent(catalog)}` },
        {
          label: namespace,
          to: `/explorer/${encodeURIComponent(catalog)}/${encodeURIComponent(namespace)}`,
        },
      ]}
      description={detail.data && <Facts detail={detail.data} />}
      actions={
        detail.data && (
          <>
            <RegisterDataset detail={detail.data} />
            <Link
              to={worksheetPath(
                `SELECT *\nFROM ${quoted(namespace)}.${quoted(table)}\nLIMIT 100`,
                catalog,
                namespace,
              )}
              className={buttonVariants({ variant: "primary" })}
            >
              <SquareTerminal aria-hidden />
              Query it
            </Link>
          </>
        )
      }
    >
      {detail.error && <ProblemNote error={detail.error} onRetry={() => void detail.refetch()} />}
      {detail.isPending && <SkeletonRows rows={10} />}
      {detail.data && (
        <Tabs
          label={`About ${table}`}
          value={tab}
          onChange={(next) =>
            navigate(tablePath(catalog, namespace, table, next), { replace: true })
          }
          tabs={TABS}
          panelClassName="pt-4"
        >
          {tab === "columns" && <ColumnsTab detail={detail.data} />}
          {tab === "sample" && <SampleTab tableRef={ref} />}
          {tab === "access" && <AccessTab tableRef={ref} />}
          {tab === "snapshots" && <SnapshotsTab tableRef={ref} />}
          {tab === "files" && <FilesTab tableRef={ref} />}
          {tab === "lineage" && <LineageTab tableRef={ref} />}
          {tab === "definition" && <Definition text={detail.data.definition} />}
        </Tabs>
      )}
    </Page>
  );
}

function Facts({ detail }: { detail: TableDetail }) {
  return (
    <div className="mt-1 flex flex-col gap-1.5">
      {detail.comment && <p>{detail.comment}</p>}
      <DatasetFacts detail={detail} />
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1 text-xs">
        <Badge>{detail.type}</Badge>
        {detail.row_count !== null && (
          <span className="tabular">{count(detail.row_count)} rows</span>
        )}
        {detail.size_bytes !== null && <span className="tabular">{bytes(detail.size_bytes)}</span>}
        {detail.owner_group && <span>owned by {detail.owner_group}</span>}
        {detail.privileges.length > 0 && <span>you may: {detail.privileges.join(", ")}</span>}
        <TagList tags={detail.tags} />
      </div>
    </div>
  );
}

function Definition({ text }: { text: string | null }) {
  if (text === null) {
    return (
      <p className="text-sm text-muted-foreground">You may not see how this table is defined.</p>
    );
  }
  return (
    <pre
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
      tabIndex={0}
      className="overflow-auto rounded-lg border bg-card p-4 font-mono text-xs leading-relaxed"
    >
      {text}
    </pre>
  );
}
