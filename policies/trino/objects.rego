# Objects as Trino names them, and which of them the asking identity may see: the candidates of listings.
package lab.trino

import rego.v1

# Iceberg's metadata tables are `table$files` and the like; `table$data` and `table@snapshot` read the table
# itself, so every name with such a suffix goes the metadata tables' stricter way.
base_name(name) := split(split(name, "$")[0], "@")[0]

is_metadata(name) if contains(name, "$")

is_metadata(name) if contains(name, "@")

in_lake(named) if {
	named.catalogName == data.lab.catalog
	named.schemaName != "information_schema"
}

plain_table(table) if {
	in_lake(table)
	not is_metadata(table.tableName)
}

metadata_table(table) if {
	in_lake(table)
	is_metadata(table.tableName)
}

# Trino filters what these list by the listing operations, so that each reader sees their own view of them.
information_schema_tables := {
	"applicable_roles",
	"columns",
	"enabled_roles",
	"roles",
	"schemata",
	"table_privileges",
	"tables",
	"views",
}

system_tables := {
	"runtime": {"queries"},
	"metadata": {
		"analyze_properties",
		"catalogs",
		"column_properties",
		"materialized_view_properties",
		"schema_properties",
		"table_comments",
		"table_properties",
	},
	"jdbc": {
		"attributes",
		"catalogs",
		"columns",
		"procedure_columns",
		"procedures",
		"pseudo_columns",
		"schemas",
		"super_tables",
		"super_types",
		"table_types",
		"tables",
		"types",
		"udts",
	},
}

# These tell of every query's tasks and of the machines.
administrator_tables := {"runtime": {"nodes", "optimizer_rule_stats", "tasks", "transactions"}}

catalog_visible(name) if name == data.lab.catalog

catalog_visible("system")

listing_table(table) if {
	table.schemaName == "information_schema"
	catalog_visible(table.catalogName)
	table.tableName in information_schema_tables
}

listing_table(table) if {
	table.catalogName == "system"
	table.tableName in system_tables[table.schemaName]
}

listing_table(table) if {
	table.catalogName == "system"
	administrator
	table.tableName in administrator_tables[table.schemaName]
}

metadata_readable(table) if {
	metadata_table(table)
	base := base_name(table.tableName)
	table_privilege(table.schemaName, base, "select")
	not restricted(table.schemaName, base)
}

schema_visible(schema) if {
	in_lake(schema)
	namespace_visible(schema.schemaName)
}

schema_visible(schema) if {
	schema.schemaName == "information_schema"
	catalog_visible(schema.catalogName)
}

schema_visible(schema) if {
	schema.catalogName == "system"
	system_tables[schema.schemaName]
}

table_visible(table) if {
	plain_table(table)
	table_visible_by_grant(table.schemaName, table.tableName)
}

table_visible(table) if metadata_readable(table)

table_visible(table) if listing_table(table)

column_visible(table, column) if {
	plain_table(table)
	table_visible_by_grant(table.schemaName, table.tableName)
	not column_denied(table.schemaName, table.tableName, column)
}

column_visible(table, _) if metadata_readable(table)

column_visible(table, _) if listing_table(table)

# Built-in functions are open; of the catalog's own only the partitioning function is. Others, `query` and
# `table_changes` among them, read tables past filters and masks.
function_permitted(function) if {
	function.catalogName == "system"
	function.schemaName == "builtin"
}

function_permitted(function) if {
	function.catalogName == data.lab.catalog
	function.schemaName == "system"
	function.functionName == "bucket"
}

candidate_permitted("FilterCatalogs", resource) if catalog_visible(resource.catalog.name)

candidate_permitted("FilterSchemas", resource) if schema_visible(resource.schema)

candidate_permitted("FilterTables", resource) if table_visible(resource.table)

candidate_permitted("FilterFunctions", resource) if function_permitted(resource.function)

candidate_permitted("FilterViewQueryOwnedBy", resource) if held({"kind": "self", "user": resource.user.user})
