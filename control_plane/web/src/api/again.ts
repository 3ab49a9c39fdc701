import { mayPass } from "./problem";

export const RETRY_MS = 5000;

/** When a query is asked again: at its ``own`` pace, and within seconds while a service is away. */
export function again(
  query: { state: { error: unknown } },
  own: number | false = false,
): number | false {
  if (query.state.error === null || !mayPass(query.state.error)) return own;
  return own === false ? RETRY_MS : Math.min(own, RETRY_MS);
}
