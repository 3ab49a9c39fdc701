import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useNavigate } from "react-router";
import { api, etagOf, unwrap } from "@/api/client";
import { ApiProblem } from "@/api/problem";
import type { SavedQuery, Share } from "@/api/types";
import { MeanwhileNote } from "@/components/meanwhile";
import { ProblemNote } from "@/components/problem";
import { Shares } from "@/components/shares";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Field, Input, Textarea } from "@/components/ui/input";
import { notify } from "@/components/ui/toast";
import type { ParameterValue } from "@/query/parametervalues";
import { toSpecs } from "@/query/parametervalues";
import type { Sheet } from "./sheets";

/** Saves a worksheet's text, anew or over what it was opened from, and shares it. */
export function SaveDialog({
  open,
  onOpenChange,
  sheet,
  values,
  onSaved,
}: {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  sheet: Sheet;
  values: Readonly<Record<string, ParameterValue>>;
  onSaved: (saved: SavedQuery) => void;
}) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [title, setTitle] = useState("");
  const [description, setDescription] = useState("");
  const [shares, setShares] = useState<Share[]>([]);
  const [known, setKnown] = useState<SavedQuery | null>(null);
  const savedId = sheet.saved?.id;

  // biome-ignore lint/correctness/useExhaustiveDependencies: filled when it opens, not while somebody types
  useEffect(() => {
    if (!open) return;
    setTitle(sheet.saved || !sheet.title.startsWith("Worksheet ") ? sheet.title : "");
    setDescription("");
    setShares([]);
    setKnown(null);
    save.reset();
    if (savedId === undefined) return;
    unwrap(
      api.GET("/api/v1/saved-queries/{saved_query_id}", {
        params: { path: { saved_query_id: savedId } },
      }),
    )
      .then((found) => {
        setKnown(found);
        setDescription(found.description);
        setShares(found.shares);
      })
      .catch(() => undefined);
  }, [open, savedId]);

  const save = useMutation({
    mutationFn: async (as: "new" | "same" | "over") => {
      const body = {
        title: title.trim(),
        description,
        statement: sheet.text,
        catalog: sheet.catalog,
        namespace: sheet.namespace,
        parameters: toSpecs(values),
        shares,
      };
      if (as === "new" || sheet.saved === null) {
        return unwrap(api.POST("/api/v1/saved-queries", { body }));
      }
      const version = as === "over" ? (known?.version ?? sheet.saved.version) : sheet.saved.version;
      return unwrap(
        api.PUT("/api/v1/saved-queries/{saved_query_id}", {
          params: {
            path: { saved_query_id: sheet.saved.id },
            header: { "if-match": etagOf(version) },
          },
          body,
        }),
      );
    },
    onSuccess: (saved) => {
      onSaved(saved);
      onOpenChange(false);
      notify(`Saved “${saved.title}”`);
      void client.invalidateQueries({ queryKey: ["saved-queries"] });
      navigate(`/worksheet/saved/${saved.id}`, { replace: true });
    },
    onError: async (error) => {
      // Somebody else saved in between: read theirs, so that "over" is based on it.
      if (error instanceof ApiProblem && error.status === 412 && savedId !== undefined) {
        const found = await unwrap(
          api.GET("/api/v1/saved-queries/{saved_query_id}", {
            params: { path: { saved_query_id: savedId } },
          }),
        ).catch(() => null);
        if (found) setKnown(found);
      }
    },
  });

  const mine = sheet.saved !== null && (known === null || known.can_edit);
  const stale = save.error instanceof ApiProblem && save.error.status === 412;
  const unnamed = title.trim() === "";
  return (
    <Dialog
      open={open}
      onOpenChange={onOpenChange}
      title={sheet.saved ? "Save query" : "Save as a query"}
      description="Its text is kept and can be shared. Rows never are: everybody runs it with their own rights."
      footer={
        <>
          {sheet.saved && (
            <Button onClick={() => save.mutate("new")} busy={save.isPending} disabled={unnamed}>
              Save as a new query
            </Button>
          )}
          {(mine || !sheet.saved) && (
            <Button
              variant={stale ? "danger" : "primary"}
              onClick={() => save.mutate(stale ? "over" : "same")}
              busy={save.isPending}
              disabled={unnamed}
            >
              {stale ? "Replace theirs" : "Save"}
            </Button>
          )}
        </>
      }
    >
      <form
        className="flex flex-col gap-3"
        onSubmit={(event) => {
          event.preventDefault();
          if (!unnamed) save.mutate("same");
        }}
      >
        {save.error && <ProblemNote error={save.error} />}
        {stale && known && <MeanwhileNote theirs={known} noun="query" />}
        {!mine && sheet.saved && (
          <p className="text-sm text-muted-foreground">
            {known?.owner} shared this with you to read. You can save a copy of your own.
          </p>
        )}
        <Field label="Title">
          {(props) => (
            <Input
              {...props}
              value={title}
              maxLength={200}
              onChange={(event) => setTitle(event.target.value)}
            />
          )}
        </Field>
        <Field label="Description" hint="Optional.">
          {(props) => (
            <Textarea
              {...props}
              value={description}
              onChange={(event) => setDescription(event.target.value)}
            />
          )}
        </Field>
        <Shares shares={shares} onChange={setShares} />
      </form>
    </Dialog>
  );
}
