import { Trash2 } from "lucide-react";
import { useState } from "react";
import { Button, type ButtonProps } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";

/** Removes one thing for good, once that is meant. */
export function RemoveButton({
  noun,
  name,
  note,
  busy,
  onRemove,
  ...button
}: {
  noun: string;
  name: string;
  /** What goes with it, and what stays. */
  note: string;
  busy: boolean;
  onRemove: () => void;
} & Pick<ButtonProps, "variant" | "size" | "className" | "aria-label">) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <Button {...button} busy={busy} onClick={() => setOpen(true)}>
        <Trash2 aria-hidden />
      </Button>
      <Dialog
        open={open}
        onOpenChange={setOpen}
        title={`Remove the ${noun}`}
        footer={
          <Button
            variant="danger"
            onClick={() => {
              setOpen(false);
              onRemove();
            }}
          >
            Remove
          </Button>
        }
      >
        <p className="text-sm break-words">
          “{name}” goes for good. {note}
        </p>
      </Dialog>
    </>
  );
}
