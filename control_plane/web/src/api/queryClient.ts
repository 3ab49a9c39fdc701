import { QueryClient } from "@tanstack/react-query";
import { again } from "./again";
import { mayPass } from "./problem";

/** Reads are kept for a while; what failed because a service is away is asked again until it is back. */
export function makeQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 30_000,
        retry: (failures, error) => failures < 1 && mayPass(error),
        retryDelay: 600,
        refetchOnWindowFocus: false,
        refetchInterval: (query) => again(query),
      },
      mutations: { retry: false },
    },
  });
}
