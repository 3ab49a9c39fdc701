import { Plus, X } from "lucide-react";
import type { Dashboard, DashboardFilter, ParameterType } from "@/api/types";
import { Shares } from "@/components/shares";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Field, Input, Select, Textarea } from "@/components/ui/input";
import { Checkbox } from "@/components/ui/switch";
import { WorkspaceChoice } from "@/components/workspacechoice";
import { PARAMETER_TYPES } from "@/query/parametervalues";

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;

/** Name, description, filters, workspace and sharing of a dashboard. */
export function BoardSettings({
  open,
  onOpenChange,
  board,
  onChange,
}: {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  board: Dashboard;
  onChange: (parts: Partial<Dashboard>) => void;
}) {
  const setFilter = (index: number, parts: Partial<DashboardFilter>) =>
    onChange({
      filters: board.filters.map((one, at) => (at === index ? { ...one, ...parts } : one)),
    });
  return (
    <Dialog
      open={open}
      onOpenChange={onOpenChange}
      title="Dashboard"
      shape="right"
      footer={
        <Button variant="primary" onClick={() => onOpenChange(false)}>
          Done
        </Button>
      }
    >
      <div className="flex flex-col gap-4">
        <Field label="Title">
          {(props) => (
            <Input
              {...props}
              maxLength={200}
              value={board.title}
              onChange={(event) => onChange({ title: event.target.value })}
            />
          )}
        </Field>
        <Field label="Description" hint="Optional.">
          {(props) => (
            <Textarea
              {...props}
              value={board.description}
              onChange={(event) => onChange({ description: event.target.value })}
            />
          )}
        </Field>
        <section className="flex flex-col gap-2">
          <h3 className="text-xs font-medium">Filters</h3>
          <p className="text-xs text-muted-foreground">
            A filter sets the parameter of its name (:name) in every chart that has one.
          </p>
          {board.filters.map((filter, index) => (
            <FilterEditor
              // biome-ignore lint/suspicious/noArrayIndexKey: the name is what is being typed
              key={index}
              filter={filter}
              onChange={(parts) => setFilter(index, parts)}
              onRemove={() => onChange({ filters: board.filters.filter((_, at) => at !== index) })}
            />
          ))}
          <Button
            className="self-start"
            onClick={() =>
              onChange({
                filters: [
                  ...board.filters,
                  {
                    parameter: `filter_${board.filters.length + 1}`,
                    label: "",
                    type: "varchar",
                    multiple: false,
                    options: [],
                  },
                ],
              })
            }
          >
            <Plus aria-hidden />
            Add a filter
          </Button>
        </section>
        {board.can_manage && (
          <>
            <WorkspaceChoice
              value={board.workspace}
              onChange={(workspace) => onChange({ workspace })}
            />
            <Shares
              shares={board.shares}
              onChange={(shares) => onChange({ shares })}
              inWorkspace={board.workspace !== null}
            />
          </>
        )}
      </div>
    </Dialog>
  );
}

function FilterEditor({
  filter,
  onChange,
  onRemove,
}: {
  filter: DashboardFilter;
  onChange: (parts: Partial<DashboardFilter>) => void;
  onRemove: () => void;
}) {
  return (
    <div className="relative grid gap-2 rounded-md border p-3 sm:grid-cols-2">
      <Field
        label="Parameter"
        error={
          NAME.test(filter.parameter)
            ? undefined
            : "Letters, digits and _, not beginning with a digit."
        }
      >
        {(props) => (
          <Input
            {...props}
            className="font-mono"
            value={filter.parameter}
            onChange={(event) => onChange({ parameter: event.target.value })}
          />
        )}
      </Field>
      <Field label="Label">
        {(props) => (
          <Input
            {...props}
            value={filter.label}
            onChange={(event) => onChange({ label: event.target.value })}
          />
        )}
      </Field>
      <Field label="Type">
        {(props) => (
          <Select
            {...props}
            value={filter.type}
            onChange={(event) => onChange({ type: event.target.value as ParameterType })}
          >
            {PARAMETER_TYPES.map((type) => (
              <option key={type} value={type}>
                {type}
              </option>
            ))}
          </Select>
        )}
      </Field>
      <Field label="Choices" hint="Parted by commas; empty for any text.">
        {(props) => (
          <Input
            {...props}
            value={(filter.options ?? []).join(", ")}
            onChange={(event) =>
              onChange({
                options:
                  event.target.value === ""
                    ? []
                    : event.target.value.split(",").map((one) => one.trimStart()),
              })
            }
          />
        )}
      </Field>
      <Field
        label="Or choices from a statement"
        className="sm:col-span-2"
        hint="Its first column, by each viewer's own rights."
      >
        {(props) => (
          <Input
            {...props}
            className="font-mono"
            placeholder="SELECT DISTINCT region FROM web.events"
            value={filter.options_statement ?? ""}
            onChange={(event) => onChange({ options_statement: event.target.value || null })}
          />
        )}
      </Field>
      <Checkbox checked={filter.multiple ?? false} onChange={(multiple) => onChange({ multiple })}>
        Several at once
      </Checkbox>
      <Button variant="danger-ghost" size="sm" className="justify-self-end" onClick={onRemove}>
        <X aria-hidden />
        Remove
      </Button>
    </div>
  );
}
