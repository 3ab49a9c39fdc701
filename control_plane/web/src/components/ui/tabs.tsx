import { Tabs as Base } from "@base-ui/react/tabs";
import type { ReactNode } from "react";
import { cn } from "@/lib/cn";

export interface TabSpec<T extends string> {
  value: T;
  label: ReactNode;
  icon?: ReactNode;
  count?: number;
}

/** A row of tabs and the panel of the chosen one; panels that are not chosen are not there. */
export function Tabs<T extends string>({
  value,
  onChange,
  tabs,
  label,
  actions,
  className,
  panelClassName,
  children,
}: {
  value: T;
  onChange: (value: T) => void;
  tabs: readonly TabSpec<T>[];
  label: string;
  actions?: ReactNode;
  className?: string;
  panelClassName?: string;
  children: ReactNode;
}) {
  return (
    <Base.Root
      value={value}
      onValueChange={(next) => onChange(next as T)}
      className={cn("flex min-h-0 flex-col", className)}
    >
      <div className="flex items-center gap-2 border-b">
        <Base.List
          aria-label={label}
          className="relative flex min-w-0 flex-1 gap-0.5 overflow-x-auto px-2 [scrollbar-width:none]"
        >
          {tabs.map((tab) => (
            <Base.Tab
              key={tab.value}
              value={tab.value}
              className="inline-flex h-9 shrink-0 items-center gap-1.5 border-b-2 border-transparent px-2.5 text-sm font-medium text-muted-foreground -outline-offset-3 hover:text-foreground data-active:border-primary data-active:text-foreground [&_svg]:size-3.5"
            >
              {tab.icon}
              {tab.label}
              {tab.count !== undefined && (
                <span className="rounded-sm bg-secondary px-1 text-2xs tabular text-secondary-foreground">
                  {tab.count}
                </span>
              )}
            </Base.Tab>
          ))}
        </Base.List>
        {actions && <div className="flex shrink-0 items-center gap-1 pr-2">{actions}</div>}
      </div>
      <Base.Panel value={value} className={cn("min-h-0 flex-1", panelClassName)}>
        {children}
      </Base.Panel>
    </Base.Root>
  );
}
