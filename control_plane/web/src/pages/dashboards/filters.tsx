import { useQuery } from "@tanstack/react-query";
import { ChevronDown } from "lucide-react";
import { useEffect, useState } from "react";
import { api, unwrap } from "@/api/client";
import type { DashboardFilter, Parameter } from "@/api/types";
import { Button } from "@/components/ui/button";
import { Field, Input, Select } from "@/components/ui/input";
import { Popover } from "@/components/ui/popover";
import { Checkbox } from "@/components/ui/switch";
import { parseValue, valueError, valueText } from "@/query/parametervalues";

const PREFIX = "f.";

/** What each filter is set to, as text: from the address, else its default. */
export function filterTexts(
  filters: readonly DashboardFilter[],
  search: URLSearchParams,
): Record<string, string> {
  return Object.fromEntries(
    filters.map((filter) => [
      filter.parameter,
      search.get(PREFIX + filter.parameter) ?? valueText(filter.default ?? null),
    ]),
  );
}

/** What is sent; a text that is no value of its type counts as not set. */
export function filterParameters(
  filters: readonly DashboardFilter[],
  texts: Readonly<Record<string, string>>,
): Parameter[] {
  return filters.map((filter) => {
    const type = filter.type ?? "varchar";
    const value = { type, text: texts[filter.parameter] ?? "" };
    return {
      name: filter.parameter,
      type,
      value: valueError(value) === undefined ? parseValue(value) : null,
    };
  });
}

/** The controls of a dashboard. */
export function Filters({
  boardId,
  filters,
  texts,
  onApply,
}: {
  boardId: string;
  filters: readonly DashboardFilter[];
  texts: Readonly<Record<string, string>>;
  onApply: (search: Record<string, string>) => void;
}) {
  const [typed, setTyped] = useState(texts);
  useEffect(() => setTyped(texts), [texts]);
  const apply = (next: Readonly<Record<string, string>>) => {
    const search = Object.entries(next).filter(([, text]) => text !== "");
    onApply(Object.fromEntries(search.map(([name, text]) => [PREFIX + name, text])));
  };
  const changed = JSON.stringify(typed) !== JSON.stringify(texts);
  const wrong = filters.some(
    (filter) => errorOf(filter, typed[filter.parameter] ?? "") !== undefined,
  );
  return (
    <form
      aria-label="Filters"
      className="flex flex-wrap items-end gap-3"
      onSubmit={(event) => {
        event.preventDefault();
        if (!wrong) apply(typed);
      }}
    >
      {filters.map((filter) => (
        <Control
          key={filter.parameter}
          boardId={boardId}
          filter={filter}
          text={typed[filter.parameter] ?? ""}
          onChange={(text, now) => {
            const next = { ...typed, [filter.parameter]: text };
            setTyped(next);
            if (now) apply(next);
          }}
        />
      ))}
      {changed && (
        <Button type="submit" disabled={wrong}>
          Apply
        </Button>
      )}
    </form>
  );
}

function errorOf(filter: DashboardFilter, text: string): string | undefined {
  return text === "" ? undefined : valueError({ type: filter.type ?? "varchar", text });
}

function Control({
  boardId,
  filter,
  text,
  onChange,
}: {
  boardId: string;
  filter: DashboardFilter;
  text: string;
  onChange: (text: string, now: boolean) => void;
}) {
  const asked = useQuery({
    queryKey: ["filter-options", boardId, filter.parameter],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/dashboards/{dashboard_id}/filters/{parameter}/options", {
          params: { path: { dashboard_id: boardId, parameter: filter.parameter } },
        }),
      ),
    enabled: boardId !== "" && !!filter.options_statement,
    staleTime: 300_000,
  });
  const options = (
    filter.options_statement ? (asked.data?.options ?? []) : (filter.options ?? [])
  ).map((one) => (one === null ? "" : String(one)));
  const label = filter.label || filter.parameter;
  if (options.length === 0) {
    return (
      <Field label={label} error={errorOf(filter, text)} className="w-44">
        {(props) => (
          <Input
            {...props}
            type={filter.type === "date" ? "date" : "text"}
            placeholder="all"
            value={text}
            onChange={(event) => onChange(event.target.value, filter.type === "date")}
          />
        )}
      </Field>
    );
  }
  if (filter.multiple) {
    const chosen = chosenOf(text);
    return (
      <div className="flex flex-col gap-1">
        <span aria-hidden className="text-xs font-medium">
          {label}
        </span>
        <Popover
          title={label}
          trigger={
            <Button
              className="w-44 justify-between font-normal"
              aria-label={`${label}: ${chosen.join(", ") || "all"}`}
            >
              <span className="truncate">{chosen.join(", ") || "all"}</span>
              <ChevronDown aria-hidden />
            </Button>
          }
        >
          {options.map((option) => (
            <Checkbox
              key={option}
              checked={chosen.includes(option)}
              onChange={(on) => {
                const next = on ? [...chosen, option] : chosen.filter((one) => one !== option);
                onChange(next.length === 0 ? "" : `[${next.join(", ")}]`, true);
              }}
            >
              {option}
            </Checkbox>
          ))}
        </Popover>
      </div>
    );
  }
  return (
    <Field label={label} className="w-44">
      {(props) => (
        <Select {...props} value={text} onChange={(event) => onChange(event.target.value, true)}>
          <option value="">all</option>
          {options.map((option) => (
            <option key={option} value={option}>
              {option}
            </option>
          ))}
        </Select>
      )}
    </Field>
  );
}

export function chosenOf(text: string): string[] {
  const list = /^\[([\s\S]*)\]$/.exec(text.trim());
  const members = list ? (list[1] ?? "").split(",") : [text];
  return members.map((one) => one.trim()).filter((one) => one !== "");
}
