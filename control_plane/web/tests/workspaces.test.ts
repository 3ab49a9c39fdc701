import { describe, expect, it } from "vitest";
import { tableName } from "@/pages/workspaces/ingestdialog";

describe("the table that a file could become", () => {
  it.each([
    ["leads.csv", "leads"],
    ["2026 Leads.csv.gz", "leads"],
    ["in/Päivä-1.parquet", "p_iv_1"],
    ["<script>.csv", "script"],
    ["….csv", "uploaded"],
  ])("%s → %s", (filename, name) => {
    expect(tableName(filename)).toBe(name);
  });
});
