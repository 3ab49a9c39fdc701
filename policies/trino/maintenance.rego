# What the identity that maintains tables may do: run the procedures that the catalog bears, on tables that the
# access data lets some group maintain, and read the metadata that says whether there is a need. It reads no
# row, and of the metadata no column that tells values: no bounds, no partition.
package lab.trino

import rego.v1

maintaining_columns := {
	"files": {"content", "file_size_in_bytes"},
	"history": {"made_current_at", "snapshot_id"},
	"manifests": {"length"},
	"partitions": {"file_count", "total_size"},
	"properties": {"key", "value"},
	"refs": {"snapshot_id"},
	"snapshots": {"committed_at", "parent_id", "snapshot_id"},
}

maintaining_permitted("ExecuteQuery", _)

maintaining_permitted("AccessCatalog", resource) if resource.catalog.name == data.lab.catalog

maintaining_permitted("ExecuteFunction", resource) if {
	resource.function.catalogName == "system"
	resource.function.schemaName == "builtin"
}

# Which snapshots running queries read decides what may be removed.
maintaining_permitted(operation, _) if operation in {"FilterViewQueryOwnedBy", "ViewQueryOwnedBy"}

maintaining_permitted("SelectFromColumns", resource) if {
	table := resource.table
	in_lake(table)
	[base, suffix] := split(table.tableName, "$")
	maintained(table.schemaName, base)
	open := maintaining_columns[suffix]
	every column in table.columns {
		column in open
	}
}

# Trino asks this before a procedure; it tells no more than how many rows there are, as the metadata does.
maintaining_permitted("SelectFromColumns", resource) if {
	plain_table(resource.table)
	maintained(resource.table.schemaName, resource.table.tableName)
	resource.table.columns == []
}

maintaining_permitted("ExecuteTableProcedure", resource) if {
	plain_table(resource.table)
	maintained(resource.table.schemaName, resource.table.tableName)
	data.lab.maintenance.procedures[lower(resource.function.functionName)]
}

maintained(namespace, _) if data.lab.maintenance.namespaces[namespace]

maintained(namespace, table) if data.lab.maintenance.tables[namespace][table]
