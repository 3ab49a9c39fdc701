import { Toast as Base } from "@base-ui/react/toast";
import { CircleCheck, TriangleAlert, X } from "lucide-react";
import { cn } from "@/lib/cn";
import { Button } from "./button";

const manager = Base.createToastManager();

/** Says that something was done. */
export function notify(title: string, description?: string): void {
  manager.add({ title, description, type: "done", timeout: 5000 });
}

/** Says that something failed; stays until it is closed. */
export function complain(title: string, description?: string): void {
  manager.add({ title, description, type: "failed", timeout: 0, priority: "high" });
}

function List() {
  const { toasts } = Base.useToastManager();
  return toasts.map((toast) => (
    <Base.Root
      key={toast.id}
      toast={toast}
      className="fade pointer-events-auto flex w-80 max-w-full items-start gap-2.5 rounded-lg border bg-popover p-3 text-popover-foreground shadow-pop"
    >
      {toast.type === "failed" ? (
        <TriangleAlert className="mt-0.5 size-4 shrink-0 text-destructive" aria-hidden />
      ) : (
        <CircleCheck className="mt-0.5 size-4 shrink-0 text-success" aria-hidden />
      )}
      <div className="min-w-0 flex-1">
        <Base.Title className={cn("text-sm font-medium break-words")} />
        <Base.Description className="text-xs break-words text-muted-foreground" />
      </div>
      <Base.Close render={<Button variant="ghost" size="icon-sm" aria-label="Dismiss" />}>
        <X aria-hidden />
      </Base.Close>
    </Base.Root>
  ));
}

/** Where messages appear; once in the page. */
export function Toaster() {
  return (
    <Base.Provider toastManager={manager} limit={4}>
      <Base.Portal>
        <Base.Viewport className="pointer-events-none fixed right-3 bottom-3 z-60 flex w-80 max-w-[calc(100vw-1.5rem)] flex-col gap-2">
          <List />
        </Base.Viewport>
      </Base.Portal>
    </Base.Provider>
  );
}
