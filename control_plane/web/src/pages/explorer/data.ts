import { useQuery } from "@tanstack/react-query";
import { api, unwrap } from "@/api/client";

export interface TableRef {
  catalog: string;
  namespace: string;
  table: string;
}

const ROOT = "/api/v1/catalogs/{catalog}/namespaces/{namespace}/tables/{table}";
const STALE_MS = 60_000;

export const useCatalogs = () =>
  useQuery({
    queryKey: ["catalogs"],
    queryFn: () => unwrap(api.GET("/api/v1/catalogs")),
    staleTime: STALE_MS,
  });

export const useNamespaces = (catalog: string, enabled = true) =>
  useQuery({
    queryKey: ["namespaces", catalog],
    queryFn: () =>
      unwrap(api.GET("/api/v1/catalogs/{catalog}/namespaces", { params: { path: { catalog } } })),
    enabled,
    staleTime: STALE_MS,
  });

export const useTables = (catalog: string, namespace: string, enabled = true) =>
  useQuery({
    queryKey: ["tables", catalog, namespace],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/catalogs/{catalog}/namespaces/{namespace}/tables", {
          params: { path: { catalog, namespace } },
        }),
      ),
    enabled,
    staleTime: STALE_MS,
  });

export const useTableDetail = (ref: TableRef) =>
  useQuery({
    queryKey: ["table", ref],
    queryFn: () => unwrap(api.GET(ROOT, { params: { path: { ...ref } } })),
  });

export const useSample = (ref: TableRef, snapshotId: string | null) =>
  useQuery({
    queryKey: ["sample", ref, snapshotId],
    queryFn: () =>
      unwrap(
        api.GET(`${ROOT}/sample`, {
          params: { path: { ...ref }, query: { limit: 200, snapshot_id: snapshotId ?? undefined } },
        }),
      ),
    staleTime: STALE_MS,
    gcTime: 0,
  });

export const useSnapshots = (ref: TableRef) =>
  useQuery({
    queryKey: ["snapshots", ref],
    queryFn: () => unwrap(api.GET(`${ROOT}/snapshots`, { params: { path: { ...ref } } })),
  });

export const usePartitions = (ref: TableRef) =>
  useQuery({
    queryKey: ["partitions", ref],
    queryFn: () =>
      unwrap(
        api.GET(`${ROOT}/partitions`, { params: { path: { ...ref }, query: { limit: 500 } } }),
      ),
  });

export const useFiles = (ref: TableRef) =>
  useQuery({
    queryKey: ["files", ref],
    queryFn: () =>
      unwrap(api.GET(`${ROOT}/files`, { params: { path: { ...ref }, query: { limit: 500 } } })),
  });

export const useDiff = (ref: TableRef, from: string, to: string) =>
  useQuery({
    queryKey: ["diff", ref, from, to],
    queryFn: () =>
      unwrap(
        api.GET(`${ROOT}/diff`, {
          params: {
            path: { ...ref },
            query: { from_snapshot_id: from, to_snapshot_id: to, limit: 200 },
          },
        }),
      ),
    enabled: from !== "" && to !== "" && from !== to,
    gcTime: 0,
  });

export const useAccess = (ref: TableRef, user: string | null) =>
  useQuery({
    queryKey: ["access", ref, user],
    queryFn: () =>
      unwrap(
        api.GET(`${ROOT}/access`, {
          params: { path: { ...ref }, query: { user: user ?? undefined } },
        }),
      ),
  });

export const useReaders = (ref: TableRef) =>
  useQuery({
    queryKey: ["readers", ref],
    queryFn: () => unwrap(api.GET(`${ROOT}/readers`, { params: { path: { ...ref } } })),
  });

export const useLineage = (ref: TableRef, sinceS: number) =>
  useQuery({
    queryKey: ["lineage", ref, sinceS],
    queryFn: () =>
      unwrap(
        api.GET(`${ROOT}/lineage`, { params: { path: { ...ref }, query: { since_s: sinceS } } }),
      ),
  });
