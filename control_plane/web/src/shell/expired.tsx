import { useQueryClient } from "@tanstack/react-query";
import { LogIn } from "lucide-react";
import { useEffect, useState } from "react";
import { loginUrl, setSignedOutListener } from "@/api/client";
import { buttonVariants } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { here } from "@/lib/paths";

/** Says that the session has ended in the middle of something, and leads back to the same page. */
export function SessionEnded() {
  const [ended, setEnded] = useState(false);
  const client = useQueryClient();
  useEffect(() => {
    setSignedOutListener(() => setEnded(true));
    return () => setSignedOutListener(() => undefined);
  }, []);
  return (
    <Dialog
      open={ended}
      onOpenChange={(open) => {
        setEnded(open);
        if (!open) void client.invalidateQueries();
      }}
      title="Your session has ended"
      description="You were signed out, here or in another window. What you wrote in worksheets is kept in this browser."
      footer={
        <a href={loginUrl(here())} className={buttonVariants({ variant: "primary" })}>
          <LogIn aria-hidden />
          Sign in again
        </a>
      }
    >
      <p className="text-sm text-muted-foreground">
        A query that was running is canceled; run it again after you signed in.
      </p>
    </Dialog>
  );
}
