import { NavLink } from "react-router";
import { useMe } from "@/api/session";
import { cn } from "@/lib/cn";
import { type NavItem, navFor } from "./nav";

const GROUPS = ["Work", "Govern", "Operate"] as const;

/** The list of pages; `compact` shows icons only, whose names stand in their labels. */
export function NavList({
  compact = false,
  onNavigate,
}: {
  compact?: boolean;
  onNavigate?: () => void;
}) {
  const items = navFor(useMe().permissions);
  return (
    <nav aria-label="Pages" className="flex flex-col gap-4 p-2">
      {GROUPS.map((group) => {
        const own = items.filter((item) => item.group === group);
        if (own.length === 0) return null;
        return (
          <div key={group} className="flex flex-col gap-0.5">
            {!compact && (
              <p className="px-2 pb-1 text-2xs font-medium tracking-wide text-muted-foreground">
                {group}
              </p>
            )}
            {own.map((item) => (
              <NavEntry key={item.path} item={item} compact={compact} onNavigate={onNavigate} />
            ))}
          </div>
        );
      })}
    </nav>
  );
}

function NavEntry({
  item,
  compact,
  onNavigate,
}: {
  item: NavItem;
  compact: boolean;
  onNavigate?: () => void;
}) {
  return (
    <NavLink
      to={item.path}
      end={item.path === "/"}
      onClick={onNavigate}
      aria-label={compact ? item.label : undefined}
      title={compact ? item.label : undefined}
      className={({ isActive }) =>
        cn(
          "flex h-8 items-center gap-2.5 rounded-md px-2 text-sm font-medium transition-colors",
          compact && "justify-center",
          isActive
            ? "bg-primary-soft text-primary-strong"
            : "text-muted-foreground hover:bg-accent hover:text-foreground",
        )
      }
    >
      <item.icon className="size-4 shrink-0" strokeWidth={1.75} aria-hidden />
      {!compact && item.label}
    </NavLink>
  );
}
