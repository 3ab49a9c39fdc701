import { RotateCcw } from "lucide-react";
import { useId } from "react";
import { Badge, type Tone } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Input } from "@/components/ui/input";
import type { Item, ShownItem } from "./draft";

const TONES: Record<ShownItem<Item>["state"], Tone> = {
  living: "neutral",
  added: "success",
  changed: "warning",
  removed: "danger",
};

/** How an item differs from the living access data. */
export function StateMark({ state }: { state: ShownItem<Item>["state"] }) {
  return state === "living" ? null : <Badge tone={TONES[state]}>{state}</Badge>;
}

export function rowClass(state: ShownItem<Item>["state"]): string | undefined {
  return state === "removed" ? "opacity-60 line-through decoration-1" : undefined;
}

/** Takes back what was collected for one item. */
export function Undo({ name, onUndo }: { name: string; onUndo: () => void }) {
  return (
    <Button variant="ghost" size="icon-sm" aria-label={`Leave ${name} as it was`} onClick={onUndo}>
      <RotateCcw aria-hidden />
    </Button>
  );
}

/** A text field with proposals; anything may be typed. */
export function Proposing({
  value,
  onChange,
  proposals,
  ...props
}: {
  value: string;
  onChange: (value: string) => void;
  proposals: readonly string[];
} & Omit<React.ComponentProps<"input">, "value" | "onChange">) {
  const id = useId();
  return (
    <>
      <Input
        {...props}
        list={`${id}-list`}
        autoComplete="off"
        spellCheck={false}
        value={value}
        onChange={(event) => onChange(event.target.value)}
      />
      <datalist id={`${id}-list`}>
        {proposals.slice(0, 500).map((one) => (
          <option key={one} value={one} />
        ))}
      </datalist>
    </>
  );
}
