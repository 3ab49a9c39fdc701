# What each operation needs. An operation without a line here is denied: impersonation, catalogs, functions,
# materialized views and the authorization of objects are so on purpose.
package lab.trino

import rego.v1

table_need(table, privilege) := {
	"kind": "table",
	"namespace": table.schemaName,
	"table": table.tableName,
	"privilege": privilege,
}

about(kind, table) := {"kind": kind, "namespace": table.schemaName, "table": table.tableName}

columns_need(table) := object.union(about("columns", table), {"columns": table.columns}) if is_array(table.columns)

# Operations on one table of the lake that one privilege covers.
privilege_for := {
	"AddColumn": "alter",
	"AlterColumn": "alter",
	"DeleteFromTable": "delete",
	"DropColumn": "alter",
	"DropTable": "drop",
	"DropView": "drop",
	"InsertIntoTable": "insert",
	"SetColumnComment": "alter",
	"SetTableComment": "alter",
	"SetViewComment": "alter",
	"CreateView": "create",
}

# Those that delete files are for the maintaining identity alone (maintenance.rego): whoever runs them must know
# what running queries need.
maintenance_procedures := {
	"drop_extended_stats",
	"optimize",
	"optimize_manifests",
}

# The only CALL: it asks KillQueryOwnedBy itself. The catalog's own procedures bring files in under a new name
# (register_table, add_files …), which would take tables out of their rules, so nobody has them.
open_procedures := {"system": {"runtime": {"kill_query"}}}

system_session_properties := {
	"enable_dynamic_filtering",
	"join_distribution_type",
	"join_reordering_strategy",
	"query_max_execution_time",
	"query_max_planning_time",
	"query_max_run_time",
	"query_max_scan_physical_bytes",
	"time_zone_id",
}

catalog_session_properties := {
	"compression_codec",
	"dynamic_filtering_wait_timeout",
	"parquet_max_read_block_size",
	"projection_pushdown_enabled",
	"sorted_writing_enabled",
	"statistics_enabled",
	"target_max_file_size",
}

requested(operation, resource) := {table_need(resource.table, privilege_for[operation])} if {
	plain_table(resource.table)
}

requested("ExecuteQuery", _) := {{"kind": "person"}}

requested("AccessCatalog", resource) := {{"kind": "person"}} if catalog_visible(resource.catalog.name)

requested("ShowSchemas", resource) := {{"kind": "person"}} if catalog_visible(resource.catalog.name)

requested("ShowTables", resource) := {{"kind": "person"}} if schema_visible(resource.schema)

requested("ShowFunctions", resource) := {{"kind": "person"}} if schema_visible(resource.schema)

requested("ShowFunctions", resource) := {{"kind": "person"}} if {
	resource.schema.catalogName == "system"
	resource.schema.schemaName == "builtin"
}

requested("ShowColumns", resource) := {{"kind": "person"}} if table_visible(resource.table)

requested("ShowCreateSchema", resource) := {visible} if {
	in_lake(resource.schema)
	visible := {"kind": "visible_namespace", "namespace": resource.schema.schemaName}
}

# The statement lists every column, denied ones too.
requested("ShowCreateTable", resource) := needs if {
	plain_table(resource.table)
	needs := {
		table_need(resource.table, "select"),
		about("undenied", resource.table),
	}
}

requested("SelectFromColumns", resource) := {table_need(resource.table, "select"), columns_need(resource.table)} if {
	plain_table(resource.table)
}

requested("SelectFromColumns", resource) := {{"kind": "person"}} if metadata_readable(resource.table)

requested("SelectFromColumns", resource) := {{"kind": "person"}} if listing_table(resource.table)

# Asked of a view's owner when somebody else reads the view: a view that runs with its owner's rights would
# show the owner's rows and columns, so it may only be on tables that no rule is about.
requested("CreateViewWithSelectFromColumns", resource) := needs if {
	plain_table(resource.table)
	needs := {
		table_need(resource.table, "select"),
		about("unruled", resource.table),
	}
}

requested("CreateViewWithExecuteFunction", resource) := {{"kind": "person"}} if function_permitted(resource.function)

requested("ExecuteFunction", resource) := {{"kind": "person"}} if function_permitted(resource.function)

requested("UpdateTableColumns", resource) := {table_need(resource.table, "update"), columns_need(resource.table)} if {
	plain_table(resource.table)
}

# Truncating takes the rows a filter hides, too.
requested("TruncateTable", resource) := needs if {
	plain_table(resource.table)
	needs := {
		table_need(resource.table, "delete"),
		about("unrestricted", resource.table),
	}
}

requested("CreateTable", resource) := {table_need(resource.table, "create")} if {
	plain_table(resource.table)
	no_location(resource.table)
}

requested("SetTableProperties", resource) := {table_need(resource.table, "alter")} if {
	plain_table(resource.table)
	no_location(resource.table)
}

# Rules are about names: a new name would leave them behind.
requested("RenameColumn", resource) := {table_need(resource.table, "alter"), about("unruled", resource.table)} if {
	plain_table(resource.table)
}

requested(operation, resource) := needs if {
	operation in {"RenameTable", "RenameView"}
	plain_table(resource.table)
	target := input.action.targetResource.table
	plain_table(target)
	needs := {
		table_need(resource.table, "alter"),
		about("unruled", resource.table),
		table_need(target, "create"),
	}
}

requested("CreateSchema", resource) := {namespace_need(resource.schema, "create")} if {
	in_lake(resource.schema)
	no_location(resource.schema)
}

requested("DropSchema", resource) := {namespace_need(resource.schema, "drop")} if in_lake(resource.schema)

requested("ExecuteTableProcedure", resource) := {table_need(resource.table, "maintain")} if {
	plain_table(resource.table)
	lower(resource.function.functionName) in maintenance_procedures
}

# Going back to a snapshot undoes writes.
requested("ExecuteTableProcedure", resource) := needs if {
	plain_table(resource.table)
	lower(resource.function.functionName) == "rollback_to_snapshot"
	needs := {table_need(resource.table, privilege) | some privilege in ["maintain", "insert", "update", "delete"]}
}

requested("ExecuteProcedure", resource) := {{"kind": "person"}} if {
	function := resource.function
	function.functionName in open_procedures[function.catalogName][function.schemaName]
}

requested(operation, resource) := {{"kind": "self", "user": resource.user.user}} if {
	operation in {"ViewQueryOwnedBy", "KillQueryOwnedBy"}
}

requested(operation, _) := {{"kind": "administrator"}} if {
	operation in {"ReadSystemInformation", "WriteSystemInformation"}
}

requested("SetSystemSessionProperty", resource) := {{"kind": "person"}} if {
	resource.systemSessionProperty.name in system_session_properties
}

requested("SetCatalogSessionProperty", resource) := {{"kind": "person"}} if {
	resource.catalogSessionProperty.catalogName == data.lab.catalog
	resource.catalogSessionProperty.propertyName in catalog_session_properties
}

namespace_need(schema, privilege) := {"kind": "namespace", "namespace": schema.schemaName, "privilege": privilege}

# A location of one's own choice may lie in another table's folder; extra properties may name one.
place_properties := {"data_location", "extra_properties", "location"}

no_location(named) if not chosen_location(named)

chosen_location(named) if {
	some name in place_properties
	named.properties[name] != null
}
