import { useMutation, useQuery } from "@tanstack/react-query";
import { Import } from "lucide-react";
import { useState } from "react";
import { useNavigate } from "react-router";
import { api, unwrap } from "@/api/client";
import { ProblemNote } from "@/components/problem";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Spinner } from "@/components/ui/feedback";
import { Field, Input, Select } from "@/components/ui/input";
import { Checkbox } from "@/components/ui/switch";
import { count } from "@/lib/format";
import {
  type IngestMode,
  type IngestPreview,
  type Upload,
  useForget,
  type Workspace,
} from "./data";

const MODES: readonly (readonly [IngestMode, string])[] = [
  ["create", "a new table"],
  ["append", "a table that is there, after its rows"],
  ["replace", "a table, in the place of its rows"],
];

const TYPES = [
  "boolean",
  "int",
  "long",
  "float",
  "double",
  "decimal(18,2)",
  "date",
  "timestamp",
  "timestamptz",
  "string",
] as const;

/** What a table made of the file could be called. */
export function tableName(filename: string): string {
  const stem = filename.replace(/^.*[/\\]/, "").replace(/\..*$/, "");
  const plain = stem
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "_")
    .replace(/^[_0-9]+|_+$/g, "");
  return plain || "uploaded";
}

/** Looks into a file, and brings it into a table. */
export function IngestDialog({
  workspace,
  upload,
  onClose,
}: {
  workspace: Workspace;
  upload: Upload;
  onClose: () => void;
}) {
  const [table, setTable] = useState(() => tableName(upload.filename));
  const [mode, setMode] = useState<IngestMode>("create");
  const [header, setHeader] = useState(true);
  const [allText, setAllText] = useState(false);
  const [types, setTypes] = useState<Record<string, string>>({});
  const navigate = useNavigate();
  const forget = useForget();
  const path = { path: { workspace_id: workspace.id } };
  const options = { header, all_text: allText, types, null_values: [] };
  const preview = useQuery({
    queryKey: ["preview", upload.id, options],
    staleTime: Number.POSITIVE_INFINITY,
    placeholderData: (before) => before,
    queryFn: () =>
      unwrap(
        api.POST("/api/v1/workspaces/{workspace_id}/ingests/preview", {
          params: path,
          body: { upload_id: upload.id, options },
        }),
      ),
  });
  const start = useMutation({
    mutationFn: () =>
      unwrap(
        api.POST("/api/v1/workspaces/{workspace_id}/ingests", {
          params: path,
          body: { upload_id: upload.id, table: table.trim(), mode, options },
        }),
      ),
    onSuccess: () => {
      forget();
      navigate(`/workspaces/${workspace.id}/ingests`);
    },
  });
  const failure = start.error ?? preview.error;
  return (
    <Dialog
      open
      onOpenChange={(open) => !open && onClose()}
      title={`Ingest ${upload.filename}`}
      description="All of its rows come in one snapshot, or none."
      shape="right"
      className="max-w-3xl"
      footer={
        <Button
          variant="primary"
          disabled={!preview.data || preview.error !== null || table.trim() === ""}
          busy={start.isPending}
          onClick={() => start.mutate()}
        >
          <Import aria-hidden />
          Ingest
        </Button>
      }
    >
      <div className="flex flex-col gap-3">
        {failure && <ProblemNote error={failure} again={start.error === null} />}
        <div className="flex flex-wrap gap-3">
          <Field label="Into" className="w-64">
            {(props) => (
              <Select
                {...props}
                value={mode}
                onChange={(event) => setMode(event.target.value as IngestMode)}
              >
                {MODES.map(([value, label]) => (
                  <option key={value} value={value}>
                    {label}
                  </option>
                ))}
              </Select>
            )}
          </Field>
          <Field label="Table" hint={`in ${workspace.namespace}`} className="w-56">
            {(props) => (
              <Input
                {...props}
                className="font-mono"
                value={table}
                onChange={(event) => setTable(event.target.value)}
              />
            )}
          </Field>
        </div>
        <div className="flex flex-wrap gap-x-4">
          <Checkbox checked={header} onChange={setHeader}>
            The first line names the columns
          </Checkbox>
          <Checkbox checked={allText} onChange={setAllText}>
            Everything as text
          </Checkbox>
        </div>
        {preview.data ? (
          <PreviewTable
            preview={preview.data}
            types={types}
            onType={(column, type) => setTypes({ ...types, [column]: type })}
          />
        ) : (
          !preview.error && <Spinner label="Looking into the file" />
        )}
      </div>
    </Dialog>
  );
}

function PreviewTable({
  preview,
  types,
  onType,
}: {
  preview: IngestPreview;
  types: Readonly<Record<string, string>>;
  onType: (column: string, type: string) => void;
}) {
  return (
    <>
      <p className="text-xs text-muted-foreground">
        {preview.format}; types rest on the first {count(preview.sampled_rows)} rows.
      </p>
      <section
        aria-label="Preview"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
        tabIndex={0}
        className="max-h-96 overflow-auto rounded-md border"
      >
        <table className="w-full text-xs">
          <thead className="sticky top-0 bg-card">
            <tr>
              {preview.columns.map((column) => (
                <th key={column.name} scope="col" className="px-2 py-1.5 text-left align-top">
                  <span className="block font-mono" title={column.source}>
                    {column.name}
                  </span>
                  <Select
                    aria-label={`Type of ${column.name}`}
                    className="mt-1 h-7 w-32 font-normal"
                    value={types[column.name] ?? column.type}
                    onChange={(event) => onType(column.name, event.target.value)}
                  >
                    {[...new Set([column.type, types[column.name] ?? column.type, ...TYPES])].map(
                      (one) => (
                        <option key={one} value={one}>
                          {one}
                        </option>
                      ),
                    )}
                  </Select>
                  {column.note && (
                    <span className="mt-0.5 block font-normal text-muted-foreground">
                      {column.note}
                    </span>
                  )}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {preview.rows.map((row, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: rows of a file are told apart by their place
              <tr key={index} className="border-t">
                {row.map((cell, place) => (
                  <td
                    // biome-ignore lint/suspicious/noArrayIndexKey: cells in the order of the columns
                    key={place}
                    className="max-w-56 truncate px-2 py-1 font-mono"
                  >
                    {cell ?? <span className="text-muted-foreground">NULL</span>}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </>
  );
}
