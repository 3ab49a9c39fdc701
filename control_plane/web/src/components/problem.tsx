import { asProblem, mayPass } from "@/api/problem";
import { Failure } from "@/components/ui/feedback";

/**
 * An error of the API with what is permitted and what to do next. `again`: it is asked for again by itself, as
 * what is read is and what somebody did is not.
 */
export function ProblemNote({
  error,
  onRetry,
  again = onRetry !== undefined,
  className,
}: {
  error: unknown;
  onRetry?: () => void;
  again?: boolean;
  className?: string;
}) {
  const { facts } = asProblem(error);
  return (
    <Failure title={facts.title} onRetry={onRetry} className={className}>
      <dl className="grid gap-x-3 text-xs [grid-template-columns:max-content_1fr]">
        <Fact name="Given" value={facts.value} />
        <Fact name="Permitted" value={facts.permitted} />
        <Fact name="Next" value={facts.next_command} code />
      </dl>
      {again && mayPass(error) && (
        <p className="mt-1 text-xs text-muted-foreground">
          This page tries again by itself every few seconds.
        </p>
      )}
    </Failure>
  );
}

function Fact({
  name,
  value,
  code = false,
}: {
  name: string;
  value?: string | null;
  code?: boolean;
}) {
  if (!value) return null;
  return (
    <>
      <dt className="text-muted-foreground">{name}</dt>
      <dd className="min-w-0 whitespace-pre-wrap break-words">
        {code ? <code className="font-mono">{value}</code> : value}
      </dd>
    </>
  );
}
