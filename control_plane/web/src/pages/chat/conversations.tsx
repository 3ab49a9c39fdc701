import { MessagesSquare } from "lucide-react";
import { NavLink } from "react-router";
import { ProblemNote } from "@/components/problem";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { cn } from "@/lib/cn";
import { ago } from "@/lib/format";
import { useNow } from "@/lib/hooks";
import { useConversations } from "./data";

/** The user's own conversations, the last used first. */
export function Conversations({ onOpen }: { onOpen?: () => void }) {
  const conversations = useConversations();
  const now = useNow(30_000);
  if (conversations.error && conversations.data === undefined) {
    return <ProblemNote error={conversations.error} onRetry={() => void conversations.refetch()} />;
  }
  if (conversations.data === undefined) return <SkeletonRows rows={5} />;
  if (conversations.data.length === 0) {
    return (
      <Empty icon={MessagesSquare} title="No conversation yet">
        Yours alone: nobody else sees what you ask here.
      </Empty>
    );
  }
  return (
    <nav aria-label="Conversations">
      <ul className="flex flex-col gap-0.5">
        {conversations.data.map((one) => (
          <li key={one.id}>
            <NavLink
              to={`/chat/${one.id}`}
              onClick={onOpen}
              className={({ isActive }) =>
                cn(
                  "flex flex-col rounded-md px-2 py-1.5 text-sm",
                  isActive ? "bg-primary-soft text-primary-strong" : "hover:bg-accent",
                )
              }
            >
              <span className="truncate">{one.title || "Untitled"}</span>
              <span className="text-2xs text-muted-foreground">
                {ago(one.updated_at, Math.max(now, Date.parse(one.updated_at)))}
              </span>
            </NavLink>
          </li>
        ))}
      </ul>
    </nav>
  );
}
