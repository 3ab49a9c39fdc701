import { useMutation } from "@tanstack/react-query";
import { ShieldAlert, TimerOff } from "lucide-react";
import { useState } from "react";
import { api, unwrap } from "@/api/client";
import { useMay } from "@/api/session";
import type { AccessDocument, AccessException } from "@/api/types";
import { DataTable } from "@/components/datatable";
import { ProblemNote } from "@/components/problem";
import { ObjectName } from "@/components/tags";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Empty } from "@/components/ui/feedback";
import { Field, Input, Select } from "@/components/ui/input";
import { Checkbox } from "@/components/ui/switch";
import { notify } from "@/components/ui/toast";
import { ago, instant } from "@/lib/format";
import { useNow } from "@/lib/hooks";
import { useObjects, useRefresh, useUsernames } from "./data";
import { PRIVILEGES } from "./grants";
import { Proposing } from "./staged";

const LASTS = [
  [15 * 60, "15 minutes"],
  [3600, "1 hour"],
  [4 * 3600, "4 hours"],
  [8 * 3600, "8 hours"],
] as const;

/** Access for one person for a while, at once and on record. */
export function Exceptions({ document }: { document: AccessDocument }) {
  const mayBreak = useMay("break_glass");
  const now = useNow(15_000);
  const [making, setMaking] = useState(false);
  const [ending, setEnding] = useState<AccessException | null>(null);
  const living = (document.exceptions ?? []).filter((one) => Date.parse(one.expires_at) > now);
  return (
    <>
      <DataTable
        label="Exceptions"
        rows={living}
        rowKey={(row) => row.id}
        filterLabel="Filter exceptions"
        noun="exception"
        empty={
          <Empty icon={ShieldAlert} title="No exception holds">
            In an emergency one person can be given access for some hours, with a reason. It ends by
            itself.
          </Empty>
        }
        actions={
          mayBreak && (
            <Button variant="primary" onClick={() => setMaking(true)}>
              <ShieldAlert aria-hidden />
              Break glass
            </Button>
          )
        }
        columns={[
          {
            id: "user",
            header: "User",
            value: (row) => row.user,
            cell: (row) => <span className="font-medium">{row.user}</span>,
          },
          {
            id: "object",
            header: "On",
            value: (row) => row.object,
            cell: (row) => <ObjectName name={row.object} />,
          },
          {
            id: "what",
            header: "What",
            cell: (row) => (
              <span className="flex flex-wrap gap-1">
                {(row.privileges ?? []).map((one) => (
                  <Badge key={one}>{one}</Badge>
                ))}
                {(row.lifts ?? []).map((one) => (
                  <Badge key={one} tone="warning">
                    without {one === "*" ? "any rule" : one}
                  </Badge>
                ))}
              </span>
            ),
          },
          {
            id: "until",
            header: "Ends",
            value: (row) => row.expires_at,
            cell: (row) => (
              <span title={instant(row.expires_at)} className="whitespace-nowrap">
                {ago(row.expires_at, now)}
              </span>
            ),
          },
          {
            id: "reason",
            header: "Why",
            value: (row) => row.reason,
            cell: (row) => row.reason,
            from: "md",
          },
          {
            id: "actions",
            header: "",
            align: "right",
            cell: (row) =>
              mayBreak && (
                <Button size="sm" onClick={() => setEnding(row)}>
                  <TimerOff aria-hidden />
                  End
                </Button>
              ),
          },
        ]}
      />
      <BreakGlass open={making} onOpenChange={setMaking} document={document} />
      <EndException exception={ending} onClose={() => setEnding(null)} />
    </>
  );
}

function BreakGlass({
  open,
  onOpenChange,
  document,
}: {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  document: AccessDocument;
}) {
  const [user, setUser] = useState("");
  const [object, setObject] = useState("");
  const [lastsS, setLastsS] = useState<number>(3600);
  const [reason, setReason] = useState("");
  const [privileges, setPrivileges] = useState<string[]>(["select"]);
  const [lifts, setLifts] = useState<string[]>([]);
  const refresh = useRefresh();
  const users = useUsernames();
  const objects = useObjects();
  const make = useMutation({
    mutationFn: () =>
      unwrap(
        api.POST("/api/v1/access/exceptions", {
          body: {
            user: user.trim(),
            object: object.trim(),
            lasts_s: lastsS,
            reason: reason.trim(),
            privileges,
            lifts,
          },
        }),
      ),
    onSuccess: (result) => {
      onOpenChange(false);
      refresh();
      notify(`${user} has access`, `Revision ${result.revision}; it ends by itself.`);
      setReason("");
    },
  });
  const toggle = (list: string[], one: string, on: boolean) =>
    on ? [...list, one] : list.filter((other) => other !== one);
  const ready =
    user.trim() !== "" &&
    object.trim() !== "" &&
    reason.trim() !== "" &&
    privileges.length + lifts.length > 0;
  return (
    <Dialog
      open={open}
      onOpenChange={onOpenChange}
      title="Break glass"
      description="Holds at once for one person, ends by itself, and stays in the history with your name."
      shape="right"
      footer={
        <Button
          variant="danger"
          disabled={!ready}
          busy={make.isPending}
          onClick={() => make.mutate()}
        >
          Give access now
        </Button>
      }
    >
      <div className="flex flex-col gap-3">
        {make.error && <ProblemNote error={make.error} />}
        <Field label="User">
          {(props) => <Proposing {...props} value={user} onChange={setUser} proposals={users} />}
        </Field>
        <Field label="On" hint="A table (ns.table) or a namespace (ns.*).">
          {(props) => (
            <Proposing
              {...props}
              className="font-mono"
              value={object}
              onChange={setObject}
              proposals={objects.tables}
            />
          )}
        </Field>
        <Field label="For">
          {(props) => (
            <Select
              {...props}
              value={lastsS}
              onChange={(event) => setLastsS(Number(event.target.value))}
            >
              {LASTS.map(([seconds, label]) => (
                <option key={seconds} value={seconds}>
                  {label}
                </option>
              ))}
            </Select>
          )}
        </Field>
        <Field label="Why">
          {(props) => (
            <Input
              {...props}
              value={reason}
              maxLength={1000}
              onChange={(event) => setReason(event.target.value)}
            />
          )}
        </Field>
        <fieldset>
          <legend className="mb-1 text-xs font-medium">May</legend>
          <div className="grid grid-cols-2 gap-x-4">
            {PRIVILEGES.map((one) => (
              <Checkbox
                key={one}
                checked={privileges.includes(one)}
                onChange={(on) => setPrivileges(toggle(privileges, one, on))}
              >
                {one}
              </Checkbox>
            ))}
          </div>
        </fieldset>
        <fieldset>
          <legend className="mb-1 text-xs font-medium">Without these rules there</legend>
          {document.rules.map((rule) => (
            <Checkbox
              key={rule.id}
              checked={lifts.includes(rule.id)}
              onChange={(on) => setLifts(toggle(lifts, rule.id, on))}
            >
              <span className="font-mono text-xs">{rule.id}</span>
            </Checkbox>
          ))}
        </fieldset>
      </div>
    </Dialog>
  );
}

function EndException({
  exception,
  onClose,
}: {
  exception: AccessException | null;
  onClose: () => void;
}) {
  const [reason, setReason] = useState("");
  const refresh = useRefresh();
  const end = useMutation({
    mutationFn: () =>
      unwrap(
        api.POST("/api/v1/access/exceptions/{exception_id}/end", {
          params: { path: { exception_id: exception?.id ?? "" } },
          body: { reason: reason.trim() },
        }),
      ),
    onSuccess: () => {
      onClose();
      refresh();
      notify("The exception has ended");
      setReason("");
    },
  });
  return (
    <Dialog
      open={exception !== null}
      onOpenChange={(open) => !open && onClose()}
      title="End the exception"
      description={`${exception?.user} on ${exception?.object}`}
      footer={
        <Button
          variant="primary"
          disabled={reason.trim() === ""}
          busy={end.isPending}
          onClick={() => end.mutate()}
        >
          End it
        </Button>
      }
    >
      <div className="flex flex-col gap-3">
        {end.error && <ProblemNote error={end.error} />}
        <Field label="Why">
          {(props) => (
            <Input {...props} value={reason} onChange={(event) => setReason(event.target.value)} />
          )}
        </Field>
      </div>
    </Dialog>
  );
}
