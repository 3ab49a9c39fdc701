import { Keyboard, LogOut, Monitor, Moon, Sun } from "lucide-react";
import { asProblem } from "@/api/problem";
import { signOut, useInfo, useMe } from "@/api/session";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import {
  Menu,
  MenuCheck,
  MenuChoice,
  MenuGroup,
  MenuItem,
  MenuSeparator,
} from "@/components/ui/menu";
import { complain } from "@/components/ui/toast";
import { setLetterKeys, useLetterKeys } from "@/lib/hotkeys";
import { setTheme, useTheme } from "@/lib/theme";

const THEMES = [
  { value: "system", label: "As the system", icon: <Monitor aria-hidden /> },
  { value: "light", label: "Light", icon: <Sun aria-hidden /> },
  { value: "dark", label: "Dark", icon: <Moon aria-hidden /> },
] as const;

/** The first letters of up to two words of a name. */
export function initials(name: string): string {
  const words = name.trim().split(/[\s_.-]+/);
  return words
    .slice(0, 2)
    .map((word) => word.charAt(0).toUpperCase())
    .join("");
}

/** Who is signed in and with which groups, how the page looks, and the way out. */
export function UserMenu({ onHelp }: { onHelp: () => void }) {
  const me = useMe();
  const info = useInfo();
  const theme = useTheme();
  const letterKeys = useLetterKeys();
  return (
    <Menu
      align="end"
      className="w-64"
      trigger={
        <Button variant="ghost" className="gap-2 px-1.5">
          <span
            aria-hidden
            className="flex size-6 items-center justify-center rounded-full bg-primary-soft text-2xs font-semibold text-primary-strong"
          >
            {initials(me.name || me.username)}
          </span>
          <span className="sr-only">Account of </span>
          <span className="sr-only max-w-36 truncate md:not-sr-only">{me.username}</span>
        </Button>
      }
    >
      <div className="px-2 pt-1.5 pb-2">
        <p className="text-sm font-semibold">{me.name}</p>
        <p className="truncate text-xs text-muted-foreground">{me.email ?? me.username}</p>
        <div className="mt-2 flex flex-wrap gap-1">
          {me.groups.length === 0 ? (
            <span className="text-xs text-muted-foreground">in no group: nothing is granted</span>
          ) : (
            me.groups.map((group) => (
              <Badge key={group} tone="primary">
                {group}
              </Badge>
            ))
          )}
        </div>
        {info && (
          <p className="mt-2 text-2xs text-muted-foreground">
            Lab {info.lab} · version {info.version}
          </p>
        )}
      </div>
      <MenuSeparator />
      <MenuGroup label="Theme">
        <MenuChoice value={theme} onChange={setTheme} choices={THEMES} />
      </MenuGroup>
      <MenuSeparator />
      <MenuCheck checked={letterKeys} onChange={setLetterKeys}>
        Single-letter shortcuts
      </MenuCheck>
      <MenuItem onClick={onHelp}>
        <Keyboard aria-hidden />
        Keyboard shortcuts
      </MenuItem>
      <MenuSeparator />
      <MenuItem
        onClick={() => {
          signOut().catch((error: unknown) =>
            complain("Signing out failed", asProblem(error).message),
          );
        }}
      >
        <LogOut aria-hidden />
        Sign out
      </MenuItem>
    </Menu>
  );
}
