import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { again } from "@/api/again";
import { api, unwrap } from "@/api/client";
import { useInfo, useMe } from "@/api/session";
import type { AccessDocument } from "@/api/types";
import { type Draft, type Item, type Section, setDraft, stage, useDraft } from "./draft";

/** The living access data. */
export function useAccessData() {
  const query = useQuery({
    queryKey: ["access-data"],
    queryFn: () => unwrap(api.GET("/api/v1/access")),
    staleTime: 15_000,
  });
  return { ...query, document: query.data?.document as unknown as AccessDocument | undefined };
}

/** What a steward has collected, and how to add to it. */
export function useStaging(): {
  draft: Draft;
  put: (section: Section, before: Item | null, after: Item | null) => void;
  replace: (draft: Draft) => void;
} {
  const { username } = useMe();
  const draft = useDraft(username);
  return {
    draft,
    put: (section, before, after) => setDraft(username, stage(draft, section, before, after)),
    replace: (next) => setDraft(username, next),
  };
}

export const useDrift = () =>
  useQuery({
    queryKey: ["drift"],
    queryFn: () => unwrap(api.GET("/api/v1/drift")),
    staleTime: 5000,
    refetchInterval: (query) => again(query, 30_000),
  });

export const usePeople = () =>
  useQuery({
    queryKey: ["people"],
    queryFn: () => unwrap(api.GET("/api/v1/people")),
    staleTime: 300_000,
  });

export const usePersonas = () =>
  useQuery({
    queryKey: ["personas"],
    queryFn: () => unwrap(api.GET("/api/v1/admin/personas")),
    staleTime: 300_000,
  });

/** Every user that this caller knows of: sample users and members of groups. */
export function useUsernames(): string[] {
  const people = usePeople().data;
  const personas = usePersonas().data;
  return useMemo(() => {
    const names = [
      ...(personas ?? []).map((one) => one.username),
      ...(people?.groups ?? []).flatMap((one) => one.members ?? []),
    ];
    return [...new Set(names)].sort();
  }, [people, personas]);
}

/** Names of namespaces, tables and columns as access data names them. */
export function useObjects(): { tables: string[]; all: string[] } {
  const catalog = useInfo()?.default_catalog;
  const completion = useQuery({
    queryKey: ["completion", catalog],
    queryFn: () =>
      unwrap(api.GET("/api/v1/sql/completion", { params: { query: { catalog: catalog ?? "" } } })),
    enabled: catalog !== undefined,
    staleTime: 120_000,
  }).data;
  return useMemo(() => {
    const tables: string[] = [];
    const columns: string[] = [];
    for (const namespace of completion?.namespaces ?? []) {
      if (namespace.name === "information_schema") continue;
      tables.push(`${namespace.name}.*`);
      for (const table of namespace.tables) {
        tables.push(`${namespace.name}.${table.name}`);
        for (const column of Object.keys(table.columns)) {
          columns.push(`${namespace.name}.${table.name}.${column}`);
        }
      }
    }
    return { tables, all: [...tables, ...columns] };
  }, [completion]);
}

/** Everything that shows access data is asked for anew. */
export function useRefresh(): () => void {
  const client = useQueryClient();
  return () => {
    for (const key of [
      "access-data",
      "revisions",
      "drift",
      "table",
      "access",
      "readers",
      "completion",
    ]) {
      void client.invalidateQueries({ queryKey: [key] });
    }
  };
}
