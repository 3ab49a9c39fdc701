import { MessagesSquare } from "lucide-react";
import type { About } from "@/api/chat";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";

const SHOWN = 8;

/** Before the first question: what the agent is, and what can be asked. Nothing is sent by itself. */
export function Welcome({
  about,
  onChoose,
}: {
  about: About;
  onChoose: (question: string) => void;
}) {
  return (
    <div className="mx-auto flex max-w-2xl flex-col gap-4 py-6">
      <div className="flex items-start gap-3">
        <MessagesSquare
          className="mt-0.5 size-6 shrink-0 text-primary"
          strokeWidth={1.5}
          aria-hidden
        />
        <div className="flex min-w-0 flex-col gap-2">
          <h2 className="text-base font-semibold">Ask your tables</h2>
          <p className="text-sm text-muted-foreground">{about.summary}</p>
          <Badge tone={about.model === null ? "outline" : "primary"} className="self-start">
            {about.model ?? "no language model"}
          </Badge>
        </div>
      </div>
      {about.measures.length > 0 && (
        <section aria-labelledby="chat-examples" className="flex flex-col gap-2">
          <h3 id="chat-examples" className="text-xs font-medium text-muted-foreground">
            Begin with
          </h3>
          <ul className="flex flex-wrap gap-2">
            {about.measures.slice(0, SHOWN).map((measure) => (
              <li key={measure}>
                <Button size="sm" onClick={() => onChoose(measure)}>
                  {measure}
                </Button>
              </li>
            ))}
          </ul>
        </section>
      )}
      {about.measures.length + about.dimensions.length > 0 && (
        <details className="text-sm">
          <summary className="min-h-6 cursor-pointer text-xs font-medium text-muted-foreground">
            All that is known by name
          </summary>
          <dl className="mt-2 grid gap-x-3 gap-y-1 text-xs [grid-template-columns:max-content_1fr]">
            <dt className="text-muted-foreground">Measures</dt>
            <dd className="min-w-0 break-words">{about.measures.join(", ")}</dd>
            <dt className="text-muted-foreground">By</dt>
            <dd className="min-w-0 break-words">{about.dimensions.join(", ")}</dd>
          </dl>
        </details>
      )}
    </div>
  );
}
