import { cn } from "@/lib/cn";

const APPLE = typeof navigator !== "undefined" && /Mac|iPhone|iPad/.test(navigator.platform);

/** "Mod" is ⌘ on Apple's systems and Ctrl elsewhere. */
export function keyLabel(key: string): string {
  return key === "Mod" ? (APPLE ? "⌘" : "Ctrl") : key;
}

/** Keys to press together, or one after the other. */
export function Kbd({
  keys,
  hidden,
  className,
}: {
  keys: readonly string[];
  /** Beside a control whose name says what it does. */
  hidden?: boolean;
  className?: string;
}) {
  return (
    <span aria-hidden={hidden} className={cn("inline-flex items-center gap-0.5", className)}>
      {keys.map((key) => (
        <kbd
          key={key}
          className="inline-flex h-4.5 min-w-4.5 items-center justify-center rounded-sm border border-border-strong bg-muted px-1 font-sans text-2xs text-muted-foreground"
        >
          {keyLabel(key)}
        </kbd>
      ))}
    </span>
  );
}
