import { Checkbox as BaseCheckbox } from "@base-ui/react/checkbox";
import { Switch as BaseSwitch } from "@base-ui/react/switch";
import { Check } from "lucide-react";
import type { ReactNode } from "react";

/** On or off at once. */
export function Switch({
  checked,
  onChange,
  label,
}: {
  checked: boolean;
  onChange: (checked: boolean) => void;
  label: string;
}) {
  return (
    <BaseSwitch.Root
      checked={checked}
      onCheckedChange={(next) => onChange(next)}
      aria-label={label}
      className="inline-flex h-6 w-10 shrink-0 items-center rounded-full border border-input bg-muted p-0.5 transition-colors data-checked:border-primary data-checked:bg-primary"
    >
      <BaseSwitch.Thumb className="size-4.5 rounded-full bg-input transition-transform data-checked:translate-x-4 data-checked:bg-primary-foreground" />
    </BaseSwitch.Root>
  );
}

/** A choice that holds once the form around it is sent. */
export function Checkbox({
  checked,
  onChange,
  disabled,
  children,
}: {
  checked: boolean;
  onChange: (checked: boolean) => void;
  disabled?: boolean;
  children: ReactNode;
}) {
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: Base UI renders the input inside the label
    <label className="flex min-h-6 cursor-pointer items-center gap-2 text-sm">
      <BaseCheckbox.Root
        checked={checked}
        onCheckedChange={(next) => onChange(next)}
        disabled={disabled}
        className="flex size-4 shrink-0 items-center justify-center rounded-sm border border-input bg-card data-checked:border-primary data-checked:bg-primary data-disabled:opacity-50"
      >
        <BaseCheckbox.Indicator className="text-primary-foreground">
          <Check className="size-3" strokeWidth={3} aria-hidden />
        </BaseCheckbox.Indicator>
      </BaseCheckbox.Root>
      <span className="min-w-0">{children}</span>
    </label>
  );
}
