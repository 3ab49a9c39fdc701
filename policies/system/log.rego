# What of a decision reaches the audit. Loaded from a file at start, beside authz.rego, never from the bundle.
# https://www.openpolicyagent.org/docs/management-decision-logs/
#
# Listings (`batch`) are not reported: they show names, ask about up to all tables at once, and the statement that
# lists is in the audit anyway. Nor is what the API's readers are shown.
# Of filters and masks their number or their columns are reported, not their SQL, which tells values.
package system.log

import rego.v1

reported := {"lab/trino/allow", "lab/trino/rowFilters", "lab/trino/columnMasks"}

drop if not object.get(input, "path", "") in reported

mask contains {"op": "upsert", "path": "/result", "value": {"filters": count(input.result)}} if {
	input.path == "lab/trino/rowFilters"
}

mask contains {"op": "upsert", "path": "/result", "value": {"masked": masked_columns}} if {
	input.path == "lab/trino/columnMasks"
}

# The columns are the result's; the table is that of the first of them, Trino asks for one table at a time.
mask contains {"op": "upsert", "path": "/input/action/filterResources", "value": [{"column": table}]} if {
	input.path == "lab/trino/columnMasks"
	column := input.input.action.filterResources[0].column
	table := {key: column[key] | some key in ["catalogName", "schemaName", "tableName"]}
}

# Values that a statement gives to properties are its author's own.
mask contains concat("/", ["/input/action", place, kind, "properties"]) if {
	some place in ["resource", "targetResource"]
	some kind in ["table", "schema"]
	input.input.action[place][kind].properties
}

masked_columns := [name |
	some found in input.result
	name := input.input.action.filterResources[found.index].column.columnName
]
