import type { ReactNode } from "react";
import { Link } from "react-router";
import type { Share, WorkspaceRef } from "@/api/types";
import { ago } from "@/lib/format";
import { useNow } from "@/lib/hooks";

/** Something kept, as a list shows it. */
export function KeptCard({
  to,
  title,
  description,
  owner,
  mine,
  shares,
  workspace = null,
  updatedAt,
  icon,
  note,
}: {
  to: string;
  title: string;
  description: string;
  owner: string;
  mine: boolean;
  shares: readonly Share[];
  workspace?: WorkspaceRef | null;
  updatedAt: string;
  icon: ReactNode;
  note?: ReactNode;
}) {
  const now = useNow(60_000);
  return (
    <Link
      to={to}
      className="flex h-full flex-col gap-1.5 rounded-lg border bg-card p-4 hover:border-border-strong hover:bg-accent/40"
    >
      <span className="flex items-center gap-2 font-medium [&_svg]:size-4 [&_svg]:shrink-0 [&_svg]:text-muted-foreground">
        {icon}
        <span className="truncate">{title}</span>
      </span>
      {description && (
        <span className="line-clamp-2 text-sm text-muted-foreground">{description}</span>
      )}
      <span className="mt-auto flex flex-wrap items-center gap-x-3 gap-y-1 pt-1 text-xs text-muted-foreground">
        {note}
        {workspace && <span>in workspace {workspace.name}</span>}
        <span>{mine ? "yours" : `by ${owner}`}</span>
        <span>{ago(updatedAt, now)}</span>
        {shares.length > 0 && <span>shared with {shares.map((one) => one.group).join(", ")}</span>}
      </span>
    </Link>
  );
}
