import { useMutation, useQueryClient } from "@tanstack/react-query";
import { BookUser } from "lucide-react";
import { useState } from "react";
import { api, etagOf, unwrap } from "@/api/client";
import { useMe } from "@/api/session";
import type { TableDetail } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Field, Input, Textarea } from "@/components/ui/input";
import { notify } from "@/components/ui/toast";

/** Who answers for a table, and what they say of it. */
export function DatasetFacts({ detail }: { detail: TableDetail }) {
  const dataset = detail.dataset;
  if (!dataset) return null;
  return (
    <div className="flex flex-col gap-1">
      {dataset.description && <p className="whitespace-pre-line">{dataset.description}</p>}
      <div className="flex flex-wrap items-center gap-1 text-xs">
        <BookUser className="size-3.5" aria-hidden />
        <span>{dataset.owner} answers for it</span>
        {dataset.tags.map((tag) => (
          <Badge key={tag} tone="outline">
            {tag}
          </Badge>
        ))}
      </div>
    </div>
  );
}

/** Registers a table as a data set, for those who may alter it. */
export function RegisterDataset({ detail }: { detail: TableDetail }) {
  const [open, setOpen] = useState(false);
  if (!detail.privileges.includes("alter")) return null;
  return (
    <>
      <Button onClick={() => setOpen(true)}>
        <BookUser aria-hidden />
        {detail.dataset ? "Change registration" : "Register"}
      </Button>
      {open && <Register detail={detail} onClose={() => setOpen(false)} />}
    </>
  );
}

function Register({ detail, onClose }: { detail: TableDetail; onClose: () => void }) {
  const me = useMe();
  const dataset = detail.dataset;
  const [owner, setOwner] = useState(dataset?.owner ?? me.username);
  const [description, setDescription] = useState(dataset?.description ?? "");
  const [tags, setTags] = useState((dataset?.tags ?? []).join(", "));
  const client = useQueryClient();
  const save = useMutation({
    mutationFn: () =>
      unwrap(
        api.PUT("/api/v1/catalogs/{catalog}/namespaces/{namespace}/tables/{table}/dataset", {
          params: {
            path: { catalog: detail.catalog, namespace: detail.namespace, table: detail.name },
            header: dataset ? { "if-match": etagOf(dataset.version) } : {},
          },
          body: {
            owner: owner.trim(),
            description: description.trim(),
            tags: tags
              .split(",")
              .map((one) => one.trim())
              .filter(Boolean),
          },
        }),
      ),
    onSuccess: () => {
      void client.invalidateQueries();
      notify(`${detail.namespace}.${detail.name} is registered`);
      onClose();
    },
  });
  return (
    <Dialog
      open
      onOpenChange={(next) => !next && onClose()}
      title={`Register ${detail.name}`}
      description="Who answers for the table, and what it is, for everybody who may see it."
      footer={
        <Button
          variant="primary"
          disabled={owner.trim() === ""}
          busy={save.isPending}
          onClick={() => save.mutate()}
        >
          Register
        </Button>
      }
    >
      <div className="flex flex-col gap-3">
        {save.error && <ProblemNote error={save.error} />}
        <Field label="Owner" hint="A group, a member of the table's workspace, or you.">
          {(props) => (
            <Input {...props} value={owner} onChange={(event) => setOwner(event.target.value)} />
          )}
        </Field>
        <Field label="Description">
          {(props) => (
            <Textarea
              {...props}
              value={description}
              maxLength={10_000}
              onChange={(event) => setDescription(event.target.value)}
            />
          )}
        </Field>
        <Field
          label="Tags"
          hint="Separated by commas. They describe; tags that rules follow are the stewards'."
        >
          {(props) => (
            <Input {...props} value={tags} onChange={(event) => setTags(event.target.value)} />
          )}
        </Field>
      </div>
    </Dialog>
  );
}
