package lab.trino_test

import rego.v1

until_ns := now_ns + 1

# reader may also read secret until a moment from now; nation is under rules of namespace and catalog.
wide := object.union(access, {
	"exceptions": {
		"reader": {"shop": {
			"secret": [{"id": "e1", "expires_ns": until_ns, "privileges": {"select": true}, "lifts": {}}],
			"customer": [{"id": "e2", "expires_ns": until_ns, "privileges": {}, "lifts": {"key": true}}],
		}},
		"outsider": {"shop": {"*": [{
			"id": "e3",
			"expires_ns": until_ns,
			"privileges": {"select": true},
			"lifts": {"secret": true, "all": true},
		}]}},
		"stranger": {"shop": {"nation": [{
			"id": "e4",
			"expires_ns": now_ns,
			"privileges": {"select": true},
			"lifts": {},
		}]}},
		"$row-filter": {"shop": {"*": [{
			"id": "e5",
			"expires_ns": until_ns,
			"privileges": {"select": true},
			"lifts": {},
		}]}},
	},
	"filters": {"*": {"*": [{
		"id": "all",
		"exempt": {"writers": true},
		"parts": [{"sql": "1 = 1"}],
		"by_group": false,
		"values": {},
		"as_filter_user": false,
	}]}},
	"masks": {"shop": {"*": {"*": [{"id": "everywhere", "mask": "last_4", "rank": 2, "exempt": {}}]}}},
	"protected": {
		"shop": {"*": [{"id": "everywhere", "exempt": {}}]},
		"*": {"*": [{"id": "all", "exempt": {"writers": true}}]},
	},
	"filter_reads": {"shop": {"*": true}},
})

asked_of(who, action) := {
	"context": {"identity": {"user": who, "groups": object.get(people, who, [])}},
	"action": action,
}

allows(who, operation, resource) := answer if {
	answer := data.lab.trino.allow with input as asked_of(who, {"operation": operation, "resource": resource})
		with data.lab.access as wide
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with time.now_ns as now_ns
}

listing(who, operation, candidates) := answer if {
	answer := data.lab.trino.batch with input as asked_of(
		who,
		{"operation": operation, "filterResources": candidates},
	)
		with data.lab.access as wide
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with time.now_ns as now_ns
}

filters_of(who, name) := answer if {
	answer := data.lab.trino.rowFilters with input as asked_of(
		who,
		{"operation": "GetRowFilters", "resource": {"table": table(name)}},
	)
		with data.lab.access as wide
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with time.now_ns as now_ns
}

masks_of(who, name, column_name) := {entry.viewExpression.expression | some entry in answer} if {
	candidate := {"column": object.union(table(name), {"columnName": column_name, "columnType": "bigint"})}
	answer := data.lab.trino.columnMasks with input as asked_of(
		who,
		{"operation": "GetColumnMask", "filterResources": [candidate]},
	)
		with data.lab.access as wide
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with time.now_ns as now_ns
}

reads(who, name) if allows(who, "SelectFromColumns", {"table": columns(name, [])})

test_an_exception_gives_privileges_to_its_user if {
	reads("reader", "secret")
	not reads("both", "secret")
	reads("outsider", "nation")
	allows("outsider", "ExecuteQuery", {})
	listing("outsider", "FilterTables", [{"table": table("nation")}]) == {0}
	listing("outsider", "FilterSchemas", [lake_schema("shop")]) == {0}
	not allows("outsider", "DropTable", {"table": table("nation")})
	not reads("outsider", "nation$files")
}

test_an_exception_ends_by_itself if {
	not reads("stranger", "nation")
	not allows("stranger", "ExecuteQuery", {})
}

test_an_exception_does_not_reach_the_filter_identity if {
	masks_of("$row-filter", "nation", "name") == set()
	not allows("$row-filter", "ExecuteQuery", {})
}

test_an_exception_lifts_what_it_names if {
	masks_of("reader", "customer", "key") == {"CAST(NULL AS bigint)"}
	filters_of("outsider", "nation") == []
	filters_of("reader", "nation") == [{"expression": "1 = 1"}]
	masks_of("reader", "nation", "key") == {"CAST(NULL AS bigint)"}
}

test_rules_of_namespace_and_catalog_reach_every_table if {
	filters_of("writer", "nation") == []
	filters_of("admin", "unheard_of") == [{"expression": "1 = 1"}]
	masks_of("writer", "nation", "name") == {"CAST(NULL AS bigint)"}
	not allows("writer", "RenameColumn", {"table": table("nation")})
	reads("$row-filter", "nation")
}

counting := "service-account-governor"

test_the_counting_identity_reads_whole_tables_and_nothing_else if {
	reads(counting, "customer")
	reads(counting, "secret")
	allows(counting, "ExecuteQuery", {})
	allows(counting, "AccessCatalog", {"catalog": {"name": "lake"}})
	allows(counting, "ExecuteFunction", procedure("system", "builtin", "count_if"))
	filters_of(counting, "customer") == []
	masks_of(counting, "customer", "key") == set()
	not reads(counting, "customer$files")
	not allows(counting, "AccessCatalog", {"catalog": {"name": "system"}})
	not allows(counting, "ExecuteFunction", procedure("lake", "system", "table_changes"))
}

test_the_counting_identity_changes_nothing if {
	every operation in ["InsertIntoTable", "DeleteFromTable", "DropTable", "ShowCreateTable", "CreateView"] {
		not allows(counting, operation, {"table": columns("customer", [])})
	}
}

test_the_counting_identity_comes_without_groups if {
	forged := {
		"context": {"identity": {"user": counting, "groups": ["lab_admins"]}},
		"action": {"operation": "ExecuteQuery"},
	}
	not data.lab.trino.allow with input as forged
		with data.lab.access as wide
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with time.now_ns as now_ns
}
