import {
  CircleCheck,
  ClipboardList,
  History,
  KeyRound,
  ScrollText,
  ShieldAlert,
  Tags,
  TriangleAlert,
} from "lucide-react";
import { useNavigate, useParams } from "react-router";
import { useMay } from "@/api/session";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { Tabs } from "@/components/ui/tabs";
import { duration, plural } from "@/lib/format";
import { NotFound } from "@/shell/crash";
import { Page } from "@/shell/page";
import { useAccessData, useDrift, useStaging } from "./data";
import { Exceptions } from "./exceptions";
import { Grants } from "./grants";
import { RevisionHistory } from "./history";
import { Review } from "./review";
import { Rules } from "./rules";
import { TagsPanel } from "./tags";

const SECTIONS = ["tags", "rules", "grants", "exceptions", "review", "history"] as const;
type SectionName = (typeof SECTIONS)[number];

/** Who sees what: tags, rules, grants and exceptions, changed together, previewed, published, undone. */
export default function GovernancePage() {
  const { section, item } = useParams();
  const navigate = useNavigate();
  const mayRead = useMay("read_access");
  const access = useAccessData();
  const { draft } = useStaging();
  if (!SECTIONS.includes(section as SectionName)) return <NotFound />;
  if (!mayRead) {
    return (
      <Page title="Governance">
        <Empty icon={ShieldAlert} title="Access data is for data stewards, auditors and lab admins">
          Why you see a table as you do stands on its page in the explorer, under Access.
        </Empty>
      </Page>
    );
  }
  const current = section as SectionName;
  const document = access.document;
  return (
    <Page
      title="Governance"
      wide
      description="Tags say what data is, rules what that means, grants who may do what."
      actions={
        <>
          <Publication />
          {draft.length > 0 && current !== "review" && (
            <Button variant="primary" onClick={() => navigate("/governance/review")}>
              <ClipboardList aria-hidden />
              Review {plural(draft.length, "change")}
            </Button>
          )}
        </>
      }
    >
      {access.error && <ProblemNote error={access.error} onRetry={() => void access.refetch()} />}
      {access.isPending && <SkeletonRows rows={10} />}
      {document !== undefined && access.data !== undefined && (
        <Tabs
          label="Governance"
          value={current}
          onChange={(next) => navigate(`/governance/${next}`)}
          panelClassName="pt-4"
          tabs={[
            {
              value: "tags",
              label: "Tags",
              icon: <Tags aria-hidden />,
              count: document.tags.length,
            },
            {
              value: "rules",
              label: "Rules",
              icon: <ScrollText aria-hidden />,
              count: document.rules.length,
            },
            {
              value: "grants",
              label: "Grants",
              icon: <KeyRound aria-hidden />,
              count: document.grants.length,
            },
            {
              value: "exceptions",
              label: "Break-glass",
              icon: <ShieldAlert aria-hidden />,
              count: document.exceptions?.length ?? 0,
            },
            {
              value: "review",
              label: "Review",
              icon: <ClipboardList aria-hidden />,
              count: draft.length,
            },
            { value: "history", label: "History", icon: <History aria-hidden /> },
          ]}
        >
          {current === "tags" && <TagsPanel document={document} />}
          {current === "rules" && <Rules document={document} ruleId={item} />}
          {current === "grants" && <Grants document={document} />}
          {current === "exceptions" && <Exceptions document={document} />}
          {current === "review" && <Review revision={access.data.revision} document={document} />}
          {current === "history" && (
            <RevisionHistory revision={item} living={access.data.revision} />
          )}
        </Tabs>
      )}
    </Page>
  );
}

/** Whether what stands here is what the engines ask. */
function Publication() {
  const drift = useDrift().data;
  if (drift === undefined) return null;
  const age =
    drift.bundle_age_s === null ? "" : `, signed ${duration(drift.bundle_age_s * 1000)} ago`;
  return drift.problems.length === 0 ? (
    <Badge tone="success" title={`Revision ${drift.revision}${age}`}>
      <CircleCheck aria-hidden />
      Revision {drift.revision} is published
    </Badge>
  ) : (
    <Badge tone="warning" title={drift.problems.join("; ")}>
      <TriangleAlert aria-hidden />
      Revision {drift.revision}: {drift.problems[0]}
    </Badge>
  );
}
