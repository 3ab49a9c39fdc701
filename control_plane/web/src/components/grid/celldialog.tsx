import { Copy } from "lucide-react";
import type { Column, Value } from "@/api/types";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { notify } from "@/components/ui/toast";
import { count } from "@/lib/format";
import { detailText, valueText } from "./values";

/** One value in full. */
export function CellDialog({
  column,
  row,
  value,
  onClose,
}: {
  column: Column;
  row: number;
  value: Value;
  onClose: () => void;
}) {
  const empty = value === null || value === undefined;
  const copy = () => {
    navigator.clipboard
      ?.writeText(valueText(value))
      .then(() => notify("Copied"))
      .catch(() => undefined);
  };
  return (
    <Dialog
      open
      onOpenChange={(open) => !open && onClose()}
      title={column.name}
      description={`${column.type}, row ${count(row + 1)}`}
      className="max-w-2xl"
      footer={
        <Button onClick={copy} disabled={empty}>
          <Copy aria-hidden />
          Copy
        </Button>
      }
    >
      {empty ? (
        <p className="text-sm text-muted-foreground italic">null: no value</p>
      ) : (
        <pre
          // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
          tabIndex={0}
          className="max-h-[55vh] overflow-auto rounded-md border bg-muted p-3 font-mono text-xs whitespace-pre-wrap break-words"
        >
          {detailText(value)}
        </pre>
      )}
    </Dialog>
  );
}
