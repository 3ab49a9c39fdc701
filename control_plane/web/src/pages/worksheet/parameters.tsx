import type { ParameterType } from "@/api/types";
import { Input, Select } from "@/components/ui/input";
import type { ParameterValue } from "@/query/parametervalues";
import { PARAMETER_TYPES, valueError } from "@/query/parametervalues";

/** A control for each `:name` in the text. Values are sent apart from the text, never pasted into it. */
export function Parameters({
  values,
  onChange,
}: {
  values: Readonly<Record<string, ParameterValue>>;
  onChange: (name: string, value: ParameterValue) => void;
}) {
  return (
    <fieldset className="flex shrink-0 flex-wrap items-start gap-x-4 gap-y-2 border-t px-3 py-2">
      <legend className="sr-only">Parameters</legend>
      {Object.entries(values).map(([name, value]) => {
        const error = value.text === "" ? undefined : valueError(value);
        return (
          <div key={name} className="flex flex-wrap items-center gap-1.5">
            <label htmlFor={`parameter-${name}`} className="font-mono text-xs font-medium">
              :{name}
            </label>
            <Input
              id={`parameter-${name}`}
              className="w-40"
              value={value.text}
              placeholder="null"
              aria-invalid={error !== undefined || undefined}
              aria-describedby={error ? `parameter-${name}-error` : undefined}
              onChange={(event) => onChange(name, { ...value, text: event.target.value })}
            />
            <Select
              aria-label={`Type of ${name}`}
              className="w-auto text-muted-foreground"
              value={value.type}
              onChange={(event) =>
                onChange(name, { ...value, type: event.target.value as ParameterType })
              }
            >
              {PARAMETER_TYPES.map((type) => (
                <option key={type} value={type}>
                  {type}
                </option>
              ))}
            </Select>
            {error && (
              <span
                id={`parameter-${name}-error`}
                role="alert"
                className="text-xs text-destructive"
              >
                {error}
              </span>
            )}
          </div>
        );
      })}
    </fieldset>
  );
}
