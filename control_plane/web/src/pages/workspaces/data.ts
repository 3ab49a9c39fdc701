import { useQuery, useQueryClient } from "@tanstack/react-query";
import { again } from "@/api/again";
import { api, unwrap, writeHeaders } from "@/api/client";
import { asProblem, problemOf } from "@/api/problem";
import type { components } from "@/api/schema";

type S = components["schemas"];

export type Workspace = S["Workspace"];
export type Member = S["WorkspaceMember"];
export type Removal = S["WorkspaceRemoval"];
export type Connection = S["Connection"];
export type ConnectionConfig = Connection["config"];
export type Upload = S["Upload"];
export type Ingest = S["Ingest"];
export type IngestPreview = S["IngestPreview"];
export type IngestMode = Ingest["mode"];

const BUSY_MS = 1000;

export function useWorkspaces() {
  return useQuery({
    queryKey: ["workspaces"],
    queryFn: () => unwrap(api.GET("/api/v1/workspaces")),
    refetchInterval: (query) =>
      again(
        query,
        (query.state.data ?? []).some((one) => one.state !== "ready") ? 2 * BUSY_MS : false,
      ),
  });
}

export function useWorkspace(id: string) {
  return useQuery({
    queryKey: ["workspaces", id],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/workspaces/{workspace_id}", { params: { path: { workspace_id: id } } }),
      ),
    refetchInterval: (query) =>
      again(query, query.state.data && query.state.data.state !== "ready" ? 2 * BUSY_MS : false),
  });
}

export function useMembers(id: string) {
  return useQuery({
    queryKey: ["workspaces", id, "members"],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/workspaces/{workspace_id}/members", {
          params: { path: { workspace_id: id } },
        }),
      ),
  });
}

export function useUploads(id: string) {
  return useQuery({
    queryKey: ["workspaces", id, "uploads"],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/workspaces/{workspace_id}/uploads", {
          params: { path: { workspace_id: id } },
        }),
      ),
    refetchInterval: (query) =>
      again(
        query,
        (query.state.data ?? []).some((one) => one.state === "receiving") ? BUSY_MS : false,
      ),
  });
}

export function useIngests(id: string) {
  return useQuery({
    queryKey: ["workspaces", id, "ingests"],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/workspaces/{workspace_id}/ingests", {
          params: { path: { workspace_id: id } },
        }),
      ),
    refetchInterval: (query) =>
      again(
        query,
        (query.state.data ?? []).some((one) => one.state === "running") ? BUSY_MS : false,
      ),
  });
}

export function useConnections(id: string) {
  return useQuery({
    queryKey: ["workspaces", id, "connections"],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/workspaces/{workspace_id}/connections", {
          params: { path: { workspace_id: id } },
        }),
      ),
  });
}

/** What was read of workspaces is old. */
export function useForget(): () => void {
  const client = useQueryClient();
  return () => void client.invalidateQueries({ queryKey: ["workspaces"] });
}

/** Sends a file as it is, from the disk: the browser holds no more of it than a part. */
export function sendFile(
  workspaceId: string,
  file: File,
  onProgress: (sent: number) => void,
): Promise<Upload> {
  return new Promise((resolve, reject) => {
    // fetch tells nothing of how far an upload is.
    const request = new XMLHttpRequest();
    const query = new URLSearchParams({ filename: file.name });
    request.open("POST", `/api/v1/workspaces/${encodeURIComponent(workspaceId)}/uploads?${query}`);
    request.responseType = "json";
    request.setRequestHeader("Content-Type", "application/octet-stream");
    for (const [name, value] of Object.entries(writeHeaders()))
      request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onload = () => {
      if (request.status === 201) resolve(request.response as Upload);
      else reject(problemOf(request.status, request.response));
    };
    request.onerror = () => reject(asProblem(new TypeError("the file could not be sent")));
    request.send(file);
  });
}
