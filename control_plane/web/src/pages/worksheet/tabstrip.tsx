import { Plus, X } from "lucide-react";
import { useNavigate } from "react-router";
import { Button } from "@/components/ui/button";
import { cn } from "@/lib/cn";
import type { Sheet, SheetStore } from "./sheets";

/** The open worksheets. */
export function SheetTabs({
  store,
  sheets,
  activeId,
}: {
  store: SheetStore;
  sheets: readonly Sheet[];
  activeId: string;
}) {
  const navigate = useNavigate();
  const show = (sheet: Sheet) => {
    store.activate(sheet.id);
    navigate(sheet.saved ? `/worksheet/saved/${sheet.saved.id}` : "/worksheet", { replace: true });
  };
  return (
    <nav
      aria-label="Worksheets"
      className="flex h-9 shrink-0 items-end gap-1 border-b bg-sidebar pl-2"
    >
      <ul className="flex min-w-0 items-end gap-0.5 overflow-x-auto [scrollbar-width:none]">
        {sheets.map((sheet) => {
          const active = sheet.id === activeId;
          const changed = sheet.saved !== null && sheet.saved.text !== sheet.text;
          return (
            <li
              key={sheet.id}
              className={cn(
                "group flex h-8 shrink-0 items-center rounded-t-md border border-b-0",
                active
                  ? "bg-background"
                  : "border-transparent text-muted-foreground hover:bg-accent",
              )}
            >
              <button
                type="button"
                aria-current={active ? "page" : undefined}
                onClick={() => show(sheet)}
                className="flex h-full max-w-44 items-center gap-1.5 rounded-t-md pr-1 pl-2.5 text-xs font-medium -outline-offset-2"
              >
                <span className="truncate">{sheet.title}</span>
                {changed && (
                  <span className="text-warning" title="changed since it was saved">
                    ●<span className="sr-only"> changed since it was saved</span>
                  </span>
                )}
              </button>
              <button
                type="button"
                aria-label={`Close ${sheet.title}`}
                onClick={() => store.close(sheet.id)}
                className="mr-0.5 flex size-6 items-center justify-center rounded-sm text-muted-foreground hover:bg-secondary hover:text-foreground"
              >
                <X className="size-3" aria-hidden />
              </button>
            </li>
          );
        })}
      </ul>
      <Button
        variant="ghost"
        size="icon-sm"
        className="mb-0.5"
        aria-label="New worksheet"
        onClick={() => {
          store.open();
          navigate("/worksheet", { replace: true });
        }}
      >
        <Plus aria-hidden />
      </Button>
    </nav>
  );
}
