import { Activity, Boxes, KeyRound, ScrollText, ShieldCheck, Users, Wrench } from "lucide-react";
import { useNavigate, useParams } from "react-router";
import { useMay } from "@/api/session";
import { Tabs } from "@/components/ui/tabs";
import { NotFound } from "@/shell/crash";
import { Page } from "@/shell/page";
import { HealthPanel } from "./health";
import { LogsPanel } from "./logs";
import { MaintenancePanel } from "./maintenance";
import { PeoplePanel } from "./people";
import { PublicationPanel } from "./publication";
import { SecretsPanel } from "./secrets";
import { VersionsPanel } from "./versions";

const SECTIONS = [
  "health",
  "logs",
  "versions",
  "people",
  "secrets",
  "maintenance",
  "publication",
] as const;
type SectionName = (typeof SECTIONS)[number];

/** How the lab is: its services, who is in it, whether its rules are where they have to be. */
export default function AdminPage() {
  const { section } = useParams();
  const navigate = useNavigate();
  const mayRead = useMay("read_access");
  const administers = useMay("administer");
  if (!SECTIONS.includes(section as SectionName)) return <NotFound />;
  const current = section as SectionName;
  return (
    <Page title="Admin" description="How the lab's services are, and who is in it.">
      <Tabs
        label="Admin"
        value={current}
        onChange={(next) => navigate(`/admin/${next}`)}
        panelClassName="pt-4"
        tabs={[
          { value: "health", label: "Health", icon: <Activity aria-hidden /> },
          ...(administers
            ? [{ value: "logs" as const, label: "Logs", icon: <ScrollText aria-hidden /> }]
            : []),
          { value: "versions", label: "Versions", icon: <Boxes aria-hidden /> },
          { value: "people", label: "People and groups", icon: <Users aria-hidden /> },
          ...(administers
            ? [{ value: "secrets" as const, label: "Secrets", icon: <KeyRound aria-hidden /> }]
            : []),
          { value: "maintenance", label: "Maintenance", icon: <Wrench aria-hidden /> },
          ...(mayRead
            ? [
                {
                  value: "publication" as const,
                  label: "Publication",
                  icon: <ShieldCheck aria-hidden />,
                },
              ]
            : []),
        ]}
      >
        {current === "health" && <HealthPanel />}
        {current === "logs" && <LogsPanel />}
        {current === "maintenance" && <MaintenancePanel />}
        {current === "versions" && <VersionsPanel />}
        {current === "people" && <PeoplePanel />}
        {current === "secrets" && (administers ? <SecretsPanel /> : <NotFound />)}
        {current === "publication" && <PublicationPanel />}
      </Tabs>
    </Page>
  );
}
