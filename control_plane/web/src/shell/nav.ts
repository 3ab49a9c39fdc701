import {
  CalendarClock,
  ChartColumn,
  FolderKanban,
  Gauge,
  House,
  LayoutDashboard,
  type LucideIcon,
  MessagesSquare,
  ScrollText,
  ShieldCheck,
  SquareTerminal,
  Table2,
} from "lucide-react";
import type { Permission } from "@/api/types";

export interface NavItem {
  path: string;
  label: string;
  icon: LucideIcon;
  /** Pressed after "g". */
  key: string;
  group: "Work" | "Govern" | "Operate";
  /** Shown to those who have it; the API decides again. */
  needs?: Permission;
}

export const NAV: readonly NavItem[] = [
  { path: "/", label: "Home", icon: House, key: "h", group: "Work" },
  { path: "/worksheet", label: "Worksheet", icon: SquareTerminal, key: "w", group: "Work" },
  { path: "/explorer", label: "Explorer", icon: Table2, key: "e", group: "Work" },
  { path: "/chat", label: "Chat", icon: MessagesSquare, key: "t", group: "Work" },
  { path: "/charts", label: "Charts", icon: ChartColumn, key: "c", group: "Work" },
  { path: "/dashboards", label: "Dashboards", icon: LayoutDashboard, key: "d", group: "Work" },
  { path: "/workspaces", label: "Workspaces", icon: FolderKanban, key: "p", group: "Work" },
  { path: "/jobs", label: "Jobs", icon: CalendarClock, key: "j", group: "Work" },
  {
    path: "/governance",
    label: "Governance",
    icon: ShieldCheck,
    key: "o",
    group: "Govern",
    needs: "read_access",
  },
  { path: "/audit", label: "Audit", icon: ScrollText, key: "a", group: "Govern" },
  { path: "/admin", label: "Admin", icon: Gauge, key: "m", group: "Operate" },
];

export function navFor(permissions: readonly Permission[]): NavItem[] {
  return NAV.filter((item) => item.needs === undefined || permissions.includes(item.needs));
}
