import { useState } from "react";
import { ApiProblem } from "@/api/problem";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { clip } from "@/lib/format";
import { ProblemNote } from "./problem";

const TITLE_LENGTH = 200;
const COPY = " (copy)";

/** What is kept with a version, as everybody who may edit it reads it. */
export interface Kept {
  version: number;
  updated_by: string;
  can_edit: boolean;
}

/** What somebody tried to save, what is kept in its place, and why the last answer to it failed. */
export interface Met<Mine, Theirs extends Kept> {
  mine: Mine;
  /** Null: it was removed, or is not shared any more. */
  theirs: Theirs | null;
  error: unknown;
}

/** Two editors of one thing: what became of a save where somebody else was first. */
export function useMeanwhile<Mine, Theirs extends Kept>(read: () => Promise<Theirs>) {
  const [met, setMet] = useState<Met<Mine, Theirs> | null>(null);
  return {
    met,
    clear: () => setMet(null),
    /** Whether a change of `mine` failed since somebody else was first; theirs is read anew for that. */
    meet: async (error: unknown, mine: Mine): Promise<boolean> => {
      const theirs = await theirsAfter(error, read);
      if (theirs !== undefined) setMet({ mine, theirs, error: null });
      return theirs !== undefined;
    },
    /** Shows why what was chosen could not be done; whether anything was asked. */
    refuse: (error: unknown): boolean => {
      if (met !== null) setMet({ ...met, error });
      return met !== null;
    },
  };
}

/** What others made of it, null where they removed it, and undefined where the error has another reason. */
export async function theirsAfter<Theirs extends Kept>(
  error: unknown,
  read: () => Promise<Theirs>,
): Promise<Theirs | null | undefined> {
  const status = error instanceof ApiProblem ? error.status : 0;
  if (![403, 404, 412].includes(status)) return undefined;
  try {
    const theirs = await read();
    // A change may be refused, or not find something, for other reasons than what it is about.
    return status === 412 || (status === 403 && !theirs.can_edit) ? theirs : undefined;
  } catch (failure) {
    return failure instanceof ApiProblem && failure.status === 404 ? null : undefined;
  }
}

/** A name for one's own beside theirs. */
export function copyTitle(title: string): string {
  return clip(title.trim() || "Untitled", TITLE_LENGTH - COPY.length) + COPY;
}

/** Who saved in between, and what can be done about it. */
export function MeanwhileNote({
  theirs,
  noun,
  drop = false,
}: {
  theirs: Kept;
  noun: string;
  /** Whether one's own can be dropped, too. */
  drop?: boolean;
}) {
  return (
    <p className="text-sm">
      {theirs.updated_by} saved version {theirs.version} in the meantime. Replace it with yours
      {drop ? ", " : " or "}save yours as a new {noun}
      {drop && ", or drop yours and see theirs"}.
    </p>
  );
}

/** Asks what becomes of one's own where somebody else was first; closed, nothing becomes of it yet. */
export function MeanwhileDialog({
  met: { theirs, error },
  noun,
  busy,
  onReplace,
  onCopy,
  onDrop,
  onClose,
}: {
  met: Met<unknown, Kept>;
  noun: string;
  busy: boolean;
  onReplace: () => void;
  onCopy: () => void;
  /** Shows theirs; where there is none, leaves. */
  onDrop: () => void;
  onClose: () => void;
}) {
  const title =
    theirs === null
      ? `This ${noun} is gone`
      : theirs.can_edit
        ? `Somebody changed this ${noun} in the meantime`
        : `You may not change this ${noun} any more`;
  return (
    <Dialog
      open
      onOpenChange={(open) => !open && onClose()}
      title={title}
      footer={
        <>
          <Button variant="ghost" disabled={busy} onClick={onDrop}>
            Drop mine
          </Button>
          <Button busy={busy} onClick={onCopy}>
            Save as a new {noun}
          </Button>
          {theirs?.can_edit && (
            <Button variant="danger" busy={busy} onClick={onReplace}>
              Replace theirs
            </Button>
          )}
        </>
      }
    >
      <div className="flex flex-col gap-3">
        {theirs?.can_edit ? (
          <MeanwhileNote theirs={theirs} noun={noun} drop />
        ) : (
          <p className="text-sm">
            {theirs === null
              ? "It was removed in the meantime, or is not shared with you any more. "
              : "It is still shared with you to read. "}
            You can save yours as a new {noun}.
          </p>
        )}
        {error !== null && <ProblemNote error={error} />}
      </div>
    </Dialog>
  );
}
