import { ChevronRight, Database, Folder, Table2 } from "lucide-react";
import { type ReactNode, useState } from "react";
import { NavLink, useParams } from "react-router";
import { useInfo } from "@/api/session";
import { ProblemNote } from "@/components/problem";
import { SkeletonRows } from "@/components/ui/feedback";
import { Input } from "@/components/ui/input";
import { cn } from "@/lib/cn";
import { tablePath } from "@/lib/paths";
import { useCatalogs, useNamespaces, useTables } from "./data";

/** Catalogs, namespaces and tables; what is opened is asked for then. */
export function Tree() {
  const catalogs = useCatalogs();
  const info = useInfo();
  const [text, setText] = useState("");
  if (catalogs.error) return <ProblemNote error={catalogs.error} again className="m-2" />;
  if (catalogs.isPending) return <SkeletonRows rows={8} />;
  return (
    <>
      <div className="sticky top-0 z-10 bg-sidebar p-2">
        <Input
          type="search"
          aria-label="Filter tables"
          placeholder="Filter tables"
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
      </div>
      <ul className="px-1 pb-4">
        {catalogs.data.map((catalog) => (
          <CatalogNode
            key={catalog.name}
            name={catalog.name}
            initiallyOpen={catalog.name === info?.default_catalog}
            filter={text.trim().toLowerCase()}
          />
        ))}
      </ul>
    </>
  );
}

function Node({
  label,
  icon,
  open,
  onToggle,
  level,
  to,
  children,
}: {
  label: string;
  icon: ReactNode;
  open: boolean;
  onToggle: () => void;
  level: 0 | 1;
  to: string;
  children: ReactNode;
}) {
  return (
    <li>
      <div className={cn("flex items-center rounded-md hover:bg-accent", level === 1 && "ml-3")}>
        <button
          type="button"
          aria-expanded={open}
          aria-label={`${open ? "Close" : "Open"} ${label}`}
          onClick={onToggle}
          className="flex size-7 shrink-0 items-center justify-center rounded-md text-muted-foreground"
        >
          <ChevronRight
            className={cn("size-3.5 transition-transform", open && "rotate-90")}
            aria-hidden
          />
        </button>
        <NavLink
          to={to}
          end
          className={({ isActive }) =>
            cn(
              "flex h-7 min-w-0 flex-1 items-center gap-1.5 rounded-md pr-2 text-sm",
              isActive && "font-medium text-primary-strong",
            )
          }
        >
          {icon}
          <span className="truncate">{label}</span>
        </NavLink>
      </div>
      {open && <ul>{children}</ul>}
    </li>
  );
}

const ICON = "size-3.5 shrink-0 text-muted-foreground";

function CatalogNode({
  name,
  initiallyOpen,
  filter,
}: {
  name: string;
  initiallyOpen: boolean;
  filter: string;
}) {
  const { catalog } = useParams();
  const [chosen, setOpen] = useState<boolean | null>(null);
  const open = chosen ?? (initiallyOpen || catalog === name);
  const namespaces = useNamespaces(name, open);
  return (
    <Node
      label={name}
      icon={<Database className={ICON} aria-hidden />}
      open={open}
      onToggle={() => setOpen(!open)}
      level={0}
      to={`/explorer/${encodeURIComponent(name)}`}
    >
      {namespaces.error && <ProblemNote error={namespaces.error} again className="m-2" />}
      {namespaces.data?.map((namespace) => (
        <NamespaceNode key={namespace.name} catalog={name} name={namespace.name} filter={filter} />
      ))}
    </Node>
  );
}

function NamespaceNode({
  catalog,
  name,
  filter,
}: {
  catalog: string;
  name: string;
  filter: string;
}) {
  const current = useParams();
  const [chosen, setOpen] = useState<boolean | null>(null);
  const within = current.catalog === catalog && current.namespace === name;
  const open = filter !== "" || (chosen ?? within);
  const tables = useTables(catalog, name, open);
  const shown = (tables.data ?? []).filter((table) =>
    `${name}.${table.name}`.toLowerCase().includes(filter),
  );
  if (filter !== "" && tables.data && shown.length === 0) return null;
  return (
    <Node
      label={name}
      icon={<Folder className={ICON} aria-hidden />}
      open={open}
      onToggle={() => setOpen(!open)}
      level={1}
      to={`/explorer/${encodeURIComponent(catalog)}/${encodeURIComponent(name)}`}
    >
      {tables.error && <ProblemNote error={tables.error} again className="m-2" />}
      {shown.map((table) => (
        <li key={table.name}>
          <NavLink
            to={tablePath(catalog, name, table.name)}
            className={({ isActive }) =>
              cn(
                "ml-10 flex h-7 items-center gap-1.5 rounded-md px-2 text-sm hover:bg-accent",
                isActive && "bg-primary-soft font-medium text-primary-strong hover:bg-primary-soft",
              )
            }
          >
            <Table2 className={ICON} aria-hidden />
            <span className="truncate">{table.name}</span>
          </NavLink>
        </li>
      ))}
    </Node>
  );
}
