import { useMutation } from "@tanstack/react-query";
import { ClipboardList, Eye, FlaskConical, Send, Trash2, TriangleAlert } from "lucide-react";
import { useState } from "react";
import { useNavigate } from "react-router";
import { api, etagOf, unwrap } from "@/api/client";
import { ApiProblem } from "@/api/problem";
import type { AccessDocument, Change } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { Button } from "@/components/ui/button";
import { Card, CardHeader } from "@/components/ui/card";
import { Empty, Failure, Spinner } from "@/components/ui/feedback";
import { Field, Input } from "@/components/ui/input";
import { Checkbox } from "@/components/ui/switch";
import { notify } from "@/components/ui/toast";
import { plural } from "@/lib/format";
import { ChangeList } from "./changes";
import { useRefresh, useStaging } from "./data";
import { nameOf, rebased, toChange } from "./draft";
import { ImpactReport } from "./impact";

/** Everything that was collected: what it would come to, and its publication. */
export function Review({ revision, document }: { revision: number; document: AccessDocument }) {
  const { draft, replace } = useStaging();
  const navigate = useNavigate();
  const refresh = useRefresh();
  const [reason, setReason] = useState("");
  const [widen, setWiden] = useState(false);
  const change = toChange(draft);
  const fingerprint = JSON.stringify(change);
  const preview = useMutation({
    mutationFn: (_: string) =>
      unwrap(
        api.POST("/api/v1/access/preview", {
          body: {
            add: { ...change.add, exceptions: [] },
            remove: { ...change.remove, exceptions: [] },
            users: [],
            tables: [],
            count: true,
          },
        }),
      ),
  });
  const publish = useMutation({
    mutationFn: () =>
      unwrap(
        api.POST("/api/v1/access/changes", {
          params: { header: { "if-match": etagOf(revision) } },
          body: {
            add: { ...change.add, exceptions: [] },
            remove: { ...change.remove, exceptions: [] },
            reason: reason.trim(),
            widen,
          },
        }),
      ),
    onSuccess: (result) => {
      replace([]);
      refresh();
      notify(
        `Revision ${result.revision} is made`,
        result.published
          ? "It is published: engines ask it from now on."
          : "It is being published.",
      );
      navigate(`/governance/history/${result.revision}`);
    },
    onError: (error) => {
      if (error instanceof ApiProblem && (error.status === 412 || error.status === 409)) refresh();
    },
  });
  if (draft.length === 0) {
    return (
      <Empty
        icon={ClipboardList}
        title="You have collected no change"
        className="rounded-lg border bg-card"
      >
        Change tags, rules and grants on their pages; here you see what all of it together means,
        before anything holds.
      </Empty>
    );
  }
  const changes: Change[] = draft.map((one) => ({
    verb: one.before === null ? "added" : one.after === null ? "removed" : "changed",
    section: one.section,
    name: nameOf(one.section, one.after ?? one.before ?? { object: "", tag: "" }),
    before: one.before as Record<string, unknown> | null,
    after: one.after as Record<string, unknown> | null,
  }));
  const tried =
    preview.data !== undefined && preview.variables === fingerprint ? preview.data : undefined;
  const stale = tried !== undefined && tried.revision !== revision;
  const widens = (tried?.widenings.length ?? 0) > 0;
  const ready =
    tried !== undefined && !tried.refused && !stale && reason.trim() !== "" && (!widens || widen);
  return (
    <div className="grid items-start gap-4 xl:grid-cols-[1fr_22rem]">
      <div className="flex min-w-0 flex-col gap-4">
        <Card>
          <CardHeader
            title={`1. ${plural(draft.length, "change")} collected`}
            description={`On revision ${revision}. Nothing of it holds yet.`}
            actions={
              <Button variant="danger-ghost" size="sm" onClick={() => replace([])}>
                <Trash2 aria-hidden />
                Discard all
              </Button>
            }
          />
          <div className="border-t">
            <ChangeList changes={changes} />
          </div>
        </Card>
        <Card>
          <CardHeader
            title="2. What it means"
            description="The sample users' views of every table, before and after, with rows counted."
            actions={
              <Button
                variant={tried ? "secondary" : "primary"}
                onClick={() => preview.mutate(fingerprint)}
                busy={preview.isPending}
              >
                <FlaskConical aria-hidden />
                {tried ? "Try again" : "Try it"}
              </Button>
            }
          />
          {preview.isPending && (
            <p className="px-4 pb-4">
              <Spinner label="Comparing what everybody sees" />
            </p>
          )}
          {preview.error && <ProblemNote error={preview.error} className="mx-4 mb-4" />}
          {tried?.refused && (
            <Failure title="The governor would not take this" className="mx-4 mb-4">
              <p className="whitespace-pre-wrap">{tried.refused}</p>
            </Failure>
          )}
          {tried && widens && (
            <div className="mx-4 mb-3 rounded-md bg-warning-soft px-3 py-2 text-sm">
              <p className="flex items-center gap-2 font-medium">
                <Eye className="size-4 text-warning" aria-hidden />
                Rules would no longer keep from somebody what they keep now
              </p>
              <ul className="mt-1 list-disc pl-9">
                {tried.widenings.map((one) => (
                  <li key={one}>{one}</li>
                ))}
              </ul>
            </div>
          )}
          {tried?.impact && <ImpactReport impact={tried.impact} />}
        </Card>
      </div>
      <Card className="p-4">
        <h2 className="text-sm font-semibold">3. Publish</h2>
        <form
          className="mt-3 flex flex-col gap-3"
          onSubmit={(event) => {
            event.preventDefault();
            if (ready) publish.mutate();
          }}
        >
          <Field label="Why" hint="Stands in the history, beside your name.">
            {(props) => (
              <Input
                {...props}
                value={reason}
                maxLength={1000}
                onChange={(event) => setReason(event.target.value)}
              />
            )}
          </Field>
          {widens && (
            <Checkbox checked={widen} onChange={setWiden}>
              I mean to show more than before
            </Checkbox>
          )}
          {(stale ||
            (publish.error instanceof ApiProblem && [409, 412].includes(publish.error.status))) && (
            <div className="flex flex-col gap-2 rounded-md bg-warning-soft px-3 py-2 text-sm">
              <p className="flex items-center gap-2">
                <TriangleAlert className="size-4 shrink-0 text-warning" aria-hidden />
                Somebody changed the access data in the meantime.
              </p>
              <Button
                size="sm"
                onClick={() => {
                  replace(rebased(draft, document));
                  publish.reset();
                  preview.reset();
                }}
              >
                Base mine on revision {revision}
              </Button>
            </div>
          )}
          {publish.error &&
            !(publish.error instanceof ApiProblem && [409, 412].includes(publish.error.status)) && (
              <ProblemNote error={publish.error} />
            )}
          <Button type="submit" variant="primary" disabled={!ready} busy={publish.isPending}>
            <Send aria-hidden />
            Publish
          </Button>
          {!tried && (
            <p className="text-xs text-muted-foreground">
              Try it first, so that you know what it does.
            </p>
          )}
        </form>
      </Card>
    </div>
  );
}
