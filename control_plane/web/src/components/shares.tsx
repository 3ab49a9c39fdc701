import { useQuery } from "@tanstack/react-query";
import { Users, X } from "lucide-react";
import { useId, useState } from "react";
import { api, unwrap } from "@/api/client";
import { useMe } from "@/api/session";
import type { Share } from "@/api/types";
import { Button } from "@/components/ui/button";
import { Select } from "@/components/ui/input";

/** Which groups may read or change something. */
export function Shares({
  shares,
  onChange,
  readOnly,
  inWorkspace = false,
}: {
  shares: Share[];
  onChange: (shares: Share[]) => void;
  /** Why nobody else may change it; without it, who shares chooses. */
  readOnly?: string;
  /** Whether members of a workspace see it anyhow. */
  inWorkspace?: boolean;
}) {
  const me = useMe();
  const id = useId();
  const [group, setGroup] = useState("");
  const people = useQuery({
    queryKey: ["people"],
    queryFn: () => unwrap(api.GET("/api/v1/people")),
    staleTime: 300_000,
  });
  const known = people.data?.groups.map((one) => one.name) ?? me.groups;
  const free = known.filter((name) => !shares.some((share) => share.group === name));
  const add = () => {
    if (group === "") return;
    onChange([...shares, { group, access: "read" }]);
    setGroup("");
  };
  return (
    <fieldset className="flex flex-col gap-1.5">
      <legend className="mb-1 text-xs font-medium">Shared with</legend>
      {readOnly !== undefined && <p className="text-xs text-muted-foreground">{readOnly}</p>}
      {shares.length === 0 && (
        <p className="text-xs text-muted-foreground">
          {inWorkspace ? "Nobody but its workspace's members sees it." : "Nobody but you sees it."}
        </p>
      )}
      {shares.map((share) => (
        <div key={share.group} className="flex items-center gap-2">
          <Users className="size-3.5 text-muted-foreground" aria-hidden />
          <span className="min-w-0 flex-1 truncate text-sm">{share.group}</span>
          <Select
            aria-label={`What ${share.group} may do`}
            className="w-auto"
            value={share.access}
            onChange={(event) =>
              onChange(
                shares.map((one) =>
                  one.group === share.group
                    ? { ...one, access: event.target.value as Share["access"] }
                    : one,
                ),
              )
            }
          >
            <option value="read">may read</option>
            {readOnly === undefined && <option value="edit">may change</option>}
          </Select>
          <Button
            variant="ghost"
            size="icon-sm"
            aria-label={`Do not share with ${share.group}`}
            onClick={() => onChange(shares.filter((one) => one.group !== share.group))}
          >
            <X aria-hidden />
          </Button>
        </div>
      ))}
      {free.length > 0 && (
        <div className="flex items-center gap-2">
          <label htmlFor={id} className="sr-only">
            Group
          </label>
          <Select id={id} value={group} onChange={(event) => setGroup(event.target.value)}>
            <option value="">A group…</option>
            {free.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </Select>
          <Button onClick={add} disabled={group === ""}>
            Share
          </Button>
        </div>
      )}
    </fieldset>
  );
}
