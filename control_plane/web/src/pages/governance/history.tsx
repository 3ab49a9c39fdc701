import { useMutation, useQuery } from "@tanstack/react-query";
import { FlaskConical, RotateCcw } from "lucide-react";
import { useState } from "react";
import { Link, useNavigate } from "react-router";
import { api, unwrap } from "@/api/client";
import { useMay } from "@/api/session";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Card, CardHeader } from "@/components/ui/card";
import { Dialog } from "@/components/ui/dialog";
import { Empty, SkeletonRows, Spinner } from "@/components/ui/feedback";
import { Field, Input } from "@/components/ui/input";
import { Checkbox } from "@/components/ui/switch";
import { notify } from "@/components/ui/toast";
import { cn } from "@/lib/cn";
import { ago, instant } from "@/lib/format";
import { useNow } from "@/lib/hooks";
import { ChangeList } from "./changes";
import { useRefresh } from "./data";
import { ImpactReport } from "./impact";

/** Every revision of the access data: who changed what and why, and the way back. */
export function RevisionHistory({
  revision,
  living,
}: {
  revision: string | undefined;
  living: number;
}) {
  const now = useNow(60_000);
  const revisions = useQuery({
    queryKey: ["revisions"],
    queryFn: () =>
      unwrap(api.GET("/api/v1/access/revisions", { params: { query: { limit: 500 } } })),
    staleTime: 10_000,
  });
  if (revisions.error)
    return <ProblemNote error={revisions.error} onRetry={() => void revisions.refetch()} />;
  if (revisions.isPending) return <SkeletonRows />;
  const chosen = Number(revision ?? living);
  return (
    <div className="grid items-start gap-4 lg:grid-cols-[20rem_1fr]">
      <Card className="max-h-[32rem] overflow-y-auto lg:max-h-[70vh]">
        <ol aria-label="Revisions">
          {revisions.data.map((one) => (
            <li key={one.revision} className="border-b last:border-b-0">
              <Link
                to={`/governance/history/${one.revision}`}
                aria-current={one.revision === chosen ? "true" : undefined}
                className={cn(
                  "flex flex-col gap-0.5 px-4 py-2.5 -outline-offset-2 hover:bg-accent/60",
                  one.revision === chosen && "bg-primary-soft hover:bg-primary-soft",
                )}
              >
                <span className="flex items-center gap-2 text-sm font-medium">
                  Revision {one.revision}
                  {one.revision === living && <Badge tone="primary">living</Badge>}
                </span>
                <span className="line-clamp-2 text-sm">{one.reason}</span>
                <span className="text-xs text-muted-foreground">
                  {one.author}, {ago(one.created_at, now)}
                </span>
              </Link>
            </li>
          ))}
        </ol>
      </Card>
      <Revision key={chosen} number={chosen} living={living} />
    </div>
  );
}

function Revision({ number, living }: { number: number; living: number }) {
  const mayEdit = useMay("edit_rules");
  const detail = useQuery({
    queryKey: ["revision-changes", number],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/access/revisions/{revision}/changes", {
          params: { path: { revision: number } },
        }),
      ),
    enabled: Number.isInteger(number) && number > 0,
  });
  const compare = useMutation({
    mutationFn: (against: "before" | "living") =>
      unwrap(
        api.POST("/api/v1/access/compare", {
          body:
            against === "before"
              ? {
                  before: detail.data?.based_on ?? number - 1,
                  after: number,
                  users: [],
                  tables: [],
                  count: true,
                }
              : { before: null, after: number, users: [], tables: [], count: true },
        }),
      ),
  });
  const [rolling, setRolling] = useState(false);
  if (detail.error)
    return <ProblemNote error={detail.error} onRetry={() => void detail.refetch()} />;
  if (detail.isPending) return <SkeletonRows />;
  const { author, reason, created_at, based_on, changes } = detail.data;
  return (
    <div className="flex min-w-0 flex-col gap-4">
      <Card>
        <CardHeader
          title={`Revision ${number}`}
          description={`${author}, ${instant(created_at)}: ${reason}`}
          actions={
            <>
              {based_on !== null && (
                <Button size="sm" busy={compare.isPending} onClick={() => compare.mutate("before")}>
                  <FlaskConical aria-hidden />
                  What it meant
                </Button>
              )}
              {number !== living && (
                <Button size="sm" busy={compare.isPending} onClick={() => compare.mutate("living")}>
                  <FlaskConical aria-hidden />
                  Against the living one
                </Button>
              )}
              {mayEdit && number !== living && (
                <Button size="sm" onClick={() => setRolling(true)}>
                  <RotateCcw aria-hidden />
                  Roll back to it
                </Button>
              )}
            </>
          }
        />
        <div className="border-t">
          {based_on === null ? (
            <Empty title="The first revision" />
          ) : (
            <ChangeList changes={changes} />
          )}
        </div>
      </Card>
      {compare.isPending && <Spinner label="Comparing what everybody sees" />}
      {compare.error && <ProblemNote error={compare.error} />}
      {compare.data && (
        <Card>
          <CardHeader
            title={
              compare.variables === "before" ? "What it meant" : "What going back to it would mean"
            }
            description={`${compare.data.report.before} → ${compare.data.report.after}`}
          />
          <ImpactReport impact={compare.data} />
        </Card>
      )}
      <RollBack number={number} open={rolling} onOpenChange={setRolling} />
    </div>
  );
}

function RollBack({
  number,
  open,
  onOpenChange,
}: {
  number: number;
  open: boolean;
  onOpenChange: (open: boolean) => void;
}) {
  const [reason, setReason] = useState("");
  const [widen, setWiden] = useState(false);
  const refresh = useRefresh();
  const navigate = useNavigate();
  const roll = useMutation({
    mutationFn: () =>
      unwrap(
        api.POST("/api/v1/access/rollback", {
          body: { revision: number, reason: reason.trim(), widen },
        }),
      ),
    onSuccess: (made) => {
      onOpenChange(false);
      refresh();
      notify(`Revision ${made.revision} is as revision ${number} was`);
      navigate(`/governance/history/${made.revision}`);
    },
  });
  return (
    <Dialog
      open={open}
      onOpenChange={onOpenChange}
      title={`Roll back to revision ${number}`}
      description="Makes a new revision with its tags, rules and grants. Exceptions that have ended stay ended."
      footer={
        <Button variant="primary" busy={roll.isPending} onClick={() => roll.mutate()}>
          <RotateCcw aria-hidden />
          Roll back
        </Button>
      }
    >
      <div className="flex flex-col gap-3">
        {roll.error && <ProblemNote error={roll.error} />}
        <Field label="Why" hint="Optional.">
          {(props) => (
            <Input
              {...props}
              value={reason}
              maxLength={1000}
              onChange={(event) => setReason(event.target.value)}
            />
          )}
        </Field>
        <Checkbox checked={widen} onChange={setWiden}>
          It may show somebody more than now
        </Checkbox>
      </div>
    </Dialog>
  );
}
