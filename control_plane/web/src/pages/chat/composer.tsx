import { SendHorizontal } from "lucide-react";
import { type KeyboardEvent, type RefObject, useId } from "react";
import { Button } from "@/components/ui/button";
import { Textarea } from "@/components/ui/input";

const LONGEST = 4000;

/** Where a question is written: Enter sends it, Shift+Enter makes a new line. */
export function Composer({
  text,
  onText,
  onSend,
  answering,
  running,
  busy,
  field,
}: {
  text: string;
  onText: (text: string) => void;
  onSend: () => void;
  answering: boolean;
  running: boolean;
  busy: boolean;
  field: RefObject<HTMLTextAreaElement | null>;
}) {
  const id = useId();
  const sendable = text.trim() !== "" && !running && !busy;
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    if (sendable) onSend();
  };
  return (
    <form
      className="flex items-end gap-2"
      onSubmit={(event) => {
        event.preventDefault();
        if (sendable) onSend();
      }}
    >
      <div className="min-w-0 flex-1">
        <label htmlFor={id} className="sr-only">
          {answering ? "Your answer" : "Your question"}
        </label>
        <Textarea
          id={id}
          ref={field}
          rows={2}
          maxLength={LONGEST}
          value={text}
          onChange={(event) => onText(event.target.value)}
          onKeyDown={onKeyDown}
          aria-describedby={`${id}-hint`}
          placeholder={answering ? "Answer what was asked back" : "Ask about your tables"}
          className="max-h-40 min-h-14 resize-none"
        />
        <p id={`${id}-hint`} className="text-2xs text-muted-foreground">
          {running
            ? "The last question is still on its way."
            : "Enter sends, Shift+Enter makes a new line. Every statement runs as you."}
        </p>
      </div>
      <Button
        type="submit"
        variant="primary"
        size="lg"
        disabled={!sendable}
        busy={busy}
        className="mb-4"
      >
        <SendHorizontal aria-hidden />
        <span className="sr-only sm:not-sr-only">{answering ? "Answer" : "Ask"}</span>
      </Button>
    </form>
  );
}
