import { cn } from "@/lib/cn";

/** A house on water. */
export function Logo({ className }: { className?: string }) {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true" className={cn("size-6 shrink-0", className)}>
      <rect width="32" height="32" rx="7" className="fill-primary" />
      <g
        fill="none"
        strokeWidth="2.4"
        strokeLinecap="round"
        strokeLinejoin="round"
        className="stroke-primary-foreground"
      >
        <path d="M8 14.500 16 7l8 7.500" />
        <path d="M6.500 20.500c3.200-2.600 6.300-2.600 9.500 0s6.300 2.600 9.500 0" />
        <path d="M6.500 25c3.200-2.600 6.300-2.600 9.500 0s6.300 2.600 9.500 0" opacity=".55" />
      </g>
    </svg>
  );
}
