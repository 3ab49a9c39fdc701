import { Plus, Tag, Trash2 } from "lucide-react";
import { useState } from "react";
import { Link } from "react-router";
import { useInfo, useMay } from "@/api/session";
import type { AccessDocument, TagAssignment } from "@/api/types";
import { type DataColumn, DataTable } from "@/components/datatable";
import { ObjectName } from "@/components/tags";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Empty } from "@/components/ui/feedback";
import { Field } from "@/components/ui/input";
import { governedTablePath } from "@/lib/paths";
import { useObjects, useStaging } from "./data";
import { keyOf, type ShownItem, withDraft } from "./draft";
import { Proposing, rowClass, StateMark, Undo } from "./staged";

/** `ns.table` of an object that names a table or a column of one; undefined for wider ones. */
export function tableOf(object: string): string | undefined {
  const parts = object.split(".");
  return parts.length < 2 || parts[1] === "*" ? undefined : parts.slice(0, 2).join(".");
}

/** What data is: labels on namespaces, tables and columns. */
export function TagsPanel({ document }: { document: AccessDocument }) {
  const mayEdit = useMay("edit_rules");
  const catalog = useInfo()?.default_catalog ?? "";
  const { draft, put } = useStaging();
  const [adding, setAdding] = useState(false);
  const shown = withDraft<TagAssignment>("tags", document.tags, draft);
  const columns: DataColumn<ShownItem<TagAssignment>>[] = [
    {
      id: "object",
      header: "Object",
      value: ({ item }) => item.object,
      cell: ({ item }) => {
        const table = tableOf(item.object);
        return table ? (
          <Link to={governedTablePath(catalog, table)} className="text-primary hover:underline">
            <ObjectName name={item.object} />
          </Link>
        ) : (
          <ObjectName name={item.object} />
        );
      },
    },
    {
      id: "tag",
      header: "Tag",
      value: ({ item }) => item.tag,
      cell: ({ item, state }) => (
        <span className="flex flex-wrap items-center gap-1.5">
          <Badge tone="outline" className="font-mono">
            <Tag aria-hidden />
            {item.tag}
          </Badge>
          <StateMark state={state} />
        </span>
      ),
    },
    {
      id: "means",
      header: "What it means",
      value: ({ item }) =>
        rulesOf(document, item.tag)
          .map((rule) => rule.id)
          .join(" "),
      cell: ({ item }) => {
        const rules = rulesOf(document, item.tag);
        return rules.length === 0 ? (
          <span className="text-muted-foreground">no rule: information only</span>
        ) : (
          <span className="flex flex-wrap gap-x-3">
            {rules.map((rule) => (
              <Link
                key={rule.id}
                to={`/governance/rules/${encodeURIComponent(rule.id)}`}
                className="text-primary hover:underline"
              >
                {rule.id}
              </Link>
            ))}
          </span>
        );
      },
      from: "sm",
    },
    {
      id: "actions",
      header: "",
      align: "right",
      cell: ({ item, state, before }) =>
        !mayEdit ? null : state === "living" ? (
          <Button
            variant="ghost"
            size="icon-sm"
            aria-label={`Take ${item.tag} off ${item.object}`}
            onClick={() => put("tags", item, null)}
          >
            <Trash2 aria-hidden />
          </Button>
        ) : (
          <Undo
            name={`${item.tag} on ${item.object}`}
            onUndo={() => put("tags", state === "added" ? item : before, before)}
          />
        ),
    },
  ];
  return (
    <>
      <DataTable
        label="Tags"
        rows={shown}
        columns={columns}
        rowKey={({ item }) => keyOf("tags", item)}
        rowClassName={({ state }) => rowClass(state)}
        filterLabel="Filter tags and objects"
        noun="tag"
        empty={
          <Empty icon={Tag} title="Nothing is tagged">
            A tag on a column, such as pii.email, lets one rule hold for every column like it.
          </Empty>
        }
        actions={
          mayEdit && (
            <Button variant="primary" onClick={() => setAdding(true)}>
              <Plus aria-hidden />
              Tag something
            </Button>
          )
        }
      />
      <AddTag
        open={adding}
        onOpenChange={setAdding}
        document={document}
        onAdd={(item) => put("tags", null, item)}
      />
    </>
  );
}

function rulesOf(document: AccessDocument, tag: string) {
  return document.rules.filter((rule) => rule.tag === tag);
}

function AddTag({
  open,
  onOpenChange,
  document,
  onAdd,
}: {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  document: AccessDocument;
  onAdd: (item: TagAssignment) => void;
}) {
  const [object, setObject] = useState("");
  const [tag, setTag] = useState("");
  const objects = useObjects();
  const tags = [
    ...new Set([
      ...document.tags.map((one) => one.tag),
      ...document.rules.flatMap((rule) => rule.tag ?? []),
    ]),
  ].sort();
  const exists = document.tags.some((one) => one.object === object && one.tag === tag);
  const ready = object.trim() !== "" && tag.trim() !== "" && !exists;
  const add = () => {
    onAdd({ object: object.trim(), tag: tag.trim() });
    setObject("");
    setTag("");
    onOpenChange(false);
  };
  return (
    <Dialog
      open={open}
      onOpenChange={onOpenChange}
      title="Tag something"
      description="It is collected with your other changes; nothing is published yet."
      footer={
        <Button variant="primary" disabled={!ready} onClick={add}>
          Collect
        </Button>
      }
    >
      <form
        className="flex flex-col gap-3"
        onSubmit={(event) => {
          event.preventDefault();
          if (ready) add();
        }}
      >
        <Field
          label="Object"
          hint="A column (ns.table.column), a table (ns.table), a namespace (ns.*), or * for everything."
        >
          {(props) => (
            <Proposing
              {...props}
              className="font-mono"
              value={object}
              onChange={setObject}
              proposals={objects.all}
            />
          )}
        </Field>
        <Field
          label="Tag"
          hint="For example pii.email."
          error={exists ? "It carries this tag already." : undefined}
        >
          {(props) => (
            <Proposing
              {...props}
              className="font-mono"
              value={tag}
              onChange={setTag}
              proposals={tags}
            />
          )}
        </Field>
      </form>
    </Dialog>
  );
}
