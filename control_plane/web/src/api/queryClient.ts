import { QueryClient } from "@tanstack/react-query";
import { mayPass } from "./problem";

const RETRY_MS = 5000;

/** Reads are kept for a while; what failed because a service is away is asked again until it is back. */
export function makeQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 30_000,
        retry: (failures, error) => failures < 1 && mayPass(error),
        retryDelay: 600,
        refetchOnWindowFocus: false,
        refetchInterval: (query) =>
          query.state.error !== null && mayPass(query.state.error) ? RETRY_MS : false,
      },
      mutations: { retry: false },
    },
  });
}
