import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, unwrap } from "@/api/client";
import type { Parameter, PlanKind } from "@/api/types";
import { ProblemNote } from "@/components/problem";
import { Dialog } from "@/components/ui/dialog";
import { SkeletonRows } from "@/components/ui/feedback";
import { Field, Select } from "@/components/ui/input";

export interface PlanRequest {
  statement: string;
  catalog: string | null;
  namespace: string | null;
  parameters: Parameter[];
}

const KINDS: readonly { kind: PlanKind; label: string }[] = [
  { kind: "distributed", label: "Distributed: stages and exchanges" },
  { kind: "logical", label: "Logical: operators" },
  { kind: "io", label: "Inputs and outputs" },
  { kind: "validate", label: "Only whether it is valid" },
  { kind: "analyze", label: "Analyze: runs it and measures" },
];

/** Trino's plan for a statement. Rules are part of it: filters and masks stand where they are applied. */
export function PlanSheet({
  request,
  onClose,
}: {
  request: PlanRequest | null;
  onClose: () => void;
}) {
  const [kind, setKind] = useState<PlanKind>("distributed");
  const plan = useQuery({
    queryKey: ["plan", kind, request],
    queryFn: () =>
      unwrap(
        api.POST("/api/v1/sql/explain", {
          body: {
            statement: request?.statement ?? "",
            catalog: request?.catalog,
            namespace: request?.namespace,
            parameters: request?.parameters ?? [],
            kind,
          },
        }),
      ),
    enabled: request !== null,
    retry: false,
    gcTime: 0,
    staleTime: Number.POSITIVE_INFINITY,
  });
  return (
    <Dialog
      open={request !== null}
      onOpenChange={(open) => !open && onClose()}
      title="Plan"
      description="As Trino would run it for you, rules included."
      shape="right"
      className="max-w-3xl"
    >
      <div className="flex flex-col gap-3">
        <Field label="Kind" className="max-w-xs">
          {(props) => (
            <Select
              {...props}
              value={kind}
              onChange={(event) => setKind(event.target.value as PlanKind)}
            >
              {KINDS.map((one) => (
                <option key={one.kind} value={one.kind}>
                  {one.label}
                </option>
              ))}
            </Select>
          )}
        </Field>
        {plan.error ? (
          <ProblemNote error={plan.error} onRetry={() => void plan.refetch()} />
        ) : plan.isPending ? (
          <SkeletonRows />
        ) : (
          <pre
            // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
            tabIndex={0}
            className="overflow-auto rounded-md border bg-muted p-3 font-mono text-2xs leading-relaxed"
          >
            {plan.data.document ? JSON.stringify(plan.data.document, null, 2) : plan.data.text}
          </pre>
        )}
      </div>
    </Dialog>
  );
}
