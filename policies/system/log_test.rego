package system.log_test

import rego.v1

identity := {"user": "ann", "groups": ["analysts"]}

decision(path, action, result) := {
	"path": path,
	"input": {"action": action, "context": {"identity": identity}},
	"result": result,
}

column(name) := {"column": {
	"catalogName": "lake",
	"schemaName": "retail",
	"tableName": "customer",
	"columnName": name,
	"columnType": "varchar",
}}

masks := decision(
	"lab/trino/columnMasks",
	{"operation": "GetColumnMask", "filterResources": [column("c_name"), column("c_phone")]},
	[{"index": 1, "viewExpression": {"expression": "hmac('the key')"}}],
)

filters := decision(
	"lab/trino/rowFilters",
	{"operation": "GetRowFilters", "resource": {"table": {"tableName": "customer"}}},
	[{"expression": "region = 'EMEA'"}],
)

creation := decision(
	"lab/trino/allow",
	{"operation": "CreateTable", "resource": {"table": {"tableName": "t", "properties": {"location": "s3://x"}}}},
	true,
)

answered(event) := found if found := data.system.log.mask with input as event

dropped(event) if data.system.log.drop with input as event

test_only_decisions_about_reads_and_changes_are_reported if {
	not dropped(masks)
	not dropped(filters)
	not dropped(creation)
	dropped(decision("lab/trino/batch", {"operation": "FilterTables"}, [0]))
	dropped({"path": "lab/bundle", "result": {"revision": 1}})
	dropped({"path": "system/authz/allow"})
	dropped({})
}

test_of_masks_the_columns_are_reported if {
	answered(masks) == {
		{"op": "upsert", "path": "/result", "value": {"masked": ["c_phone"]}},
		{
			"op": "upsert",
			"path": "/input/action/filterResources",
			"value": [{"column": {"catalogName": "lake", "schemaName": "retail", "tableName": "customer"}}],
		},
	}
}

test_a_result_that_names_no_column_is_no_error if {
	broken := object.union(masks, {"result": [{"index": -1, "viewExpression": {"expression": "NULL"}}]})
	{"op": "upsert", "path": "/result", "value": {"masked": []}} in answered(broken)
}

test_of_filters_the_number_is_reported if {
	answered(filters) == {{"op": "upsert", "path": "/result", "value": {"filters": 1}}}
}

test_values_of_properties_are_left_out if answered(creation) == {"/input/action/resource/table/properties"}

test_a_plain_decision_is_reported_whole if {
	plain := decision("lab/trino/allow", {"operation": "ExecuteQuery"}, true)
	answered(plain) == set()
}
