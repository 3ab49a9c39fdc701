import { useMutation } from "@tanstack/react-query";
import { LogOut } from "lucide-react";
import { useState } from "react";
import { api, unwrap } from "@/api/client";
import { ProblemNote } from "@/components/problem";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { notify } from "@/components/ui/toast";
import { plural } from "@/lib/format";

/** Ends everybody's session in the console: what a cookie or a kept token opened, it opens no more. */
export function EndSessions() {
  const [open, setOpen] = useState(false);
  const end = useMutation({
    mutationFn: () => unwrap(api.POST("/api/v1/admin/sessions/end")),
    onSuccess: ({ ended }) => {
      setOpen(false);
      notify(`${plural(ended, "session")} ended`);
    },
  });
  return (
    <section className="flex flex-col items-start gap-2">
      <h2 className="text-sm font-semibold">Sessions</h2>
      <p className="max-w-prose text-sm text-muted-foreground">
        The console keeps tokens of who is signed in, sealed, behind a random value in their cookie.
        Ending all sessions makes both worthless at once. Whoever Keycloak still knows comes back
        without a password; who must not is disabled there.
      </p>
      <Button variant="danger-ghost" onClick={() => setOpen(true)}>
        <LogOut aria-hidden />
        End all sessions but mine
      </Button>
      <Dialog
        open={open}
        onOpenChange={setOpen}
        title="End all sessions but yours"
        description="Queries that run in the console go on until nobody listens to them any more, which is half a minute."
        footer={
          <Button variant="danger" busy={end.isPending} onClick={() => end.mutate()}>
            End them
          </Button>
        }
      >
        {end.error && <ProblemNote error={end.error} />}
      </Dialog>
    </section>
  );
}
