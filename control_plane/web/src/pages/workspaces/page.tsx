import { Cable, History, Info, Upload as UploadIcon, Users } from "lucide-react";
import { useNavigate, useParams } from "react-router";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { SkeletonRows } from "@/components/ui/feedback";
import { Tabs } from "@/components/ui/tabs";
import { NotFound } from "@/shell/crash";
import { Page } from "@/shell/page";
import { Connections } from "./connections";
import { useWorkspace, type Workspace } from "./data";
import { Files } from "./files";
import { Ingests } from "./ingests";
import { StateOf } from "./list";
import { Members } from "./members";
import { Overview } from "./overview";

const SECTIONS = ["overview", "members", "files", "connections", "ingests"] as const;
type SectionName = (typeof SECTIONS)[number];

/** One workspace: what it is and takes, who is in it, and how data comes into it. */
export default function WorkspacePage() {
  const { workspaceId = "", section = "overview" } = useParams();
  const workspace = useWorkspace(workspaceId);
  if (!SECTIONS.includes(section as SectionName)) return <NotFound />;
  return (
    <Page
      title={workspace.data?.name ?? "Workspace"}
      heading={
        workspace.data ? (
          <span className="inline-flex flex-wrap items-center gap-2 break-all">
            {workspace.data.name}
            <Badge tone="primary">{workspace.data.role}</Badge>
            <StateOf workspace={workspace.data} />
          </span>
        ) : undefined
      }
      description={workspace.data?.description}
      crumbs={[{ label: "Workspaces", to: "/workspaces" }]}
    >
      {workspace.error && (
        <ProblemNote error={workspace.error} onRetry={() => void workspace.refetch()} />
      )}
      {workspace.isPending && <SkeletonRows />}
      {workspace.data && <Sections workspace={workspace.data} section={section as SectionName} />}
    </Page>
  );
}

function Sections({ workspace, section }: { workspace: Workspace; section: SectionName }) {
  const navigate = useNavigate();
  const inside = workspace.role !== "viewer";
  return (
    <Tabs
      label="Workspace"
      value={section}
      onChange={(next) => navigate(`/workspaces/${workspace.id}/${next}`)}
      panelClassName="pt-4"
      tabs={[
        { value: "overview", label: "Overview", icon: <Info aria-hidden /> },
        { value: "members", label: "Members", icon: <Users aria-hidden /> },
        ...(inside
          ? ([
              { value: "files", label: "Files", icon: <UploadIcon aria-hidden /> },
              { value: "connections", label: "Connections", icon: <Cable aria-hidden /> },
              { value: "ingests", label: "Ingests", icon: <History aria-hidden /> },
            ] as const)
          : []),
      ]}
    >
      {section === "overview" && <Overview workspace={workspace} />}
      {section === "members" && <Members workspace={workspace} />}
      {section === "files" && inside && <Files workspace={workspace} />}
      {section === "connections" && inside && <Connections workspace={workspace} />}
      {section === "ingests" && inside && <Ingests workspace={workspace} />}
    </Tabs>
  );
}
