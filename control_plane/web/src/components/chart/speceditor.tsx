import type { ChartKind, ChartSpec, Column } from "@/api/types";
import { Field, Input, Select } from "@/components/ui/input";
import { Checkbox } from "@/components/ui/switch";
import { isMeasure } from "./data";

export const KINDS: readonly { kind: ChartKind; label: string }[] = [
  { kind: "bar", label: "Bars" },
  { kind: "line", label: "Line" },
  { kind: "area", label: "Area" },
  { kind: "scatter", label: "Scatter" },
  { kind: "heatmap", label: "Heatmap" },
  { kind: "number", label: "Big number" },
  { kind: "table", label: "Table" },
];

const SORTS = [
  ["none", "As the result has it"],
  ["x", "By the axis"],
  ["value_descending", "Largest first"],
  ["value_ascending", "Smallest first"],
] as const;

/** What of a result is drawn, and how. */
export function SpecEditor({
  spec,
  columns,
  onChange,
}: {
  spec: ChartSpec;
  columns: readonly Column[];
  onChange: (spec: ChartSpec) => void;
}) {
  const set = (parts: Partial<ChartSpec>) => onChange({ ...spec, ...parts });
  const { kind } = spec;
  const plotted = kind !== "table" && kind !== "number";
  const measured = plotted && kind !== "heatmap";
  return (
    <div className="flex flex-col gap-3">
      <Field label="Kind">
        {(props) => (
          <Select
            {...props}
            value={kind}
            onChange={(event) => set({ kind: event.target.value as ChartKind })}
          >
            {KINDS.map((one) => (
              <option key={one.kind} value={one.kind}>
                {one.label}
              </option>
            ))}
          </Select>
        )}
      </Field>
      {plotted && (
        <ColumnChoice
          label={kind === "heatmap" ? "Across" : "Axis"}
          value={spec.x}
          columns={columns}
          onChange={(x) => set({ x })}
        />
      )}
      {kind === "heatmap" && (
        <>
          <ColumnChoice
            label="Down"
            value={spec.series ?? spec.y?.[0]}
            columns={columns}
            onChange={(series) => set({ series })}
          />
          <ColumnChoice
            label="Colour"
            value={spec.value}
            columns={columns.filter(isMeasure)}
            onChange={(value) => set({ value })}
          />
        </>
      )}
      {kind === "number" && (
        <ColumnChoice
          label="Value"
          value={spec.y?.[0]}
          columns={columns}
          onChange={(name) => set({ y: name ? [name] : [] })}
        />
      )}
      {measured && (
        <fieldset className="flex flex-col gap-0.5">
          <legend className="mb-1 text-xs font-medium">Measures</legend>
          {columns.filter(isMeasure).map((column) => (
            <Checkbox
              key={column.name}
              checked={spec.y?.includes(column.name) ?? false}
              onChange={(on) =>
                set({
                  y: on
                    ? [...(spec.y ?? []), column.name]
                    : (spec.y ?? []).filter((name) => name !== column.name),
                })
              }
            >
              <span className="font-mono text-xs">{column.name}</span>
            </Checkbox>
          ))}
          {!columns.some(isMeasure) && (
            <p className="text-xs text-muted-foreground">The result has no column of numbers.</p>
          )}
        </fieldset>
      )}
      {measured && (
        <ColumnChoice
          label="Split by"
          value={spec.series}
          columns={columns}
          none="Not split"
          onChange={(series) => set({ series })}
        />
      )}
      {measured && kind !== "scatter" && (
        <Field label="Order">
          {(props) => (
            <Select
              {...props}
              value={spec.sort}
              onChange={(event) => set({ sort: event.target.value as ChartSpec["sort"] })}
            >
              {SORTS.map(([value, label]) => (
                <option key={value} value={value}>
                  {label}
                </option>
              ))}
            </Select>
          )}
        </Field>
      )}
      {measured && kind !== "scatter" && (
        <Field label="Categories at most">
          {(props) => (
            <Input
              {...props}
              type="number"
              min={1}
              max={10_000}
              value={spec.limit ?? ""}
              onChange={(event) =>
                set({
                  limit: event.target.value === "" ? null : Math.max(1, Number(event.target.value)),
                })
              }
            />
          )}
        </Field>
      )}
      {measured && (
        <div>
          {kind !== "scatter" && (
            <Checkbox checked={spec.stacked ?? false} onChange={(stacked) => set({ stacked })}>
              Stacked
            </Checkbox>
          )}
          {kind === "bar" && (
            <Checkbox
              checked={spec.horizontal ?? false}
              onChange={(horizontal) => set({ horizontal })}
            >
              Lying bars
            </Checkbox>
          )}
          <Checkbox checked={spec.legend ?? true} onChange={(legend) => set({ legend })}>
            Legend
          </Checkbox>
        </div>
      )}
      {plotted && (
        <Field label="Name of the axis">
          {(props) => (
            <Input
              {...props}
              value={spec.x_label}
              onChange={(event) => set({ x_label: event.target.value })}
            />
          )}
        </Field>
      )}
      {kind !== "table" && (
        <>
          <Field label={kind === "number" ? "Words below it" : "Name of the values"}>
            {(props) => (
              <Input
                {...props}
                value={spec.y_label}
                onChange={(event) => set({ y_label: event.target.value })}
              />
            )}
          </Field>
          <Field label="Format of numbers" hint="For example ,.2f or .1% or s (1.2M).">
            {(props) => (
              <Input
                {...props}
                className="font-mono"
                value={spec.number_format}
                onChange={(event) => set({ number_format: event.target.value })}
              />
            )}
          </Field>
        </>
      )}
    </div>
  );
}

function ColumnChoice({
  label,
  value,
  columns,
  none = "A column…",
  onChange,
}: {
  label: string;
  value: string | null | undefined;
  columns: readonly Column[];
  none?: string;
  onChange: (name: string | null) => void;
}) {
  return (
    <Field label={label}>
      {(props) => (
        <Select
          {...props}
          value={value ?? ""}
          onChange={(event) => onChange(event.target.value || null)}
        >
          <option value="">{none}</option>
          {columns.map((column) => (
            <option key={column.name} value={column.name}>
              {column.name} ({column.type})
            </option>
          ))}
        </Select>
      )}
    </Field>
  );
}
