import { useMutation, useQueryClient } from "@tanstack/react-query";
import { KeyRound } from "lucide-react";
import { useState } from "react";
import { api, unwrap } from "@/api/client";
import { asProblem } from "@/api/problem";
import { useMe } from "@/api/session";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { complain, notify } from "@/components/ui/toast";
import { instant } from "@/lib/format";
import { here } from "@/lib/paths";
import { usePermission } from "./data";

/** Asks for the permission to run jobs while their owner is away; the browser leaves for Keycloak and comes back. */
export function AskPermission({ reason }: { reason?: string | null }) {
  const [open, setOpen] = useState(false);
  const me = useMe();
  const ask = useMutation({
    mutationFn: () => unwrap(api.POST("/api/v1/job-permission", { body: { next: here() } })),
    onSuccess: ({ url }) => window.location.assign(url),
    onError: (error) => complain("The sign-in could not begin", asProblem(error).message),
  });
  return (
    <section
      aria-label="Permission"
      className="flex flex-wrap items-center gap-3 rounded-lg border bg-warning-soft px-4 py-3 text-sm"
    >
      <KeyRound className="size-4 shrink-0 text-warning" aria-hidden />
      <p className="min-w-0 flex-1 basis-60">
        Your scheduled jobs are paused{reason ? `: ${reason}` : ""}. They need your permission to
        run as you while you are away.
      </p>
      <Button onClick={() => setOpen(true)}>Give the permission…</Button>
      <Dialog
        open={open}
        onOpenChange={setOpen}
        title="Run jobs while you are away"
        description={`As ${me.username}, with your rights and no others.`}
        footer={
          <>
            <Button onClick={() => setOpen(false)}>Cancel</Button>
            <Button variant="primary" busy={ask.isPending} onClick={() => ask.mutate()}>
              Permit and sign in
            </Button>
          </>
        }
      >
        <ul className="flex list-disc flex-col gap-1.5 pl-5 text-sm">
          <li>
            The console keeps an offline token of yours, encrypted, and uses it for your jobs.
          </li>
          <li>
            Each run asks Keycloak anew who you are: what you may no more, your jobs may no more.
          </li>
          <li>When your account is disabled or you are in no group, your jobs are paused.</li>
          <li>
            You take the permission back on the page of jobs, or in Keycloak’s account console.
          </li>
        </ul>
      </Dialog>
    </section>
  );
}

/** What the permission is, for somebody who gave it. */
export function PermissionNote() {
  const permission = usePermission();
  const client = useQueryClient();
  const withdraw = useMutation({
    mutationFn: () => unwrap(api.DELETE("/api/v1/job-permission")),
    onSuccess: () => {
      notify("The permission is taken back", "Your scheduled jobs are paused.");
      void client.invalidateQueries({ queryKey: ["job-permission"] });
      void client.invalidateQueries({ queryKey: ["jobs"] });
    },
    onError: (error) => complain("It could not be taken back", asProblem(error).message),
  });
  const given = permission.data;
  if (!given?.granted || given.granted_at === null) return null;
  return (
    <p className="flex flex-wrap items-center gap-x-3 gap-y-1 text-xs text-muted-foreground">
      Your jobs run while you are away, as a member of {given.groups.join(", ")}: permitted on{" "}
      {instant(given.granted_at)}.
      <Button variant="link" size="sm" busy={withdraw.isPending} onClick={() => withdraw.mutate()}>
        Take it back
      </Button>
    </p>
  );
}
