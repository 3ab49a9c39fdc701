import { useMutation } from "@tanstack/react-query";
import { FileUp, Import, Trash2 } from "lucide-react";
import { useRef, useState } from "react";
import { api, unwrap } from "@/api/client";
import { DataTable } from "@/components/datatable";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Empty, SkeletonRows } from "@/components/ui/feedback";
import { bytes } from "@/lib/format";
import { useNow } from "@/lib/hooks";
import { whoAndWhen } from "./columns";
import { sendFile, type Upload, useForget, useUploads, type Workspace } from "./data";
import { IngestDialog } from "./ingestdialog";

/** Files on their way into tables: sent from here, or fetched by a connection. */
export function Files({ workspace }: { workspace: Workspace }) {
  const uploads = useUploads(workspace.id);
  const forget = useForget();
  const now = useNow(30_000);
  const input = useRef<HTMLInputElement>(null);
  const [sent, setSent] = useState<number | null>(null);
  const [chosen, setChosen] = useState<Upload | null>(null);
  const send = useMutation({
    mutationFn: (file: File) =>
      sendFile(workspace.id, file, (loaded) => setSent(file.size === 0 ? 1 : loaded / file.size)),
    onSuccess: (upload) => {
      forget();
      setChosen(upload);
    },
    onSettled: () => setSent(null),
  });
  const remove = useMutation({
    mutationFn: (id: string) =>
      unwrap(
        api.DELETE("/api/v1/workspaces/{workspace_id}/uploads/{upload_id}", {
          params: { path: { workspace_id: workspace.id, upload_id: id } },
        }),
      ),
    onSuccess: forget,
  });
  const failure = send.error ?? remove.error;
  return (
    <div className="flex flex-col gap-3">
      {failure && <ProblemNote error={failure} />}
      <input
        ref={input}
        type="file"
        hidden
        aria-label="File to upload"
        accept=".csv,.tsv,.tab,.jsonl,.ndjson,.json,.parquet,.gz,.zst"
        onChange={(event) => {
          const file = event.target.files?.[0];
          if (file) send.mutate(file);
          event.target.value = "";
        }}
      />
      {sent !== null && (
        <progress aria-label="Upload" className="h-1.5 w-full" max={1} value={sent} />
      )}
      {uploads.error ? (
        <ProblemNote error={uploads.error} onRetry={() => void uploads.refetch()} />
      ) : uploads.isPending ? (
        <SkeletonRows />
      ) : (
        <DataTable
          label="Files"
          rows={uploads.data}
          rowKey={(row) => row.id}
          noun="file"
          actions={
            <Button variant="primary" busy={send.isPending} onClick={() => input.current?.click()}>
              <FileUp aria-hidden />
              Upload a file
            </Button>
          }
          empty={
            <Empty icon={FileUp} title="No file is here">
              CSV, TSV, JSON lines and Parquet, text plain or packed by gzip or zstd. A file stays a
              day.
            </Empty>
          }
          columns={[
            {
              id: "filename",
              header: "File",
              value: (row) => row.filename,
              cell: (row) => (
                <span className="block min-w-28 font-medium break-all">{row.filename}</span>
              ),
            },
            {
              id: "size",
              header: "Size",
              align: "right",
              value: (row) => row.size_bytes,
              cell: (row) => bytes(row.size_bytes),
            },
            {
              id: "state",
              header: "State",
              value: (row) => row.state,
              cell: (row) => <UploadState upload={row} />,
            },
            ...whoAndWhen<Upload>((row) => row.created_by, { header: "Came", from: "md", now }),
            {
              id: "actions",
              header: "",
              align: "right",
              cell: (row) => (
                <span className="flex flex-wrap justify-end gap-1">
                  {row.state === "ready" && (
                    <Button size="sm" onClick={() => setChosen(row)}>
                      <Import aria-hidden />
                      Ingest
                    </Button>
                  )}
                  <Button
                    size="sm"
                    aria-label={`Remove ${row.filename}`}
                    onClick={() => remove.mutate(row.id)}
                  >
                    <Trash2 aria-hidden />
                  </Button>
                </span>
              ),
            },
          ]}
        />
      )}
      {chosen && (
        <IngestDialog workspace={workspace} upload={chosen} onClose={() => setChosen(null)} />
      )}
    </div>
  );
}

function UploadState({ upload }: { upload: Upload }) {
  if (upload.state === "failed") {
    return (
      <span className="text-xs text-destructive">{upload.error?.title ?? "it did not come"}</span>
    );
  }
  return (
    <Badge tone={upload.state === "ready" ? "success" : "warning"}>
      {upload.state === "ready" ? "ready" : "on its way"}
    </Badge>
  );
}
