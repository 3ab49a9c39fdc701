import { type KeyboardEvent, type PointerEvent, useRef } from "react";

const [LEAST_PX, MOST_PX, STEP_PX] = [80, 900, 24];

/** Moves the border between what lies above and below it, by pointer or by arrow keys. */
export function Splitter({
  label,
  value,
  onChange,
}: {
  label: string;
  value: number;
  onChange: (px: number) => void;
}) {
  const start = useRef<{ y: number; value: number } | null>(null);
  const set = (px: number) => onChange(Math.round(Math.min(MOST_PX, Math.max(LEAST_PX, px))));
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowUp: -STEP_PX, ArrowDown: STEP_PX }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    set(value + step);
  };
  const onPointerDown = (event: PointerEvent<HTMLDivElement>) => {
    start.current = { y: event.clientY, value };
    event.currentTarget.setPointerCapture(event.pointerId);
  };
  const onPointerMove = (event: PointerEvent<HTMLDivElement>) => {
    if (start.current !== null) set(start.current.value + event.clientY - start.current.y);
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: a separator that moves has no element of its own
    <div
      role="separator"
      aria-label={label}
      aria-orientation="horizontal"
      aria-valuenow={value}
      aria-valuemin={LEAST_PX}
      aria-valuemax={MOST_PX}
      tabIndex={0}
      onKeyDown={onKeyDown}
      onPointerDown={onPointerDown}
      onPointerMove={onPointerMove}
      onPointerUp={() => {
        start.current = null;
      }}
      className="group flex h-2 shrink-0 cursor-row-resize touch-none items-center justify-center border-t bg-sidebar hover:bg-accent"
    >
      <span className="h-0.5 w-8 rounded-full bg-border-strong group-hover:bg-ring" />
    </div>
  );
}
