import { AlignLeft, Ellipsis, Link2, ListTree, PanelLeft, Play, Save, Square } from "lucide-react";
import type { Completion } from "@/api/types";
import { Button } from "@/components/ui/button";
import { Select } from "@/components/ui/input";
import { keyLabel } from "@/components/ui/kbd";
import { Menu, MenuItem } from "@/components/ui/menu";
import { notify } from "@/components/ui/toast";
import { Tooltip } from "@/components/ui/tooltip";
import { count } from "@/lib/format";
import { worksheetPath } from "@/lib/paths";
import type { Sheet } from "./sheets";

const LIMITS = [1000, 10_000, 100_000, 1_000_000] as const;

export function Toolbar({
  sheet,
  busy,
  sideOpen,
  onSide,
  completion,
  onRun,
  onCancel,
  onFormat,
  onExplain,
  onSave,
  onChange,
}: {
  sheet: Sheet;
  busy: boolean;
  sideOpen: boolean;
  onSide: () => void;
  completion: Completion | undefined;
  onRun: () => void;
  onCancel: () => void;
  onFormat: () => void;
  onExplain: () => void;
  onSave: () => void;
  onChange: (parts: Partial<Sheet>) => void;
}) {
  const empty = sheet.text.trim() === "";
  const copyLink = () => {
    const path = sheet.saved
      ? `/worksheet/saved/${sheet.saved.id}`
      : worksheetPath(sheet.text, sheet.catalog ?? undefined, sheet.namespace ?? undefined);
    navigator.clipboard
      ?.writeText(window.location.origin + path)
      .then(() =>
        notify("Link copied", "It opens this text; whoever runs it sees what they may see."),
      )
      .catch(() => undefined);
  };
  return (
    <div className="flex shrink-0 flex-wrap items-center gap-1.5 px-2 py-1.5">
      <Tooltip text={sideOpen ? "Hide tables and history" : "Tables, saved queries, history"}>
        <Button
          variant="ghost"
          size="icon"
          onClick={onSide}
          aria-label="Tables, saved queries and history"
          aria-expanded={sideOpen}
        >
          <PanelLeft aria-hidden />
        </Button>
      </Tooltip>
      {busy ? (
        <Button
          onClick={onCancel}
          className="w-20 text-destructive sm:w-24 hover:bg-destructive-soft"
        >
          <Square aria-hidden />
          Cancel
        </Button>
      ) : (
        <Tooltip
          text={`Runs the selection, or the statement at the cursor (${keyLabel("Mod")}+Enter)`}
        >
          <Button variant="primary" onClick={onRun} disabled={empty} className="w-20 sm:w-24">
            <Play aria-hidden />
            Run
          </Button>
        </Tooltip>
      )}
      <Select
        aria-label="Namespace for names without one"
        className="w-auto max-w-40 min-w-0 flex-1 sm:flex-none"
        value={sheet.namespace ?? ""}
        onChange={(event) => onChange({ namespace: event.target.value || null })}
      >
        <option value="">No namespace</option>
        {(completion?.namespaces ?? []).map((one) => (
          <option key={one.name} value={one.name}>
            {one.name}
          </option>
        ))}
        {sheet.namespace && !completion?.namespaces.some((one) => one.name === sheet.namespace) && (
          <option value={sheet.namespace}>{sheet.namespace}</option>
        )}
      </Select>
      <Select
        aria-label="Rows at most"
        className="hidden w-auto sm:block"
        value={sheet.maxRows ?? ""}
        onChange={(event) =>
          onChange({ maxRows: event.target.value === "" ? null : Number(event.target.value) })
        }
      >
        {LIMITS.map((limit) => (
          <option key={limit} value={limit}>
            {count(limit)} rows
          </option>
        ))}
        <option value="">All rows</option>
      </Select>
      <div className="ml-auto flex items-center gap-1">
        <Button
          variant="ghost"
          onClick={onFormat}
          disabled={empty}
          className="hidden md:inline-flex"
        >
          <AlignLeft aria-hidden />
          Format
        </Button>
        <Button
          variant="ghost"
          onClick={onExplain}
          disabled={empty}
          className="hidden md:inline-flex"
        >
          <ListTree aria-hidden />
          Plan
        </Button>
        <Button onClick={onSave} disabled={empty} aria-label="Save">
          <Save aria-hidden />
          <span className="hidden sm:inline">Save</span>
        </Button>
        <Menu
          align="end"
          trigger={
            <Button variant="ghost" size="icon" aria-label="More">
              <Ellipsis aria-hidden />
            </Button>
          }
        >
          <MenuItem onClick={copyLink} disabled={empty}>
            <Link2 aria-hidden />
            Copy a link to this text
          </MenuItem>
          <MenuItem onClick={onFormat} disabled={empty}>
            <AlignLeft aria-hidden />
            Format
          </MenuItem>
          <MenuItem onClick={onExplain} disabled={empty}>
            <ListTree aria-hidden />
            Show the plan
          </MenuItem>
        </Menu>
      </div>
    </div>
  );
}
