import { EyeOff, LogIn, ScrollText, SquareTerminal } from "lucide-react";
import { loginUrl } from "@/api/client";
import { useSignInReady } from "@/api/session";
import { ProblemNote } from "@/components/problem";
import { buttonVariants } from "@/components/ui/button";
import { useTitle } from "@/lib/hooks";
import { here } from "@/lib/paths";
import { Logo } from "@/shell/logo";

const POINTS = [
  {
    icon: SquareTerminal,
    title: "Ask in SQL",
    text: "A worksheet on Trino and Iceberg, as yourself: every engine sees your own groups.",
  },
  {
    icon: EyeOff,
    title: "See what you may see",
    text: "Rows and columns follow tags and rules. Each table says why you see it as you do.",
  },
  {
    icon: ScrollText,
    title: "Know who saw what",
    text: "Changes are previewed before they are published, and every query is on record.",
  },
] as const;

/** What somebody sees who is not signed in. They come back to the page that they asked for. */
export function Landing() {
  useTitle("Sign in");
  const away = useSignInReady().error;
  return (
    <main className="flex min-h-full items-center justify-center p-6">
      <div className="w-full max-w-md">
        <div className="flex items-center gap-3">
          <Logo className="size-10" />
          <div>
            <h1 className="text-xl font-semibold tracking-tight">Lakehouse Lab</h1>
            <p className="text-sm text-muted-foreground">A governed open lakehouse</p>
          </div>
        </div>
        <ul className="my-8 flex flex-col gap-5">
          {POINTS.map((point) => (
            <li key={point.title} className="flex gap-3.5">
              <span className="flex size-8 shrink-0 items-center justify-center rounded-md bg-primary-soft text-primary-strong">
                <point.icon className="size-4" aria-hidden />
              </span>
              <div>
                <h2 className="text-sm font-semibold">{point.title}</h2>
                <p className="text-sm text-muted-foreground">{point.text}</p>
              </div>
            </li>
          ))}
        </ul>
        {away && <ProblemNote error={away} again className="mb-4" />}
        <a
          href={loginUrl(here())}
          className={buttonVariants({ variant: "primary", size: "lg", className: "w-full" })}
        >
          <LogIn aria-hidden />
          Sign in
        </a>
        <p className="mt-4 text-xs leading-relaxed text-muted-foreground">
          Sign-in is Keycloak's. Names and passwords of the sample users are told by{" "}
          <code className="rounded-sm bg-secondary px-1 py-0.5 font-mono text-foreground">
            ./lab credentials
          </code>
          .
        </p>
      </div>
    </main>
  );
}
