package lab.trino_test

import rego.v1

refusing_filter := [{"expression": "false"}]

refusing_mask := [{"index": -1, "viewExpression": {"expression": "NULL"}}]

select := {"operation": "SelectFromColumns", "resource": {"table": columns("nation", ["name"])}}

illegal := {
	"nothing": {},
	"no context": {"action": select},
	"no action": {"context": {"identity": identity("writer")}},
	"no operation": question("writer", {"resource": select.resource}),
	"operation is no text": question("writer", {"operation": 1, "resource": select.resource}),
	"no user": {"context": {"identity": {"groups": ["writers"]}}, "action": select},
	"empty user": {"context": {"identity": {"user": "", "groups": ["writers"]}}, "action": select},
	"user is no text": {"context": {"identity": {"user": 7, "groups": ["writers"]}}, "action": select},
	"groups are no list": {"context": {"identity": {"user": "x", "groups": "writers"}}, "action": select},
	"group is no text": {"context": {"identity": {"user": "x", "groups": ["writers", 1]}}, "action": select},
	"no groups": {"context": {"identity": {"user": "x"}}, "action": select},
	"forged filter identity": {
		"context": {"identity": {"user": "$row-filter", "groups": ["lab_admins"]}},
		"action": select,
	},
	"resource is no object": question("writer", {"operation": "SelectFromColumns", "resource": "nation"}),
	"table is no object": question("writer", {"operation": "SelectFromColumns", "resource": {"table": "nation"}}),
	"no columns": question("writer", {"operation": "SelectFromColumns", "resource": {"table": table("nation")}}),
	"columns are no list": question(
		"writer",
		{"operation": "SelectFromColumns", "resource": {"table": columns("nation", "name")}},
	),
	"candidates are no list": question("writer", {"operation": "FilterTables", "filterResources": "all"}),
	"filter of nothing": question("writer", {"operation": "GetRowFilters"}),
	"filter of a table without a name": question(
		"writer",
		{"operation": "GetRowFilters", "resource": {"table": {"catalogName": "lake"}}},
	),
	"mask of nothing": question("writer", {"operation": "GetColumnMask"}),
	"mask one level up": question(
		"writer",
		{"operation": "GetColumnMask", "filterResources": [column("customer", "key", "bigint").column]},
	),
	"mask without a type": question(
		"writer",
		{"operation": "GetColumnMask", "filterResources": [{"column": table("customer")}]},
	),
}

test_illegal_questions_are_refused[note] if {
	some note, asked in illegal
	answers := {
		"allow": data.lab.trino.allow,
		"batch": data.lab.trino.batch,
		"filters": data.lab.trino.rowFilters,
		"masks": data.lab.trino.columnMasks,
	} with input as asked
		with data.lab.access as access
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with time.now_ns as now_ns
	answers == {"allow": false, "batch": set(), "filters": refusing_filter, "masks": refusing_mask}
}

ages := {
	"older than permitted": object.union(bundle, {"issued_at_ns": (now_ns - (3600 * 1000000000)) - 1}),
	"from the future": object.union(bundle, {"issued_at_ns": (now_ns + (300 * 1000000000)) + 1}),
	"no time": object.remove(bundle, ["issued_at_ns"]),
	"time is a text": object.union(bundle, {"issued_at_ns": "now"}),
	"no limit": object.remove(bundle, ["max_age_s"]),
	"no revision": object.remove(bundle, ["revision"]),
	"nothing": {},
}

test_unacceptable_bundles_refuse[note] if {
	some note, unacceptable in ages
	answers := {
		"allow": data.lab.trino.allow,
		"filters": data.lab.trino.rowFilters,
	} with input as question("writer", select)
		with data.lab.access as access
		with data.lab.bundle as unacceptable
		with data.lab.catalog as "lake"
		with time.now_ns as now_ns
	answers == {"allow": false, "filters": refusing_filter}
}

test_missing_bundle_refuses if {
	data.lab.trino.allow == false with input as question("writer", select)
	data.lab.trino.rowFilters == refusing_filter with input as question("writer", select)
	data.lab.trino.columnMasks == refusing_mask with input as question("writer", select)
}

test_bundle_at_its_limits if {
	data.lab.trino.allow with input as question("writer", select)
		with data.lab.access as access
		with data.lab.bundle as object.union(bundle, {"issued_at_ns": now_ns - (3600 * 1000000000)})
		with data.lab.catalog as "lake"
		with time.now_ns as now_ns
	data.lab.trino.allow with input as question("writer", select)
		with data.lab.access as access
		with data.lab.bundle as object.union(bundle, {"issued_at_ns": now_ns + (300 * 1000000000)})
		with data.lab.catalog as "lake"
		with time.now_ns as now_ns
}

test_batch_answers_indices if {
	candidates := [{"table": table(name)} | some name in ["secret", "customer", "inbox", "nation", "other"]]
	choose("reader", "FilterTables", candidates) == {1, 2, 3}
	choose("writer", "FilterTables", candidates) == {0, 1, 2, 3, 4}
	choose("outsider", "FilterTables", candidates) == set()
	choose("$row-filter", "FilterTables", candidates) == set()
}

test_batch_of_columns_answers_column_indices if {
	asked := [{"table": columns("customer", ["comment", "key", "email"])}]
	choose("reader", "FilterColumns", asked) == {1, 2}
	choose("writer", "FilterColumns", asked) == {0, 1, 2}
	choose("writer", "FilterColumns", array.concat(asked, asked)) == set()
	choose("reader", "FilterColumns", [{"table": columns("customer$files", ["path"])}]) == set()
	choose("writer", "FilterColumns", [{"table": columns("customer$files", ["path"])}]) == {0}
}

test_batch_of_other_listings if {
	choose("reader", "FilterCatalogs", [{"catalog": {"name": name}} | some name in ["lake", "jmx", "system"]]) == {0, 2}
	schemas := [{"schema": {"catalogName": "lake", "schemaName": name}} |
		some name in ["shop", "hr", "information_schema"]
	]
	choose("reader", "FilterSchemas", schemas) == {0, 2}
	choose("reader", "FilterSchemas", [{"schema": {"catalogName": "system", "schemaName": name}} |
		some name in ["runtime", "jdbc", "secret"]
	]) == {0, 1}
	owners := [{"user": {"user": name, "groups": []}} | some name in ["reader", "writer"]]
	choose("reader", "FilterViewQueryOwnedBy", owners) == {0}
	choose("admin", "FilterViewQueryOwnedBy", owners) == {0, 1}
	functions := [procedure(catalog, schema, name) |
		some [catalog, schema, name] in [
			["system", "builtin", "lower"],
			["lake", "system", "bucket"],
			["lake", "system", "table_changes"],
		]
	]
	choose("reader", "FilterFunctions", functions) == {0, 1}
	choose("reader", "DropTable", [{"table": table("nation")}]) == set()
}
