import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { api, etagOf, unwrap } from "@/api/client";
import { ProblemNote } from "@/components/problem";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Field, Input, Select } from "@/components/ui/input";
import { Checkbox } from "@/components/ui/switch";
import { notify } from "@/components/ui/toast";
import { type Connection, type ConnectionConfig, useForget, type Workspace } from "./data";

type Kind = "postgresql" | "s3" | "files" | "http";

const KINDS: readonly (readonly [Kind, string])[] = [
  ["postgresql", "PostgreSQL"],
  ["s3", "S3-compatible bucket"],
  ["http", "Web server (HTTP)"],
  ["files", "Folder of the console's machine"],
];

interface FieldSpec {
  name: string;
  label: string;
  hint?: string;
  initial: string;
  optional?: boolean;
}

const FIELDS: Record<Kind, readonly FieldSpec[]> = {
  postgresql: [
    { name: "host", label: "Host", initial: "" },
    { name: "port", label: "Port", initial: "5432" },
    { name: "database", label: "Database", initial: "" },
    { name: "user", label: "User", initial: "" },
  ],
  s3: [
    { name: "endpoint_url", label: "Endpoint", hint: "https://host", initial: "" },
    { name: "region", label: "Region", initial: "us-east-1" },
    { name: "bucket", label: "Bucket", initial: "" },
    {
      name: "access_key",
      label: "Access key",
      hint: "Empty: the bucket is public.",
      initial: "",
      optional: true,
    },
  ],
  http: [
    { name: "url", label: "URL", hint: "What is fetched lies below it.", initial: "" },
    {
      name: "user",
      label: "User",
      hint: "Empty: the secret is a bearer token.",
      initial: "",
      optional: true,
    },
  ],
  files: [
    { name: "folder", label: "Folder", hint: "One that a lab admin has permitted.", initial: "" },
  ],
};

const SECRETS: Record<Kind, string | null> = {
  postgresql: "Password",
  s3: "Secret key",
  http: "Password or token",
  files: null,
};

function valuesOf(config: ConnectionConfig | undefined, kind: Kind): Record<string, string> {
  const held = config?.kind === kind ? (config as unknown as Record<string, unknown>) : {};
  return Object.fromEntries(
    FIELDS[kind].map((one) => [one.name, String(held[one.name] ?? one.initial)]),
  );
}

/** A connection to make or to change; it is tried out before it is kept. */
export function ConnectionDialog({
  workspace,
  connection,
  onClose,
}: {
  workspace: Workspace;
  connection: Connection | null;
  onClose: () => void;
}) {
  const config = connection?.config;
  const [kind, setKind] = useState<Kind>(config?.kind ?? "postgresql");
  const [name, setName] = useState(connection?.name ?? "");
  const [values, setValues] = useState(() => valuesOf(config, kind));
  const [tls, setTls] = useState(config?.kind === "postgresql" ? (config.tls ?? true) : true);
  const [secret, setSecret] = useState("");
  const forget = useForget();
  const body = () => ({
    name: name.trim(),
    config: {
      kind,
      ...values,
      ...(kind === "postgresql" ? { port: Number(values.port), tls } : {}),
    } as unknown as ConnectionConfig,
    secret: secret === "" ? null : secret,
  });
  const save = useMutation({
    mutationFn: () =>
      connection === null
        ? unwrap(
            api.POST("/api/v1/workspaces/{workspace_id}/connections", {
              params: { path: { workspace_id: workspace.id } },
              body: body(),
            }),
          )
        : unwrap(
            api.PUT("/api/v1/workspaces/{workspace_id}/connections/{connection_id}", {
              params: {
                path: { workspace_id: workspace.id, connection_id: connection.id },
                header: { "if-match": etagOf(connection.version) },
              },
              body: body(),
            }),
          ),
    onSuccess: (saved) => {
      forget();
      notify(`${saved.name} works and is kept`);
      onClose();
    },
  });
  const secretLabel = SECRETS[kind];
  const ready =
    name.trim() !== "" &&
    FIELDS[kind].every((one) => one.optional || (values[one.name] ?? "").trim() !== "");
  return (
    <Dialog
      open
      onOpenChange={(open) => !open && onClose()}
      title={connection === null ? "New connection" : `Change ${connection.name}`}
      description="It is tried out before it is kept. Its secret is encrypted, and nobody can read it again."
      shape="right"
      footer={
        <Button
          variant="primary"
          disabled={!ready}
          busy={save.isPending}
          onClick={() => save.mutate()}
        >
          Try and keep
        </Button>
      }
    >
      <div className="flex flex-col gap-3">
        {save.error && <ProblemNote error={save.error} />}
        <Field label="Kind">
          {(props) => (
            <Select
              {...props}
              value={kind}
              onChange={(event) => {
                const next = event.target.value as Kind;
                setKind(next);
                setValues(valuesOf(config, next));
              }}
            >
              {KINDS.map(([value, label]) => (
                <option key={value} value={value}>
                  {label}
                </option>
              ))}
            </Select>
          )}
        </Field>
        <Field label="Name">
          {(props) => (
            <Input {...props} value={name} onChange={(event) => setName(event.target.value)} />
          )}
        </Field>
        {FIELDS[kind].map((one) => (
          <Field key={one.name} label={one.label} hint={one.hint}>
            {(props) => (
              <Input
                {...props}
                className="font-mono"
                autoComplete="off"
                value={values[one.name] ?? ""}
                onChange={(event) => setValues({ ...values, [one.name]: event.target.value })}
              />
            )}
          </Field>
        ))}
        {kind === "postgresql" && (
          <Checkbox checked={tls} onChange={setTls}>
            Require TLS, and check the server's certificate
          </Checkbox>
        )}
        {secretLabel && (
          <Field
            label={secretLabel}
            hint={
              connection?.has_secret
                ? "One is kept. A connection that leads elsewhere needs it anew."
                : undefined
            }
          >
            {(props) => (
              <Input
                {...props}
                type="password"
                autoComplete="new-password"
                value={secret}
                onChange={(event) => setSecret(event.target.value)}
              />
            )}
          </Field>
        )}
      </div>
    </Dialog>
  );
}
