import { MessagesSquare, PanelLeft, Plus } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { Link, useParams } from "react-router";
import type { Run } from "@/api/chat";
import { asProblem } from "@/api/problem";
import { ProblemNote } from "@/components/problem";
import { Button, buttonVariants } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { useTitle, useWide } from "@/lib/hooks";
import { Page } from "@/shell/page";
import { Composer } from "./composer";
import { Conversations } from "./conversations";
import { useAbout, useConversation, useSay } from "./data";
import { RunView } from "./run";
import { ConversationActions } from "./title";
import { Welcome } from "./welcome";

/** How far somebody may scroll and is still taken along. */
const NEAR_PX = 40;
const BESIDE_PX = 16;

/** Questions in words, answered with the rights of whoever asks. */
export default function ChatPage() {
  const { conversationId } = useParams();
  const about = useAbout();
  const wide = useWide();
  const [list, setList] = useState(false);
  if (about.error && about.data === undefined) {
    return <Away error={about.error} onRetry={() => void about.refetch()} />;
  }
  return (
    <div className="flex h-full min-h-0">
      {wide && (
        <aside className="flex w-64 shrink-0 flex-col gap-3 overflow-y-auto border-r p-3">
          <NewConversation />
          <Conversations />
        </aside>
      )}
      <Thread
        key={conversationId ?? "new"}
        conversationId={conversationId}
        onList={wide ? undefined : () => setList(true)}
      />
      <Dialog open={list && !wide} onOpenChange={setList} title="Conversations" shape="left">
        <div className="flex flex-col gap-3">
          <NewConversation onOpen={() => setList(false)} />
          <Conversations onOpen={() => setList(false)} />
        </div>
      </Dialog>
    </div>
  );
}

function NewConversation({ onOpen }: { onOpen?: () => void }) {
  return (
    <Link to="/chat" onClick={onOpen} className={buttonVariants()}>
      <Plus aria-hidden />
      New conversation
    </Link>
  );
}

/** The lab may run without the agent, or the agent may be away. */
function Away({ error, onRetry }: { error: unknown; onRetry: () => void }) {
  const { facts } = asProblem(error);
  if (facts.status !== 404) {
    return (
      <Page title="Chat">
        <ProblemNote error={error} onRetry={onRetry} />
      </Page>
    );
  }
  return (
    <Page title="Chat">
      <Empty
        icon={MessagesSquare}
        title="This lab runs without the agent"
        className="rounded-lg border bg-card"
        action={<Button onClick={onRetry}>Look again</Button>}
      >
        <p>It answers questions in words with SQL that runs as you. It comes up with</p>
        <code className="mt-2 inline-block rounded-md bg-secondary px-2 py-1 font-mono text-foreground">
          {facts.next_command ?? "lab up agent"}
        </code>
      </Empty>
    </Page>
  );
}

function Thread({
  conversationId,
  onList,
}: {
  conversationId: string | undefined;
  onList: (() => void) | undefined;
}) {
  const about = useAbout();
  const found = useConversation(conversationId);
  const say = useSay(conversationId);
  const [text, setText] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  const runs = found.data?.runs ?? [];
  const last = runs.at(-1);
  const scroll = useScroll(last);
  const title = found.data?.conversation.title || "New conversation";
  useTitle(conversationId === undefined ? "Chat" : `${title} · Chat`);
  useEffect(() => {
    // On a phone the keyboard would cover what there is to read.
    if (matchMedia("(pointer: fine)").matches) field.current?.focus();
  }, []);

  const send = (words: string) => {
    say.mutate(words, {
      onSuccess: () => {
        setText("");
        field.current?.focus();
      },
    });
  };
  const write = (words: string) => {
    setText(words);
    field.current?.focus();
  };
  const missing = conversationId !== undefined && found.error && found.data === undefined;
  return (
    <section aria-label="Conversation" className="flex min-w-0 flex-1 flex-col">
      <header className="flex min-h-12 items-center gap-2 border-b px-3 md:px-6">
        {onList && (
          <Button variant="ghost" size="icon" aria-label="Conversations" onClick={onList}>
            <PanelLeft aria-hidden />
          </Button>
        )}
        <h1 className="min-w-0 flex-1 truncate text-base font-semibold">
          {missing ? "Chat" : title}
        </h1>
        {found.data && <ConversationActions conversation={found.data.conversation} />}
      </header>
      <section
        ref={scroll}
        aria-label="Questions and answers"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
        tabIndex={0}
        className="min-h-0 flex-1 overflow-y-auto px-3 py-4 -outline-offset-2 md:px-6"
      >
        {conversationId === undefined ? (
          about.data && <Welcome about={about.data} onChoose={write} />
        ) : missing ? (
          <ProblemNote error={found.error} onRetry={() => void found.refetch()} />
        ) : found.data === undefined ? (
          <SkeletonRows rows={8} />
        ) : (
          <ol className="mx-auto flex max-w-4xl flex-col gap-6">
            {runs.map((run) => (
              <RunView
                key={run.id}
                run={run}
                last={run === last}
                onAnswer={send}
                onAskAgain={write}
                onStopped={() => field.current?.focus()}
                busy={say.isPending}
              />
            ))}
          </ol>
        )}
      </section>
      {!missing && (
        <div className="border-t px-3 pt-3 pb-1 md:px-6">
          <div className="mx-auto flex max-w-4xl flex-col gap-2">
            {say.error && <ProblemNote error={say.error} />}
            <Composer
              text={text}
              onText={setText}
              onSend={() => send(text.trim())}
              answering={last?.state === "waiting"}
              running={last?.state === "running"}
              busy={say.isPending}
              field={field}
            />
          </div>
        </div>
      )}
    </section>
  );
}

/**
 * Follows what is new, unless somebody has scrolled up to read: as far as the last question stays in sight, so
 * that an answer is read from its beginning.
 */
function useScroll(last: Run | undefined) {
  const host = useRef<HTMLElement>(null);
  const shown = useRef<string | undefined>(undefined);
  useEffect(() => {
    const element = host.current;
    const content = element?.firstElementChild;
    if (!element || !content) return;
    const follow = () => {
      const question = content.lastElementChild?.getBoundingClientRect().top ?? 0;
      const away = question - element.getBoundingClientRect().top - BESIDE_PX;
      element.scrollTop = Math.min(element.scrollHeight, element.scrollTop + away);
    };
    let place = element.scrollTop;
    const observer = new ResizeObserver(() => {
      // What shrinks above moves the place, too: then the end is in sight.
      const atEnd = element.scrollTop + element.clientHeight >= element.scrollHeight - 1;
      const read = !atEnd && Math.abs(element.scrollTop - place) > NEAR_PX;
      if (!read) follow();
      place = read ? place : element.scrollTop;
    });
    if (shown.current !== last?.id) {
      // A question of one's own is always shown.
      follow();
      place = element.scrollTop;
      shown.current = last?.id;
    }
    observer.observe(content);
    return () => observer.disconnect();
  }, [last?.id]);
  return host;
}
