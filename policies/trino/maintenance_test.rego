package lab.trino_test

import rego.v1

maintainer := "service-account-maintainer"

# A catalog that bears everything; shop is somebody's to maintain, of vault one table is.
whole := {
	"procedures": {procedure: true | some procedure in every_procedure},
	"namespaces": {"shop": true},
	"tables": {"vault": {"gold": true}},
}

every_procedure := {"optimize", "optimize_manifests", "expire_snapshots", "remove_orphan_files"}

# One that keeps its history itself.
careful := {
	"procedures": {"optimize": true, "optimize_manifests": true},
	"namespaces": {"shop": true},
	"tables": {},
}

maintains(bearing, operation, resource) if {
	data.lab.trino.allow with input as {
		"context": {"identity": {"user": maintainer, "groups": []}},
		"action": {"operation": operation, "resource": resource},
	}
		with data.lab.access as access
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with data.lab.maintenance as bearing
		with time.now_ns as now_ns
}

procedure_on(schema, name, procedure_name) := {
	"table": {"catalogName": "lake", "schemaName": schema, "tableName": name},
	"function": {"functionName": procedure_name},
}

test_procedures_run_where_somebody_may_maintain if {
	not maintains({}, "ExecuteTableProcedure", procedure_on("shop", "customer", "optimize"))
	every procedure_name in every_procedure {
		maintains(whole, "ExecuteTableProcedure", procedure_on("shop", "customer", upper(procedure_name)))
		maintains(whole, "ExecuteTableProcedure", procedure_on("vault", "gold", procedure_name))
		not maintains(whole, "ExecuteTableProcedure", procedure_on("vault", "silver", procedure_name))
		not maintains(whole, "ExecuteTableProcedure", procedure_on("hr", "people", procedure_name))
		not maintains(whole, "ExecuteTableProcedure", procedure_on("shop", "customer$files", procedure_name))
	}
}

test_the_catalog_says_which_procedures if {
	maintains(careful, "ExecuteTableProcedure", procedure_on("shop", "customer", "OPTIMIZE"))
	not maintains(whole, "ExecuteTableProcedure", procedure_on("shop", "customer", "add_files"))
	not maintains(whole, "ExecuteTableProcedure", procedure_on("shop", "customer", "rollback_to_snapshot"))
	every procedure_name in ["expire_snapshots", "remove_orphan_files", "rollback_to_snapshot", "add_files"] {
		not maintains(careful, "ExecuteTableProcedure", procedure_on("shop", "customer", procedure_name))
	}
}

test_metadata_is_read_without_values if {
	maintains(whole, "SelectFromColumns", {"table": columns("customer$files", ["content", "file_size_in_bytes"])})
	maintains(whole, "SelectFromColumns", {"table": columns("customer$manifests", [])})
	maintains(whole, "SelectFromColumns", {"table": columns("customer", [])})
	maintains(whole, "SelectFromColumns", {"table": columns("customer$partitions", ["file_count", "total_size"])})
	not maintains(whole, "SelectFromColumns", {"table": table("customer$files")})
	not maintains(whole, "SelectFromColumns", {"table": table("customer")})
	not maintains(whole, "SelectFromColumns", {"table": object.union(
		columns("people$files", []),
		{"schemaName": "hr"},
	)})
	not maintains(whole, "SelectFromColumns", {"table": object.union(
		columns("queries", []),
		{"catalogName": "system", "schemaName": "runtime"},
	)})
	every forbidden in [
		["customer", ["key"]],
		["customer$files", ["content", "lower_bounds"]],
		["customer$files", ["partition"]],
		["customer$partitions", ["partition"]],
		["customer$partitions", ["data"]],
		["customer$manifests", ["partition_summaries"]],
		["customer$snapshots", ["summary"]],
		["customer$data", []],
		["customer$entries", []],
		["customer@1", []],
		["customer$files$files", []],
	] {
		not maintains(whole, "SelectFromColumns", {"table": columns(forbidden[0], forbidden[1])})
	}
}

test_the_maintaining_identity_sees_who_runs_what_and_ends_nothing if {
	anybody := {"user": {"user": "reader", "groups": []}}
	maintains(whole, "ViewQueryOwnedBy", anybody)
	maintains(whole, "FilterViewQueryOwnedBy", anybody)
	not maintains(whole, "KillQueryOwnedBy", anybody)
	not maintains(whole, "ImpersonateUser", anybody)
	not maintains(whole, "ReadSystemInformation", {})
	answer := data.lab.trino.batch with input as {
		"context": {"identity": {"user": maintainer, "groups": []}},
		"action": {"operation": "FilterViewQueryOwnedBy", "filterResources": [anybody, anybody]},
	}
		with data.lab.access as access
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with data.lab.maintenance as whole
		with time.now_ns as now_ns
	answer == {0, 1}
}

test_the_maintaining_identity_does_nothing_else if {
	maintains(whole, "ExecuteQuery", {})
	maintains(whole, "AccessCatalog", {"catalog": {"name": "lake"}})
	maintains(whole, "ExecuteFunction", procedure("system", "builtin", "count_if"))
	not maintains(whole, "AccessCatalog", {"catalog": {"name": "system"}})
	not maintains(whole, "ExecuteFunction", procedure("lake", "system", "table_changes"))
	every operation in [
		"AddColumn", "AlterColumn", "CreateTable", "CreateView", "DeleteFromTable", "DropTable", "InsertIntoTable",
		"RenameTable", "SetTableProperties", "ShowCreateTable", "TruncateTable", "UpdateTableColumns",
	] {
		not maintains(whole, operation, {"table": columns("customer", [])})
	}
	every property in ["expire_snapshots_min_retention", "remove_orphan_files_min_retention"] {
		not maintains(whole, "SetCatalogSessionProperty", {"catalogSessionProperty": {
			"catalogName": "lake",
			"propertyName": property,
		}})
	}
}

test_no_rule_hides_rows_from_what_it_rewrites if {
	answer := data.lab.trino.rowFilters with input as {
		"context": {"identity": {"user": maintainer, "groups": []}},
		"action": {"operation": "GetRowFilters", "resource": {"table": table("customer")}},
	}
		with data.lab.access as access
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with data.lab.maintenance as whole
		with time.now_ns as now_ns
	answer == []
}

test_the_maintaining_identity_comes_without_groups if {
	not data.lab.trino.allow with input as {
		"context": {"identity": {"user": maintainer, "groups": ["lab_admins"]}},
		"action": {"operation": "ExecuteQuery"},
	}
		with data.lab.access as access
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with data.lab.maintenance as whole
		with time.now_ns as now_ns
}

test_nobody_else_may_what_it_may if {
	every who in everybody {
		every procedure_name in ["expire_snapshots", "remove_orphan_files"] {
			not data.lab.trino.allow with input as question(who, {
				"operation": "ExecuteTableProcedure",
				"resource": procedure_on("shop", "customer", procedure_name),
			})
				with data.lab.access as access
				with data.lab.bundle as bundle
				with data.lab.catalog as "lake"
				with data.lab.maintenance as whole
				with time.now_ns as now_ns
		}
	}
}
