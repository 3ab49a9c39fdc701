/** Errors of the API: https://www.rfc-editor.org/rfc/rfc9457 with what a person can do about them. */

export interface ProblemFacts {
  title: string;
  status: number;
  value?: string | null;
  permitted?: string | null;
  next_command?: string | null;
  error_name?: string | null;
  line?: number | null;
  column?: number | null;
  query_id?: string | null;
}

export class ApiProblem extends Error {
  constructor(readonly facts: ProblemFacts) {
    super(facts.title);
    this.name = "ApiProblem";
  }

  get status(): number {
    return this.facts.status;
  }
}

/** Status 0: nothing answered. */
export const UNREACHABLE = 0;

const WORDS: Record<number, string> = {
  401: "You are signed out",
  403: "You may not do this",
  404: "There is nothing here",
  412: "Somebody changed this in the meantime",
  429: "Too many requests at once",
  502: "The console's back end did not answer",
  503: "A service is not available right now",
  504: "A service took too long to answer",
};

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

/** The problem behind an answer, whatever its body is. */
export function problemOf(status: number, body: unknown): ApiProblem {
  const facts = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  const text = (key: string) => (isText(facts[key]) ? (facts[key] as string) : null);
  const number = (key: string) => (typeof facts[key] === "number" ? (facts[key] as number) : null);
  return new ApiProblem({
    title: text("title") ?? WORDS[status] ?? `The console answered with ${status}`,
    status,
    value: text("value"),
    permitted: text("permitted"),
    next_command: text("next_command"),
    error_name: text("error_name"),
    line: number("line"),
    column: number("column"),
    query_id: text("query_id"),
  });
}

/** Any error as a problem; one that `fetch` throws means that nothing answered. */
export function asProblem(error: unknown): ApiProblem {
  if (error instanceof ApiProblem) return error;
  if (error instanceof TypeError) {
    return new ApiProblem({
      title: "The console can't be reached",
      status: UNREACHABLE,
      permitted: "a running lab and a working network",
      next_command: "lab status",
    });
  }
  return new ApiProblem({
    title: error instanceof Error ? error.message : String(error),
    status: 500,
  });
}

/** Whether the same request may succeed later without anybody changing it. */
export function mayPass(error: unknown): boolean {
  const { status } = asProblem(error);
  return status === UNREACHABLE || status === 429 || (status >= 502 && status <= 504);
}
