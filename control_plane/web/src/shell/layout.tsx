import { Menu as MenuIcon, PanelLeftClose, PanelLeftOpen, Search } from "lucide-react";
import { Suspense, useCallback, useMemo, useState } from "react";
import { Link, Outlet, useLocation, useNavigate } from "react-router";
import { useInfo, useMe } from "@/api/session";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { SkeletonRows } from "@/components/ui/feedback";
import { Kbd } from "@/components/ui/kbd";
import { cn } from "@/lib/cn";
import { useMedia } from "@/lib/hooks";
import { useHotkeys } from "@/lib/hotkeys";
import { isBoolean, load, save } from "@/lib/storage";
import { Help } from "./help";
import { Logo } from "./logo";
import { navFor } from "./nav";
import { Palette } from "./palette";
import { NavList } from "./sidebar";
import { UserMenu } from "./usermenu";

/** What stands around every page: pages at the left, search and account at the top. */
export function Layout() {
  const me = useMe();
  const navigate = useNavigate();
  const location = useLocation();
  const [palette, setPalette] = useState(false);
  const [help, setHelp] = useState(false);
  const [drawer, setDrawer] = useState(false);
  const [compact, setCompact] = useState(() => load("navCompact", false, isBoolean));
  const roomy = useMedia("(min-width: 768px)");
  const hotkeys = useMemo(
    () => ({
      "Mod+k": () => setPalette((open) => !open),
      "?": () => setHelp(true),
      ...Object.fromEntries(
        navFor(me.permissions).map((item) => [`g ${item.key}`, () => navigate(item.path)]),
      ),
    }),
    [me.permissions, navigate],
  );
  useHotkeys(hotkeys);
  const toggleCompact = useCallback(() => {
    setCompact((before) => {
      save("navCompact", !before);
      return !before;
    });
  }, []);

  return (
    <div className="flex h-full">
      <a
        href="#main"
        className="sr-only rounded-md bg-primary px-3 py-2 text-primary-foreground focus:not-sr-only focus:fixed focus:top-2 focus:left-2 focus:z-60"
      >
        Skip to the page
      </a>
      {roomy && (
        <aside
          className={cn(
            "flex shrink-0 flex-col border-r bg-sidebar transition-[width] duration-150",
            compact ? "w-14" : "w-52",
          )}
        >
          <Link
            to="/"
            className="flex h-12 items-center gap-2.5 px-4 text-sm font-semibold tracking-tight"
            aria-label="Lakehouse Lab, home"
          >
            <Logo />
            {!compact && "Lakehouse Lab"}
          </Link>
          <div className="min-h-0 flex-1 overflow-y-auto">
            <NavList compact={compact} />
          </div>
          <div className={cn("flex border-t p-2", compact ? "justify-center" : "justify-end")}>
            <Button
              variant="ghost"
              size="icon-sm"
              onClick={toggleCompact}
              aria-label={compact ? "Widen the list of pages" : "Narrow the list of pages"}
            >
              {compact ? <PanelLeftOpen aria-hidden /> : <PanelLeftClose aria-hidden />}
            </Button>
          </div>
        </aside>
      )}
      <div className="flex min-w-0 flex-1 flex-col">
        <header className="flex h-12 shrink-0 items-center gap-2 border-b bg-background px-2 md:px-4">
          {!roomy && (
            <>
              <Button
                variant="ghost"
                size="icon"
                onClick={() => setDrawer(true)}
                aria-label="Pages"
              >
                <MenuIcon aria-hidden className="size-4.5" />
              </Button>
              <Link to="/" aria-label="Lakehouse Lab, home">
                <Logo />
              </Link>
            </>
          )}
          <Button
            onClick={() => setPalette(true)}
            className="ml-auto w-9 justify-start bg-card px-2.5 font-normal text-muted-foreground sm:w-72 md:ml-0"
          >
            <Search aria-hidden />
            <span className="sr-only sm:not-sr-only">Search tables, commands…</span>
            <Kbd keys={["Mod", "K"]} hidden className="ml-auto hidden sm:inline-flex" />
          </Button>
          <LabName />
          <UserMenu onHelp={() => setHelp(true)} />
        </header>
        <main id="main" tabIndex={-1} className="min-h-0 flex-1 overflow-y-auto outline-none">
          <Suspense key={location.pathname.split("/")[1]} fallback={<SkeletonRows rows={8} />}>
            <Outlet />
          </Suspense>
        </main>
      </div>
      <Palette open={palette} onOpenChange={setPalette} />
      <Help open={help} onOpenChange={setHelp} />
      <Dialog open={drawer} onOpenChange={setDrawer} title="Pages" shape="left">
        <div className="-mx-2">
          <NavList onNavigate={() => setDrawer(false)} />
        </div>
      </Dialog>
    </div>
  );
}

function LabName() {
  const info = useInfo();
  return (
    <span className="hidden flex-1 justify-end truncate text-xs text-muted-foreground md:flex">
      {info ? `Lab ${info.lab}` : ""}
    </span>
  );
}
