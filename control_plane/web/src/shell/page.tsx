import { ChevronRight } from "lucide-react";
import { Fragment, type ReactNode } from "react";
import { Link } from "react-router";
import { cn } from "@/lib/cn";
import { useTitle } from "@/lib/hooks";

export interface Crumb {
  label: string;
  to: string;
}

/** A page with its heading, what can be done on it, and where it lies. */
export function Page({
  title,
  heading = title,
  description,
  crumbs = [],
  actions,
  wide = false,
  className,
  children,
}: {
  title: string;
  heading?: ReactNode;
  description?: ReactNode;
  crumbs?: readonly Crumb[];
  actions?: ReactNode;
  wide?: boolean;
  className?: string;
  children: ReactNode;
}) {
  useTitle(title);
  return (
    <div className={cn("mx-auto flex flex-col gap-4 p-4 md:px-6 md:py-5", !wide && "max-w-7xl")}>
      <header className="flex flex-wrap items-end gap-x-4 gap-y-2">
        <div className="min-w-0 flex-1 basis-60">
          {crumbs.length > 0 && (
            <nav
              aria-label="Where this is"
              className="mb-0.5 flex flex-wrap items-center gap-1 text-xs"
            >
              {crumbs.map((crumb, index) => (
                <Fragment key={crumb.to}>
                  {index > 0 && (
                    <ChevronRight className="size-3 text-muted-foreground" aria-hidden />
                  )}
                  <Link
                    to={crumb.to}
                    className="rounded-sm py-0.5 text-muted-foreground hover:text-foreground hover:underline"
                  >
                    {crumb.label}
                  </Link>
                </Fragment>
              ))}
            </nav>
          )}
          <h1 className="text-xl font-semibold tracking-tight break-words">{heading}</h1>
          {description && (
            <div className="max-w-prose text-sm text-muted-foreground">{description}</div>
          )}
        </div>
        {actions && <div className="flex flex-wrap items-center gap-2">{actions}</div>}
      </header>
      <div className={cn("flex min-w-0 flex-col gap-4", className)}>{children}</div>
    </div>
  );
}
