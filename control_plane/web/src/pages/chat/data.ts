import { type QueryClient, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useNavigate } from "react-router";
import { type ConversationDetail, chat, type Run, runEvents, type Step } from "@/api/chat";
import { asProblem, mayPass } from "@/api/problem";
import { complain } from "@/components/ui/toast";
import { added, withRun } from "./steps";

const LIST = ["chat-conversations"] as const;
const conversationKey = (id: string) => ["chat-conversation", id] as const;
const stepsKey = (runId: string) => ["chat-steps", runId] as const;

export const useAbout = () =>
  useQuery({ queryKey: ["chat-about"], queryFn: chat.about, staleTime: 300_000 });

export const useConversations = () =>
  useQuery({ queryKey: LIST, queryFn: chat.conversations, staleTime: 5000 });

export const useConversation = (id: string | undefined) =>
  useQuery({
    queryKey: conversationKey(id ?? ""),
    queryFn: () => chat.conversation(id ?? ""),
    enabled: id !== undefined,
    staleTime: 5000,
  });

function noteRun(client: QueryClient, run: Run): void {
  client.setQueryData<ConversationDetail>(conversationKey(run.conversation), (detail) =>
    withRun(detail, run),
  );
  void client.invalidateQueries({ queryKey: LIST });
}

/** Says a text in a conversation, or in a new one, which is then opened. */
export function useSay(conversationId: string | undefined) {
  const client = useQueryClient();
  const navigate = useNavigate();
  return useMutation({
    mutationFn: async (text: string) => {
      if (conversationId !== undefined) {
        return { run: await chat.say(conversationId, text), begun: undefined };
      }
      const begun = await chat.create();
      return { run: await chat.say(begun.id, text), begun };
    },
    onSuccess: ({ run, begun }) => {
      if (begun !== undefined) {
        const conversation = { ...begun, title: run.question, runs: 1 };
        client.setQueryData<ConversationDetail>(conversationKey(begun.id), {
          conversation,
          runs: [run],
        });
      }
      noteRun(client, run);
      if (begun !== undefined) navigate(`/chat/${begun.id}`);
    },
  });
}

/** Ends a run, or goes on with one that was interrupted. */
export function useRunAction(action: "stop" | "resume") {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (runId: string) => chat[action](runId),
    onSuccess: (run) => noteRun(client, run),
    onError: (error) =>
      complain(
        action === "stop" ? "It could not be stopped" : "It can't go on",
        asProblem(error).message,
      ),
  });
}

export function useRename(id: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (title: string) => chat.rename(id, title),
    onSuccess: (conversation) => {
      client.setQueryData<ConversationDetail>(
        conversationKey(id),
        (detail) => detail && { ...detail, conversation },
      );
      void client.invalidateQueries({ queryKey: LIST });
    },
  });
}

export function useForget(id: string) {
  const client = useQueryClient();
  const navigate = useNavigate();
  return useMutation({
    mutationFn: () => chat.forget(id),
    onSuccess: () => {
      navigate("/chat");
      client.removeQueries({ queryKey: conversationKey(id) });
      void client.invalidateQueries({ queryKey: LIST });
    },
  });
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;

/**
 * The steps of a run: as they come while it runs, read once when somebody looks at them later. `lost` is what
 * stands between this page and the agent at the moment; the stream is begun again by itself.
 */
export function useSteps(run: Run, wanted: boolean): { steps: readonly Step[]; lost: unknown } {
  const client = useQueryClient();
  const running = run.state === "running";
  const [lost, setLost] = useState<unknown>(null);
  const kept = useQuery({
    queryKey: stepsKey(run.id),
    queryFn: () => chat.steps(run.id),
    enabled: wanted && !running,
    staleTime: 0,
  });
  useEffect(() => {
    if (!running) return;
    const stop = new AbortController();
    void follow(run.id, stop.signal, {
      onStep: (step) =>
        client.setQueryData<readonly Step[]>(stepsKey(run.id), (steps) => added(steps ?? [], step)),
      onRun: (ended) => noteRun(client, ended),
      onLost: setLost,
    });
    return () => stop.abort();
  }, [client, run.id, running]);
  return { steps: kept.data ?? [], lost: running ? lost : (kept.error ?? null) };
}

async function follow(
  runId: string,
  signal: AbortSignal,
  heard: {
    onStep: (step: Step) => void;
    onRun: (run: Run) => void;
    onLost: (error: unknown) => void;
  },
): Promise<void> {
  let after = 0;
  let pauseMs = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    try {
      for await (const event of runEvents(runId, after, signal)) {
        heard.onLost(null);
        pauseMs = FIRST_PAUSE_MS;
        if (event.kind === "run") {
          heard.onRun(event.run);
          return;
        }
        after = event.step.seq;
        heard.onStep(event.step);
      }
    } catch (error) {
      if (signal.aborted) return;
      heard.onLost(error);
      if (!mayPass(error) && asProblem(error).status !== 500) return;
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * pauseMs);
  }
}
