import { Compass, Unplug } from "lucide-react";
import { Component, type ReactNode } from "react";
import { isRouteErrorResponse, Link, useRouteError } from "react-router";
import { Button, buttonVariants } from "@/components/ui/button";
import { Empty } from "@/components/ui/feedback";

/** Whether the page's code could not be loaded: a newer version has taken its place, or the lab is down. */
export function isLoadFailure(error: unknown): boolean {
  return error instanceof Error && /dynamically imported module|module script/i.test(error.message);
}

/** What a page shows when it failed in a way that nobody foresaw. */
export function RouteFailure() {
  const error = useRouteError();
  if (isRouteErrorResponse(error) && error.status === 404) return <NotFound />;
  return <Crash error={error} />;
}

export function Crash({ error }: { error: unknown }) {
  const loading = isLoadFailure(error);
  return (
    <div role="alert">
      <Empty
        icon={Unplug}
        heading
        title={loading ? "This page could not be loaded" : "This page failed"}
        action={
          <Button variant="primary" onClick={() => window.location.reload()}>
            Load it again
          </Button>
        }
      >
        {loading
          ? "The console was updated, or it can't be reached. Loading the page again helps when it is back."
          : `${error instanceof Error ? error.message : String(error)}`}
      </Empty>
    </div>
  );
}

export function NotFound() {
  return (
    <Empty
      icon={Compass}
      heading
      title="There is no such page"
      action={
        <Link to="/" className={buttonVariants({ variant: "primary" })}>
          Home
        </Link>
      }
    >
      The address may be mistyped, or what it led to is gone or not shared with you.
    </Empty>
  );
}

/** Keeps one part's failure from taking the whole page along. */
export class Boundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    return this.state.error === null ? this.props.children : <Crash error={this.state.error} />;
  }
}
