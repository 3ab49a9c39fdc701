import { Eye, EyeOff, Tag } from "lucide-react";
import type { TableColumn } from "@/api/types";
import { Badge } from "@/components/ui/badge";
import { cn } from "@/lib/cn";

/** Tags of a table or a column. */
export function TagList({ tags }: { tags: readonly string[] }) {
  if (tags.length === 0) return null;
  return (
    <span className="inline-flex max-w-full flex-wrap gap-1">
      {tags.map((tag) => (
        <Badge key={tag} tone="outline" className="font-mono">
          <Tag aria-hidden />
          {tag}
        </Badge>
      ))}
    </span>
  );
}

const MASKS: Record<string, string> = {
  email_domain: "only the domain",
  last_4: "only the last 4",
  null: "always null",
  hash: "a pseudonym",
};

export function maskLabel(mask: string | null | undefined): string {
  return mask ? (MASKS[mask] ?? mask) : "masked";
}

/** How a column looks to the reader. */
export function LookBadge({
  look,
  mask,
}: {
  look: TableColumn["look"] | "denied";
  mask?: string | null;
}) {
  if (look === "plain") {
    return (
      <Badge tone="success">
        <Eye aria-hidden />
        plain
      </Badge>
    );
  }
  return (
    <Badge tone={look === "denied" ? "danger" : "warning"}>
      <EyeOff aria-hidden />
      {look === "denied" ? "hidden" : maskLabel(mask)}
    </Badge>
  );
}

/** A name of an object: on one line, unless it is too long for any. */
export function ObjectName({ name, className }: { name: string; className?: string }) {
  return (
    <span
      className={cn(
        "font-mono text-xs",
        name.length > 40 ? "break-all" : "whitespace-nowrap",
        className,
      )}
    >
      {name}
    </span>
  );
}
