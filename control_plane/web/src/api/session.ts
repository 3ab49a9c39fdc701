import { useQuery } from "@tanstack/react-query";
import { again } from "./again";
import { api, setCsrfToken, unwrap } from "./client";
import { ApiProblem } from "./problem";
import type { Info, Me, Permission } from "./types";

const LOOK_MS = 15_000;

export const ME_KEY = ["me"] as const;

/** The caller; null when nobody is signed in. */
export function useSession() {
  return useQuery({
    queryKey: ME_KEY,
    queryFn: async (): Promise<Me | null> => {
      try {
        const me = await unwrap(api.GET("/api/v1/me"));
        setCsrfToken(me.csrf_token);
        return me;
      } catch (error) {
        if (error instanceof ApiProblem && error.status === 401) {
          setCsrfToken(null);
          return null;
        }
        throw error;
      }
    },
    staleTime: 60_000,
    refetchOnWindowFocus: true,
  });
}

/** Who is signed in. Only inside pages that nobody else gets. */
export function useMe(): Me {
  const me = useSession().data;
  if (!me) throw new Error("this page is for people who are signed in");
  return me;
}

export function useMay(permission: Permission): boolean {
  return useMe().permissions.includes(permission);
}

export function useInfo(): Info | undefined {
  return useQuery({
    queryKey: ["info"],
    queryFn: () => unwrap(api.GET("/api/v1/info")),
    staleTime: Number.POSITIVE_INFINITY,
  }).data;
}

/** Whether somebody can sign in now; an error says what is away. Looked at again and again, as long as it is. */
export function useSignInReady() {
  return useQuery({
    queryKey: ["sign-in"],
    queryFn: () => unwrap(api.GET("/auth/ready")),
    staleTime: 0,
    gcTime: 0,
    refetchOnWindowFocus: true,
    refetchInterval: (query) => again(query, LOOK_MS),
  });
}

/** Ends the session here and at Keycloak: the browser leaves this page. */
export async function signOut(): Promise<void> {
  const { url } = await unwrap(api.POST("/auth/logout"));
  window.location.assign(url);
}
