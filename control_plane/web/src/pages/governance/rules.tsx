import { EyeOff, Funnel, Lock, Pencil, Plus, ScrollText, Trash2 } from "lucide-react";
import { useState } from "react";
import { useNavigate } from "react-router";
import { useMay } from "@/api/session";
import type { AccessDocument, Rule } from "@/api/types";
import { type DataColumn, DataTable } from "@/components/datatable";
import { maskLabel, ObjectName } from "@/components/tags";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Empty } from "@/components/ui/feedback";
import { useStaging } from "./data";
import { type ShownItem, withDraft } from "./draft";
import { RuleDialog } from "./ruledialog";
import { rowClass, StateMark, Undo } from "./staged";

export const KIND_LABELS: Record<Rule["kind"], string> = {
  row_filter: "Row filter",
  column_mask: "Column mask",
  column_deny: "Hidden column",
};
const ICONS = { row_filter: Funnel, column_mask: EyeOff, column_deny: Lock } as const;

/** What a rule does, in a few words. */
export function effectOf(rule: Rule): string {
  if (rule.kind === "column_deny") return "the column is hidden";
  if (rule.kind === "column_mask") return maskLabel(rule.mask);
  return rule.expression ?? "";
}

const EMPTY: Rule = { id: "", kind: "column_mask", tag: "", mask: "hash" };

/** What tags and tables mean for whom. */
export function Rules({
  document,
  ruleId,
}: {
  document: AccessDocument;
  ruleId: string | undefined;
}) {
  const mayEdit = useMay("edit_rules");
  const navigate = useNavigate();
  const { draft, put } = useStaging();
  const [adding, setAdding] = useState(false);
  const shown = withDraft<Rule>("rules", document.rules, draft);
  const opened = shown.find(({ item }) => item.id === ruleId);
  const open = (id: string) => navigate(`/governance/rules/${encodeURIComponent(id)}`);
  const columns: DataColumn<ShownItem<Rule>>[] = [
    {
      id: "id",
      header: "Rule",
      value: ({ item }) => `${item.id} ${item.description ?? ""}`,
      cell: ({ item, state }) => {
        const Icon = ICONS[item.kind];
        return (
          <span className="flex min-w-40 flex-col">
            <span className="flex flex-wrap items-center gap-1.5">
              <Icon className="size-3.5 text-muted-foreground" aria-hidden />
              <button
                type="button"
                onClick={() => open(item.id)}
                className="min-h-6 rounded-sm text-left font-medium text-primary hover:underline"
              >
                {item.id}
              </button>
              <StateMark state={state} />
            </span>
            {item.description && (
              <span className="text-xs text-muted-foreground">{item.description}</span>
            )}
          </span>
        );
      },
    },
    {
      id: "kind",
      header: "Kind",
      value: ({ item }) => KIND_LABELS[item.kind],
      cell: ({ item }) => <Badge>{KIND_LABELS[item.kind]}</Badge>,
      from: "sm",
    },
    {
      id: "about",
      header: "About",
      value: ({ item }) => item.tag ?? item.object ?? "",
      cell: ({ item }) => <ObjectName name={item.tag ? `tag ${item.tag}` : (item.object ?? "")} />,
    },
    {
      id: "effect",
      header: "Effect",
      value: ({ item }) => effectOf(item),
      cell: ({ item }) => (
        <span
          className={
            item.kind === "row_filter" ? "line-clamp-2 max-w-md font-mono text-xs break-words" : ""
          }
        >
          {effectOf(item)}
        </span>
      ),
      from: "md",
    },
    {
      id: "exempt",
      header: "But not for",
      value: ({ item }) => (item.exempt ?? []).join(" "),
      cell: ({ item }) => (
        <span className="flex flex-wrap gap-1">
          {(item.exempt ?? []).map((group) => (
            <Badge key={group} tone="outline">
              {group}
            </Badge>
          ))}
        </span>
      ),
      from: "lg",
    },
    {
      id: "actions",
      header: "",
      align: "right",
      cell: ({ item, state, before }) =>
        mayEdit && (
          <span className="flex justify-end">
            {state !== "removed" && (
              <Button
                variant="ghost"
                size="icon-sm"
                aria-label={`Change ${item.id}`}
                onClick={() => open(item.id)}
              >
                <Pencil aria-hidden />
              </Button>
            )}
            {state === "living" ? (
              <Button
                variant="ghost"
                size="icon-sm"
                aria-label={`Remove ${item.id}`}
                onClick={() => put("rules", item, null)}
              >
                <Trash2 aria-hidden />
              </Button>
            ) : (
              <Undo
                name={item.id}
                onUndo={() => put("rules", state === "added" ? item : before, before)}
              />
            )}
          </span>
        ),
    },
  ];
  return (
    <>
      <DataTable
        label="Rules"
        rows={shown}
        columns={columns}
        rowKey={({ item }) => item.id}
        rowClassName={({ state }) => rowClass(state)}
        filterLabel="Filter rules"
        noun="rule"
        empty={
          <Empty icon={ScrollText} title="No rule narrows what grants give">
            A rule masks or hides columns with a tag, or filters rows of a table.
          </Empty>
        }
        actions={
          mayEdit && (
            <Button variant="primary" onClick={() => setAdding(true)}>
              <Plus aria-hidden />
              Write a rule
            </Button>
          )
        }
      />
      <RuleDialog
        rule={adding ? EMPTY : (opened?.item ?? null)}
        fresh={adding}
        readOnly={!mayEdit || opened?.state === "removed"}
        taken={shown.map(({ item }) => item.id)}
        document={document}
        onClose={() => {
          setAdding(false);
          if (ruleId !== undefined) navigate("/governance/rules");
        }}
        onSave={(rule) =>
          put("rules", document.rules.find((one) => one.id === rule.id) ?? null, rule)
        }
      />
    </>
  );
}
