import { Pencil, Trash2 } from "lucide-react";
import { useEffect, useState } from "react";
import type { Conversation } from "@/api/chat";
import { ProblemNote } from "@/components/problem";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Field, Input } from "@/components/ui/input";
import { useForget, useRename } from "./data";

const LONGEST = 120;

/** What can be done with a conversation: another title, or removing it. */
export function ConversationActions({ conversation }: { conversation: Conversation }) {
  const [open, setOpen] = useState<"name" | "forget" | null>(null);
  const [title, setTitle] = useState(conversation.title);
  const rename = useRename(conversation.id);
  const forget = useForget(conversation.id);
  useEffect(() => setTitle(conversation.title), [conversation.title]);
  return (
    <>
      <Button
        variant="ghost"
        size="icon"
        aria-label="Rename this conversation"
        onClick={() => setOpen("name")}
      >
        <Pencil aria-hidden />
      </Button>
      <Button
        variant="danger-ghost"
        size="icon"
        aria-label="Remove this conversation"
        onClick={() => setOpen("forget")}
      >
        <Trash2 aria-hidden />
      </Button>
      <Dialog
        open={open === "name"}
        onOpenChange={() => setOpen(null)}
        title="Rename the conversation"
        footer={
          <Button
            variant="primary"
            busy={rename.isPending}
            disabled={title.trim() === ""}
            onClick={() => rename.mutate(title.trim(), { onSuccess: () => setOpen(null) })}
          >
            Save
          </Button>
        }
      >
        <Field label="Title">
          {(props) => (
            <Input
              {...props}
              value={title}
              maxLength={LONGEST}
              onChange={(event) => setTitle(event.target.value)}
            />
          )}
        </Field>
        {rename.error && <ProblemNote error={rename.error} className="mt-3" />}
      </Dialog>
      <Dialog
        open={open === "forget"}
        onOpenChange={() => setOpen(null)}
        title="Remove the conversation"
        description="Its questions and answers go for good. The record of what was run stays in the audit."
        footer={
          <Button variant="danger" busy={forget.isPending} onClick={() => forget.mutate()}>
            Remove
          </Button>
        }
      >
        {forget.error && <ProblemNote error={forget.error} />}
      </Dialog>
    </>
  );
}
