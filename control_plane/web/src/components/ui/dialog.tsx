import { Dialog as Base } from "@base-ui/react/dialog";
import { X } from "lucide-react";
import type { ReactNode } from "react";
import { cn } from "@/lib/cn";
import { Button } from "./button";

type Shape = "dialog" | "left" | "right";

const POPUP: Record<Shape, string> = {
  dialog:
    "pop top-[12vh] left-1/2 max-h-[80vh] w-[calc(100vw-2rem)] max-w-lg -translate-x-1/2 rounded-xl border",
  left: "slide-left inset-y-0 left-0 w-72 max-w-[85vw] border-r",
  right: "slide-right inset-y-0 right-0 w-full max-w-xl border-l",
};

/** A modal dialog, or a sheet from the left or right edge. Escape and the close button close it. */
export function Dialog({
  open,
  onOpenChange,
  title,
  description,
  shape = "dialog",
  footer,
  className,
  hideHeader = false,
  children,
}: {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  title: ReactNode;
  description?: ReactNode;
  shape?: Shape;
  footer?: ReactNode;
  className?: string;
  hideHeader?: boolean;
  children: ReactNode;
}) {
  return (
    <Base.Root open={open} onOpenChange={(next) => onOpenChange(next)}>
      <Base.Portal>
        <Base.Backdrop className="fade fixed inset-0 z-40 bg-black/35 dark:bg-black/55" />
        <Base.Popup
          className={cn(
            "fixed z-50 flex flex-col bg-popover text-popover-foreground shadow-modal outline-none",
            POPUP[shape],
            className,
          )}
        >
          <header className={cn("flex items-start gap-3 py-3 pr-12 pl-4", hideHeader && "sr-only")}>
            <div className="min-w-0 flex-1">
              <Base.Title className="text-base font-semibold">{title}</Base.Title>
              {description && (
                <Base.Description className="text-sm text-muted-foreground">
                  {description}
                </Base.Description>
              )}
            </div>
          </header>
          <div className={cn("min-h-0 flex-1 overflow-y-auto", !hideHeader && "px-4 pb-4")}>
            {children}
          </div>
          {footer && (
            <footer className="flex flex-wrap justify-end gap-2 border-t px-4 py-3">
              {footer}
            </footer>
          )}
          {!hideHeader && (
            <Base.Close
              render={
                <Button
                  variant="ghost"
                  size="icon-sm"
                  aria-label="Close"
                  className="absolute top-2.5 right-2.5"
                />
              }
            >
              <X aria-hidden />
            </Base.Close>
          )}
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}
