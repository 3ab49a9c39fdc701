import { Inbox, LoaderCircle, type LucideIcon, RotateCw, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import { cn } from "@/lib/cn";
import { Button } from "./button";

/** In place of text that is on its way. */
export function Skeleton({ className }: { className?: string }) {
  return <div aria-hidden className={cn("shimmer h-4 rounded-sm bg-secondary", className)} />;
}

/** In place of a list that is on its way. */
export function SkeletonRows({ rows = 6, className }: { rows?: number; className?: string }) {
  return (
    <div role="status" aria-label="Loading" className={cn("flex flex-col gap-2.5 p-4", className)}>
      {Array.from({ length: rows }, (_, row) => (
        <Skeleton
          // biome-ignore lint/suspicious/noArrayIndexKey: rows without a content or an order of their own
          key={row}
          className={["w-11/12", "w-3/5", "w-4/5", "w-2/5"][row % 4]}
        />
      ))}
    </div>
  );
}

export function Spinner({ label = "Loading" }: { label?: string }) {
  return (
    <span role="status" className="inline-flex items-center gap-2 text-sm text-muted-foreground">
      <LoaderCircle className="size-4 animate-spin" aria-hidden />
      {label}…
    </span>
  );
}

/** Nothing is there: why, and what to do about it. */
export function Empty({
  icon: Icon = Inbox,
  title,
  children,
  action,
  heading = false,
  className,
}: {
  icon?: LucideIcon;
  title: ReactNode;
  /** It is all that the page has. */
  heading?: boolean;
  children?: ReactNode;
  action?: ReactNode;
  className?: string;
}) {
  const Title = heading ? "h1" : "p";
  return (
    <div className={cn("flex flex-col items-center gap-1.5 px-6 py-10 text-center", className)}>
      <Icon className="mb-1 size-6 text-muted-foreground" strokeWidth={1.5} aria-hidden />
      <Title className="text-sm font-medium">{title}</Title>
      {children && <div className="max-w-prose text-sm text-muted-foreground">{children}</div>}
      {action && <div className="mt-2">{action}</div>}
    </div>
  );
}

/** Something failed: what, what would be permitted, what to do next. */
export function Failure({
  title,
  children,
  onRetry,
  className,
}: {
  title: ReactNode;
  children?: ReactNode;
  onRetry?: () => void;
  className?: string;
}) {
  return (
    <div
      role="alert"
      className={cn(
        "flex items-start gap-3 rounded-lg border border-destructive/30 bg-destructive-soft px-4 py-3 text-sm",
        className,
      )}
    >
      <TriangleAlert className="mt-0.5 size-4 shrink-0 text-destructive" aria-hidden />
      <div className="min-w-0 flex-1">
        <p className="font-medium break-words">{title}</p>
        {children && <div className="mt-0.5 break-words text-foreground/85">{children}</div>}
      </div>
      {onRetry && (
        <Button size="sm" onClick={onRetry}>
          <RotateCw aria-hidden />
          Try again
        </Button>
      )}
    </div>
  );
}
