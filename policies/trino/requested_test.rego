package lab.trino_test

import rego.v1

procedure(catalog, schema, name) := {"function": {
	"catalogName": catalog,
	"schemaName": schema,
	"functionName": name,
}}

table_procedure(name, procedure_name) := {"table": table(name), "function": {"functionName": procedure_name}}

elsewhere(catalog, schema, name) := {"catalogName": catalog, "schemaName": schema, "tableName": name, "columns": []}

key_table(name, columns) := object.union(elsewhere("keys", "public", name), {"columns": columns})

lake_schema(name) := {"schema": {"catalogName": "lake", "schemaName": name}}

with_property(thing, name, value) := object.union(thing, {"properties": {name: value}})

with_location(thing) := object.union(thing, {"properties": {"location": "s3://warehouse/hr"}})

# Each line: who is allowed; everybody else of these is not.
everybody := {"admin", "writer", "reader", "outsider", "stranger", "partner", "$row-filter"}

granted_people := {"admin", "writer", "reader"}

cases := {
	"a query": ["ExecuteQuery", {}, granted_people],
	"the catalog": ["AccessCatalog", {"catalog": {"name": "lake"}}, (granted_people | {"$row-filter"})],
	"the system catalog": ["AccessCatalog", {"catalog": {"name": "system"}}, granted_people],
	"another catalog": ["AccessCatalog", {"catalog": {"name": "jmx"}}, set()],
	"listing catalogs": ["FilterCatalogs", {"catalog": {"name": "lake"}}, granted_people],
	"schemas": ["ShowSchemas", {"catalog": {"name": "lake"}}, granted_people],
	"schemas of another catalog": ["ShowSchemas", {"catalog": {"name": "jmx"}}, set()],
	"tables": ["ShowTables", lake_schema("shop"), granted_people],
	"tables of another namespace": ["ShowTables", lake_schema("hr"), set()],
	"functions of a namespace": ["ShowFunctions", lake_schema("shop"), granted_people],
	"built-in functions": [
		"ShowFunctions",
		{"schema": {"catalogName": "system", "schemaName": "builtin"}},
		granted_people,
	],
	"one column": ["FilterColumns", {"table": columns("customer", ["key"])}, granted_people],
	"one denied column": ["FilterColumns", {"table": columns("customer", ["comment"])}, {"writer"}],
	"no column": ["FilterColumns", {"table": columns("customer", [])}, set()],
	"columns": ["ShowColumns", {"table": table("customer")}, granted_people],
	"columns of an unreadable table": ["ShowColumns", {"table": table("other")}, {"admin", "writer"}],
	"the statement of a namespace": ["ShowCreateSchema", lake_schema("shop"), granted_people],
	"the statement of another namespace": ["ShowCreateSchema", lake_schema("hr"), set()],
	"the statement of a table": ["ShowCreateTable", {"table": table("nation")}, granted_people],
	"the statement of a table with denied columns": ["ShowCreateTable", {"table": table("customer")}, {"writer"}],
	"reading": ["SelectFromColumns", {"table": columns("nation", ["name"])}, granted_people],
	"counting": ["SelectFromColumns", {"table": columns("nation", [])}, granted_people],
	"reading a ruled table": [
		"SelectFromColumns",
		{"table": columns("customer", ["key"])},
		(granted_people | {"$row-filter"}),
	],
	"the catalog of the mask's key": ["AccessCatalog", {"catalog": {"name": "keys"}}, {"$row-filter"}],
	"the mask's key": ["SelectFromColumns", {"table": key_table("hash", ["key"])}, {"$row-filter"}],
	"more than the mask's key": ["SelectFromColumns", {"table": key_table("hash", ["key", "x"])}, set()],
	"another table beside the mask's key": ["SelectFromColumns", {"table": key_table("other", ["key"])}, set()],
	"seeing the mask's key": ["FilterTables", {"table": key_table("hash", [])}, set()],
	"writing the mask's key": ["InsertIntoTable", {"table": key_table("hash", [])}, set()],
	"a query passed on to where the mask's key is": ["ExecuteFunction", procedure("keys", "system", "query"), set()],
	"a statement passed on to where the mask's key is": [
		"ExecuteProcedure",
		procedure("keys", "system", "execute"),
		set(),
	],
	"reading a denied column": [
		"SelectFromColumns",
		{"table": columns("customer", ["key", "comment"])},
		{"writer", "$row-filter"},
	],
	"reading a table of denied columns": ["SelectFromColumns", {"table": columns("secret", ["x"])}, set()],
	"reading what one may only fill": ["SelectFromColumns", {"table": columns("inbox", ["x"])}, {"admin", "writer"}],
	"filling": ["InsertIntoTable", {"table": table("inbox")}, granted_people],
	"metadata of a ruled table": ["SelectFromColumns", {"table": columns("customer$files", [])}, {"writer"}],
	"the data behind a metadata name": ["SelectFromColumns", {"table": columns("customer$data", [])}, {"writer"}],
	"a version of a ruled table": ["SelectFromColumns", {"table": columns("customer@5", [])}, {"writer"}],
	"metadata of a free table": ["SelectFromColumns", {"table": columns("nation$snapshots", [])}, granted_people],
	"metadata without a table": ["SelectFromColumns", {"table": columns("$files", [])}, {"admin", "writer"}],
	"writing metadata": ["InsertIntoTable", {"table": table("nation$files")}, set()],
	"listing the tables": [
		"SelectFromColumns",
		{"table": elsewhere("lake", "information_schema", "tables")},
		granted_people,
	],
	"an unknown listing": ["SelectFromColumns", {"table": elsewhere("lake", "information_schema", "x")}, set()],
	"queries": ["SelectFromColumns", {"table": elsewhere("system", "runtime", "queries")}, granted_people],
	"tasks": ["SelectFromColumns", {"table": elsewhere("system", "runtime", "tasks")}, {"admin"}],
	"clients' listings": ["SelectFromColumns", {"table": elsewhere("system", "jdbc", "tables")}, granted_people],
	"another catalog's table": ["SelectFromColumns", {"table": elsewhere("jmx", "current", "x")}, set()],
	"columns of a listing": ["ShowColumns", {"table": elsewhere("system", "runtime", "queries")}, granted_people],
	"deleting": ["DeleteFromTable", {"table": table("nation")}, {"admin", "writer"}],
	"updating": ["UpdateTableColumns", {"table": columns("nation", ["name"])}, {"admin", "writer"}],
	"updating a denied column": ["UpdateTableColumns", {"table": columns("customer", ["comment"])}, {"writer"}],
	"truncating": ["TruncateTable", {"table": table("nation")}, {"admin", "writer"}],
	"truncating rows one can't see": ["TruncateTable", {"table": table("customer")}, {"writer"}],
	"making a table": ["CreateTable", {"table": table("new")}, {"admin", "writer"}],
	"making a table somewhere": ["CreateTable", {"table": with_location(table("new"))}, set()],
	"making a table whose files lie somewhere": [
		"CreateTable",
		{"table": with_property(table("new"), "data_location", "s3://warehouse/hr")},
		set(),
	],
	"making a table with properties of Iceberg's own": [
		"CreateTable",
		{"table": with_property(table("new"), "extra_properties", {"write.data.path": "s3://warehouse/hr"})},
		set(),
	],
	"making a table with properties": [
		"CreateTable",
		{"table": object.union(table("new"), {"properties": {"location": null, "format": "PARQUET"}})},
		{"admin", "writer"},
	],
	"dropping a table": ["DropTable", {"table": table("nation")}, {"admin", "writer"}],
	"adding a column": ["AddColumn", {"table": table("customer")}, {"admin", "writer"}],
	"dropping a column": ["DropColumn", {"table": table("customer")}, {"admin", "writer"}],
	"changing a column": ["AlterColumn", {"table": table("customer")}, {"admin", "writer"}],
	"renaming a column": ["RenameColumn", {"table": table("nation")}, {"admin", "writer"}],
	"renaming a column out of its rule": ["RenameColumn", {"table": table("customer")}, set()],
	"a table's comment": ["SetTableComment", {"table": table("nation")}, {"admin", "writer"}],
	"a column's comment": ["SetColumnComment", {"table": table("nation")}, {"admin", "writer"}],
	"a view's comment": ["SetViewComment", {"table": table("v")}, {"admin", "writer"}],
	"a table's properties": ["SetTableProperties", {"table": table("nation")}, {"admin", "writer"}],
	"a table's place": ["SetTableProperties", {"table": with_location(table("nation"))}, set()],
	"the place of a table's files": [
		"SetTableProperties",
		{"table": with_property(table("nation"), "data_location", "s3://warehouse/hr")},
		set(),
	],
	"making a view": ["CreateView", {"table": table("v")}, {"admin", "writer"}],
	"dropping a view": ["DropView", {"table": table("v")}, {"admin", "writer"}],
	"a view for others": [
		"CreateViewWithSelectFromColumns",
		{"table": columns("nation", ["name"])},
		granted_people,
	],
	"a view for others past rules": ["CreateViewWithSelectFromColumns", {"table": columns("customer", ["key"])}, set()],
	"a view for others with a function": [
		"CreateViewWithExecuteFunction",
		procedure("system", "builtin", "lower"),
		granted_people,
	],
	"making a namespace": ["CreateSchema", lake_schema("shop"), {"admin", "writer"}],
	"making another namespace": ["CreateSchema", lake_schema("hr"), set()],
	"making a namespace somewhere": [
		"CreateSchema",
		{"schema": with_location({"catalogName": "lake", "schemaName": "shop"})},
		set(),
	],
	"dropping a namespace": ["DropSchema", lake_schema("shop"), {"admin", "writer"}],
	"optimize": ["ExecuteTableProcedure", table_procedure("customer", "OPTIMIZE"), {"admin", "writer"}],
	"optimize_manifests": ["ExecuteTableProcedure", table_procedure("nation", "OPTIMIZE_MANIFESTS"), {"admin", "writer"}],
	"expire_snapshots": ["ExecuteTableProcedure", table_procedure("nation", "EXPIRE_SNAPSHOTS"), set()],
	"remove_orphan_files": ["ExecuteTableProcedure", table_procedure("nation", "REMOVE_ORPHAN_FILES"), set()],
	"rollback": ["ExecuteTableProcedure", table_procedure("nation", "ROLLBACK_TO_SNAPSHOT"), {"admin", "writer"}],
	"adding files": ["ExecuteTableProcedure", table_procedure("nation", "ADD_FILES"), set()],
	"kill_query": ["ExecuteProcedure", procedure("system", "runtime", "kill_query"), granted_people],
	"register_table": ["ExecuteProcedure", procedure("lake", "system", "register_table"), set()],
	"a built-in function": ["ExecuteFunction", procedure("system", "builtin", "lower"), granted_people],
	"a partitioning function": ["ExecuteFunction", procedure("lake", "system", "bucket"), granted_people],
	"table_changes": ["ExecuteFunction", procedure("lake", "system", "table_changes"), set()],
	"query pass-through": ["ExecuteFunction", procedure("lake", "system", "query"), set()],
	"one's own query": ["ViewQueryOwnedBy", {"user": {"user": "reader", "groups": []}}, {"admin", "reader"}],
	"ending one's own query": ["KillQueryOwnedBy", {"user": {"user": "writer", "groups": []}}, {"admin", "writer"}],
	"being somebody else": ["ImpersonateUser", {"user": {"user": "reader"}}, set()],
	"system information": ["ReadSystemInformation", {}, {"admin"}],
	"changing the system": ["WriteSystemInformation", {}, {"admin"}],
	"a safe session property": [
		"SetSystemSessionProperty",
		{"systemSessionProperty": {"name": "query_max_run_time"}},
		granted_people,
	],
	"an unsafe session property": [
		"SetSystemSessionProperty",
		{"systemSessionProperty": {"name": "query_max_memory"}},
		set(),
	],
	"a safe catalog property": [
		"SetCatalogSessionProperty",
		{"catalogSessionProperty": {"catalogName": "lake", "propertyName": "target_max_file_size"}},
		granted_people,
	],
	"an unsafe catalog property": [
		"SetCatalogSessionProperty",
		{"catalogSessionProperty": {"catalogName": "lake", "propertyName": "expire_snapshots_min_retention"}},
		set(),
	],
	"another unsafe catalog property": [
		"SetCatalogSessionProperty",
		{"catalogSessionProperty": {"catalogName": "lake", "propertyName": "remove_orphan_files_min_retention"}},
		set(),
	],
	"an unheard-of operation": ["BecomeAdministrator", {"table": table("nation")}, set()],
}

test_decisions[note] if {
	some note, [operation, resource, allowed] in cases
	{who | some who in everybody; decide(who, operation, resource)} == allowed
}

never := [
	"CreateCatalog",
	"CreateFunction",
	"CreateMaterializedView",
	"DropCatalog",
	"DropFunction",
	"DropMaterializedView",
	"RefreshMaterializedView",
	"RenameMaterializedView",
	"RenameSchema",
	"SetMaterializedViewComment",
	"SetMaterializedViewProperties",
	"SetSchemaAuthorization",
	"SetTableAuthorization",
	"SetViewAuthorization",
	"ShowCreateFunction",
]

test_never_allowed[operation] if {
	some operation in never
	resource := {
		"catalog": {"name": "lake"},
		"schema": lake_schema("shop").schema,
		"table": columns("nation", []),
		"function": procedure("lake", "system", "f").function,
	}
	{who | some who in everybody; decide(who, operation, resource)} == set()
}

test_renaming if {
	some operation in ["RenameTable", "RenameView"]
	decide_to("writer", operation, {"table": table("nation")}, {"table": table("new")})
	not decide_to("reader", operation, {"table": table("nation")}, {"table": table("new")})
	not decide_to("writer", operation, {"table": table("customer")}, {"table": table("new")})
	not decide_to("writer", operation, {"table": table("nation")}, {"table": elsewhere("lake", "hr", "new")})
	not decide("writer", operation, {"table": table("nation")})
}
