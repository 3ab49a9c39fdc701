import createClient, { type Middleware } from "openapi-fetch";
import { idleHeaders } from "@/lib/idle";
import { asProblem, problemOf } from "./problem";
import type { paths } from "./schema";

let csrfToken: string | null = null;
let onSignedOut: () => void = () => undefined;

/** Sets what `X-CSRF-Token` carries from now on; `Me` tells it. */
export function setCsrfToken(token: string | null): void {
  csrfToken = token;
}

/** Sets who hears that a request was refused because the session has ended. */
export function setSignedOutListener(listener: () => void): void {
  onSignedOut = listener;
}

/** Headers of every request that changes something. */
export function writeHeaders(): Record<string, string> {
  return csrfToken === null ? {} : { "X-CSRF-Token": csrfToken };
}

const SAFE = new Set(["GET", "HEAD"]);

const session: Middleware = {
  onRequest({ request }) {
    for (const [name, value] of Object.entries(idleHeaders())) request.headers.set(name, value);
    if (!SAFE.has(request.method)) {
      for (const [name, value] of Object.entries(writeHeaders())) request.headers.set(name, value);
    }
    return request;
  },
  onResponse({ request, response }) {
    if (response.status === 401 && !request.url.endsWith("/api/v1/me")) onSignedOut();
  },
};

export const api = createClient<paths>({
  credentials: "same-origin",
  fetch: (request) => globalThis.fetch(request),
});
api.use(session);

/**
 * A request outside the API's description, with the same headers and errors. Raises {@link ApiProblem}; an
 * AbortError once its signal is aborted.
 */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  for (const [name, value] of Object.entries(idleHeaders())) headers.set(name, value);
  if (!SAFE.has(init.method ?? "GET")) {
    for (const [name, value] of Object.entries(writeHeaders())) headers.set(name, value);
  }
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers, credentials: "same-origin" });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw asProblem(error);
  }
  if (response.status === 401) onSignedOut();
  if (!response.ok) throw problemOf(response.status, await response.json().catch(() => null));
  return response;
}

/** The body of an answer. Raises {@link ApiProblem} for one that is an error, or when nothing answered. */
export async function unwrap<T>(
  answer: Promise<{ data?: T; error?: unknown; response: Response }>,
): Promise<T> {
  const { data, error, response } = await answer.catch((failure: unknown) => {
    if (failure instanceof DOMException && failure.name === "AbortError") throw failure;
    throw asProblem(failure);
  });
  if (!response.ok) throw problemOf(response.status, error);
  return data as T;
}

/** As {@link unwrap}, with the answer's ETag: what a later change is based on. */
export async function unwrapTagged<T>(
  answer: Promise<{ data?: T; error?: unknown; response: Response }>,
): Promise<{ data: T; etag: string | null }> {
  let etag: string | null = null;
  const data = await unwrap(
    answer.then((result) => {
      etag = result.response.headers.get("ETag");
      return result;
    }),
  );
  return { data, etag };
}

/** The ETag of a stored object's version. */
export function etagOf(version: number): string {
  return `"${version}"`;
}

/** Where the browser goes to sign in, and comes back to. */
export function loginUrl(next: string): string {
  return `/auth/login?next=${encodeURIComponent(next)}`;
}
