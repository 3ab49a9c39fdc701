/** Short names for what the API speaks; `schema.d.ts` is generated from its OpenAPI document. */

import type { components } from "./schema";

type S = components["schemas"];

export type AccessRevision = S["AccessRevision"];
export type AuditLine = S["AuditLine"];
export type AuditReport = S["AuditReport"];
export type Catalog = S["Catalog"];
export type Change = S["Change"];
export type ChangePreview = S["ChangePreview"];
export type Chart = S["Chart"];
export type ChartKind = S["ChartKind"];
export type ChartSpec = S["ChartSpec"];
export type Column = S["Column"];
export type Completion = S["Completion"];
export type CompletionNamespace = S["CompletionNamespace"];
export type ComponentHealth = S["ComponentHealth"];
export type Dashboard = S["Dashboard"];
export type DashboardFilter = S["DashboardFilter"];
export type DashboardSummary = S["DashboardSummary"];
export type Explanation = S["Explanation"];
export type Found = S["Found"];
export type HistoryEntry = S["HistoryEntry"];
export type Impact = S["Impact"];
export type Info = S["Info"];
export type Job = S["Job"];
export type JobPermission = S["JobPermission"];
export type JobRun = S["Run"];
export type JobRunState = S["RunState"];
export type JobRunSummary = S["RunSummary"];
export type JobSummary = S["JobSummary"];
export type JobVersion = S["JobVersion"];
export type Lineage = S["Lineage"];
export type LogLines = S["LogLines"];
export type MaintenancePlan = S["MaintenancePlan"];
export type MaintenanceRun = S["MaintenanceRun"];
export type LogLine = S["LogLine"];
export type Me = S["Me"];
export type Parameter = S["Parameter"];
export type ParameterSpec = S["ParameterSpec"];
export type ParameterType = S["ParameterType"];
export type People = S["People"];
export type Permission = S["Permission"];
export type Plan = S["Plan"];
export type PlanKind = S["PlanKind"];
export type Query = S["Query"];
export type QueryError = S["QueryError"];
export type QueryEvent = S["StateEvent"] | S["ColumnsEvent"] | S["RowsEvent"] | S["EndEvent"];
export type QueryState = S["QueryState"];
export type SaveChart = S["SaveChart"];
export type RunEvent = S["RunStateEvent"] | S["RunLogEvent"] | S["RunEndEvent"];
export type SaveDashboard = S["SaveDashboard"];
export type SaveJob = S["SaveJob"];
export type SaveQuery = S["SaveQuery"];
export type SavedQuery = S["SavedQuery"];
export type Schedule = S["Schedule"];
export type Share = S["Share"];
export type Snapshot = S["Snapshot"];
export type SnapshotDiff = S["SnapshotDiff"];
export type SqlCheck = S["SqlCheck"];
export type StatementInfo = S["StatementInfo"];
export type Statistics = S["Statistics"];
export type TableColumn = S["TableColumn"];
export type TableDetail = S["TableDetail"];
export type TableImpact = S["TableImpact"];
export type TableReaders = S["TableReaders"];
export type TableSummary = S["TableSummary"];
export type Tile = S["Tile"];
export type WorkspaceRef = S["WorkspaceRef"];

/** A value of a result, as Trino's JSON has it. */
export type Value = unknown;
export type Row = readonly Value[];

/** Items of access data as documents of `contracts/access.py` have them. */
export interface Grant {
  group: string;
  object: string;
  privileges: string[];
}
export interface TagAssignment {
  object: string;
  tag: string;
}
export interface Rule {
  id: string;
  kind: "row_filter" | "column_mask" | "column_deny";
  tag?: string;
  object?: string;
  exempt?: string[];
  mask?: string;
  expression?: string;
  values?: Record<string, (string | number)[]>;
  as_filter_user?: boolean;
  description?: string;
}
export interface AccessException {
  id: string;
  user: string;
  object: string;
  expires_at: string;
  reason: string;
  privileges?: string[];
  lifts?: string[];
}
export interface AccessDocument {
  grants: Grant[];
  tags: TagAssignment[];
  rules: Rule[];
  exceptions?: AccessException[];
}
