import { useQuery } from "@tanstack/react-query";
import { again } from "@/api/again";
import { api, unwrap } from "@/api/client";

const EVERY_MS = 10_000;

export const useHealth = () =>
  useQuery({
    queryKey: ["health"],
    queryFn: () => unwrap(api.GET("/api/v1/admin/health")),
    staleTime: EVERY_MS / 2,
    refetchInterval: (query) => again(query, EVERY_MS),
  });

export const useGovernor = () =>
  useQuery({
    queryKey: ["governor"],
    queryFn: () => unwrap(api.GET("/api/v1/governor")),
    staleTime: EVERY_MS / 2,
    refetchInterval: (query) => again(query, EVERY_MS),
  });
