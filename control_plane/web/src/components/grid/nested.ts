import type { Column, Value } from "@/api/types";

/** A member of a Trino row type. */
export interface Member {
  name: string;
  type: string;
}

/** https://trino.io/docs/current/language/types.html */
const TYPE =
  /^(boolean|tinyint|smallint|integer|bigint|real|double|decimal|varchar|char|varbinary|json|date|time|timestamp|interval|array|map|row|uuid|ipaddress|unknown)\b/;
const OF_SEVERAL_WORDS =
  /^(time|timestamp)(\(\d+\))? with(out)? time zone$|^interval (year to month|day to second)$|^double precision$/;

/** The parts of a text between commas that stand in no parentheses and no quotation marks. */
function parts(text: string): string[] {
  const found: string[] = [];
  let [depth, quoted, start] = [0, false, 0];
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (char === '"') quoted = !quoted;
    else if (quoted) continue;
    else if (char === "(") depth += 1;
    else if (char === ")") depth -= 1;
    else if (char === "," && depth === 0) {
      found.push(text.slice(start, at));
      start = at + 1;
    }
  }
  found.push(text.slice(start));
  return found.map((part) => part.trim());
}

/** What stands between a type's parentheses, null for another type. */
function inside(type: string, of: string): string | null {
  return type.startsWith(`${of}(`) && type.endsWith(")") ? type.slice(of.length + 1, -1) : null;
}

function member(text: string): Member | null {
  const quoted = /^"((?:[^"]|"")*)" (.+)$/.exec(text);
  if (quoted) return { name: (quoted[1] ?? "").replaceAll('""', '"'), type: quoted[2] ?? "" };
  if (OF_SEVERAL_WORDS.test(text)) return null;
  // A name may have spaces and Trino does not say where it ends: the first word after it is a type.
  for (let at = text.indexOf(" "); at > 0; at = text.indexOf(" ", at + 1)) {
    const type = text.slice(at + 1);
    if (TYPE.test(type)) return { name: text.slice(0, at), type };
  }
  return null;
}

/** The members of `row(name type, …)`; null for another type, or where they have no names of their own. */
export function membersOf(type: string): Member[] | null {
  const within = inside(type, "row");
  if (within === null) return null;
  const found = parts(within).map(member);
  const named = found.filter((one) => one !== null);
  const names = new Set(named.map((one) => one.name));
  return named.length === found.length && names.size === found.length ? named : null;
}

/** A value in which rows, lists of values in Trino's JSON, have their names. */
function named(value: Value, type: string): Value {
  if (value === null || typeof value !== "object") return value;
  const item = inside(type, "array");
  if (item !== null) {
    return Array.isArray(value) ? value.map((one) => named(one, item)) : value;
  }
  const [, of] = parts(inside(type, "map") ?? "");
  if (of !== undefined) {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, named(one, of)]));
  }
  const members = membersOf(type);
  if (members === null || !Array.isArray(value) || value.length !== members.length) return value;
  return Object.fromEntries(
    members.map((one, index) => [one.name, named(value[index] as Value, one.type)]),
  );
}

/** A value as it is shown: members of rows have their names. */
export function shown(value: Value, column: Column | undefined): Value {
  return column?.type.includes("row(") ? named(value, column.type) : value;
}
