import { useMe } from "@/api/session";
import { Dialog } from "@/components/ui/dialog";
import { Kbd } from "@/components/ui/kbd";
import { navFor } from "./nav";

const GROUPS: readonly {
  title: string;
  keys: readonly (readonly [string, readonly string[]])[];
}[] = [
  {
    title: "Everywhere",
    keys: [
      ["Search and commands", ["Mod", "K"]],
      ["These shortcuts", ["?"]],
    ],
  },
  {
    title: "Worksheet",
    keys: [
      ["Run the statement at the cursor, or the selection", ["Mod", "Enter"]],
      ["Cancel", ["Mod", "Shift", "X"]],
      ["Format", ["Mod", "Shift", "F"]],
      ["Save", ["Mod", "S"]],
      ["Complete", ["Ctrl", "Space"]],
      ["Leave the editor", ["Esc", "Tab"]],
    ],
  },
  {
    title: "Results",
    keys: [
      ["Move between cells", ["↑", "↓", "←", "→"]],
      ["First and last row", ["Mod", "Home / End"]],
      ["Show a whole value", ["Enter"]],
      ["Copy a value", ["Mod", "C"]],
    ],
  },
];

export function Help({
  open,
  onOpenChange,
}: {
  open: boolean;
  onOpenChange: (open: boolean) => void;
}) {
  const items = navFor(useMe().permissions);
  return (
    <Dialog
      open={open}
      onOpenChange={onOpenChange}
      title="Keyboard shortcuts"
      className="max-w-2xl"
    >
      <div className="grid gap-x-8 gap-y-4 sm:grid-cols-2">
        {GROUPS.map((group) => (
          <Group key={group.title} title={group.title} keys={group.keys} />
        ))}
        <Group title="Go to" keys={items.map((item) => [item.label, ["g", item.key]] as const)} />
      </div>
    </Dialog>
  );
}

function Group({
  title,
  keys,
}: {
  title: string;
  keys: readonly (readonly [string, readonly string[]])[];
}) {
  return (
    <section>
      <h3 className="mb-1 text-xs font-medium text-muted-foreground">{title}</h3>
      <dl>
        {keys.map(([what, names]) => (
          <div key={what} className="flex min-h-7 items-center justify-between gap-3 text-sm">
            <dt>{what}</dt>
            <dd>
              <Kbd keys={names} />
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
