/** Parameters of statements: from what somebody typed to what is sent. All pure. */

import type { Parameter, ParameterSpec, ParameterType } from "@/api/types";

/** A value that the user gave for a parameter, as text; how it is sent follows from its type. */
export interface ParameterValue {
  type: ParameterType;
  text: string;
}

export const PARAMETER_TYPES: readonly ParameterType[] = [
  "varchar",
  "bigint",
  "double",
  "decimal",
  "boolean",
  "date",
  "timestamp",
  "timestamp with time zone",
];

export type Sent = Parameter["value"];

/** One typed value; throws with words for the user when it is none of its type. */
export function parseOne(type: ParameterType, text: string): string | number | boolean {
  const value = text.trim();
  switch (type) {
    case "bigint": {
      if (!/^[+-]?\d+$/.test(value)) throw new Error("a whole number, for example 42");
      const number = Number(value);
      return Number.isSafeInteger(number) ? number : value;
    }
    case "double":
      if (value === "" || Number.isNaN(Number(value))) throw new Error("a number, for example 0.5");
      return Number(value);
    case "decimal":
      if (!/^[+-]?(\d+(\.\d*)?|\.\d+)$/.test(value)) throw new Error("a number, for example 12.50");
      return value;
    case "boolean":
      if (!/^(true|false)$/i.test(value)) throw new Error("true or false");
      return value.toLowerCase() === "true";
    case "date":
      if (!/^\d{4}-\d{2}-\d{2}$/.test(value)) throw new Error("a date, for example 2026-01-31");
      return value;
    case "timestamp":
      if (!/^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?$/.test(value)) {
        throw new Error("a time, for example 2026-01-31 17:00:00");
      }
      return value.replace("T", " ");
    default:
      return text;
  }
}

/** What is sent: null for an empty text (a NULL); `[a, b]` for a list, as in IN (:names). */
export function parseValue({ type, text }: ParameterValue): Sent {
  if (text === "") return null;
  const list = /^\[([\s\S]*)\]$/.exec(text.trim());
  if (list !== null) {
    const members = (list[1] ?? "").split(",").map((one) => one.trim());
    return members.filter((one) => one !== "").map((one) => parseOne(type, one));
  }
  return parseOne(type, text);
}

/** Why a value can't be sent, in words; undefined when it can. */
export function valueError(value: ParameterValue): string | undefined {
  try {
    parseValue(value);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A kept default as the text that somebody would type. */
export function valueText(value: Sent): string {
  if (value === null || value === undefined) return "";
  return Array.isArray(value) ? `[${value.join(", ")}]` : String(value);
}

/** Values for the names that a statement has, what is known first. */
export function valuesFor(
  names: readonly string[],
  known: Readonly<Record<string, ParameterValue>>,
): Record<string, ParameterValue> {
  return Object.fromEntries(
    names.map((name) => [name, known[name] ?? { type: "varchar" as const, text: "" }]),
  );
}

export function fromSpecs(specs: readonly ParameterSpec[]): Record<string, ParameterValue> {
  return Object.fromEntries(
    specs.map((spec) => [
      spec.name,
      { type: spec.type ?? "varchar", text: valueText(spec.default ?? null) },
    ]),
  );
}

/** Throws when a value can't be sent. */
export function toParameters(values: Readonly<Record<string, ParameterValue>>): Parameter[] {
  return Object.entries(values).map(([name, value]) => ({
    name,
    type: value.type,
    value: parseValue(value),
  }));
}

export function toSpecs(values: Readonly<Record<string, ParameterValue>>): ParameterSpec[] {
  return Object.entries(values).map(([name, value]) => ({
    name,
    type: value.type,
    label: "",
    default: parseValue(value),
  }));
}
