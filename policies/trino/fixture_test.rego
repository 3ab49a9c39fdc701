# A small lab, in the form that governance/bundle.py compiles, and the questions that tests ask of it.
package lab.trino_test

import rego.v1

now_ns := 1700000000000000000

bundle := {
	"revision": 3,
	"issued_at_ns": now_ns,
	"max_age_s": 3600,
	"mask_key": {"catalog": "keys", "schema": "public", "table": "hash", "column": "key"},
}

everything := {
	"alter": true,
	"create": true,
	"delete": true,
	"drop": true,
	"insert": true,
	"maintain": true,
	"select": true,
	"update": true,
}

access := {
	"groups": {group: true | some group in ["lab_admins", "writers", "readers", "west", "partners"]},
	"grants": {
		"lab_admins": {"tables": {}, "namespaces": {"shop": everything}, "visible": {"shop": true}},
		"writers": {"tables": {}, "namespaces": {"shop": everything}, "visible": {"shop": true}},
		"readers": {
			"tables": {"shop": {
				"customer": {"select": true},
				"orders": {"select": true},
				"nation": {"select": true},
				"inbox": {"insert": true},
			}},
			"namespaces": {},
			"visible": {"shop": true},
		},
	},
	"filters": {"shop": {
		"customer": [{
			"id": "region",
			"exempt": {"writers": true},
			"parts": [{"sql": "\"nation\" IN ("}, {"placeholder": "values"}, {"sql": ")"}],
			"by_group": true,
			"values": {"readers": ["2", "1"], "west": ["3", "1"]},
			"as_filter_user": false,
			"guarded": true,
		}],
		"orders": [
			{
				"id": "region",
				"exempt": {"writers": true},
				"parts": [{"sql": "k IN (SELECT k FROM \"lake\".shop.customer)"}],
				"by_group": false,
				"values": {},
				"as_filter_user": true,
				"guarded": false,
			},
			{
				"id": "own",
				"exempt": {"writers": true},
				"parts": [{"sql": "owner = "}, {"placeholder": "user"}],
				"by_group": false,
				"values": {},
				"as_filter_user": false,
				"guarded": true,
			},
		],
	}},
	"masks": {"shop": {"customer": {
		"key": [{"id": "key", "mask": "hash", "rank": 1, "exempt": {"writers": true}}],
		"name": [{"id": "key", "mask": "hash", "rank": 1, "exempt": {"writers": true}}],
		"short": [{"id": "key", "mask": "hash", "rank": 1, "exempt": {"writers": true}}],
		"email": [{"id": "email", "mask": "email_domain", "rank": 3, "exempt": {"writers": true}}],
		"phone": [
			{"id": "phone", "mask": "null", "rank": 0, "exempt": {"writers": true, "readers": true}},
			{"id": "phone-digits", "mask": "last_4", "rank": 2, "exempt": {"writers": true}},
		],
		"salary": [{"id": "salary", "mask": "null", "rank": 0, "exempt": {"writers": true, "partners": true}}],
	}}},
	"denies": {"shop": {
		"customer": {"comment": [{"id": "comment", "exempt": {"writers": true}}]},
		"secret": {"*": [{"id": "secret", "exempt": {}}]},
	}},
	"protected": {"shop": {
		"customer": [
			{"id": "key", "exempt": {"writers": true}},
			{"id": "salary", "exempt": {"writers": true, "partners": true}},
		],
		"orders": [{"id": "own", "exempt": {"writers": true}}],
		"secret": [{"id": "secret", "exempt": {}}],
	}},
	"filter_reads": {"shop": {"orders": true, "customer": true}},
	"exceptions": {},
}

people := {
	"admin": ["lab_admins"],
	"writer": ["writers"],
	"reader": ["readers"],
	"both": ["readers", "west"],
	"o'neil": ["readers"],
	"outsider": [],
	"stranger": ["unheard_of"],
	"partner": ["partners"],
	"$row-filter": [],
}

identity(who) := {"user": who, "groups": people[who]}

question(who, action) := {
	"context": {"identity": identity(who), "softwareStack": {"trinoVersion": "476"}},
	"action": action,
}

table(name) := {"catalogName": "lake", "schemaName": "shop", "tableName": name}

columns(name, names) := object.union(table(name), {"columns": names})

decide(who, operation, resource) := answer if {
	answer := data.lab.trino.allow with input as question(
		who,
		{"operation": operation, "resource": resource},
	)
		with data.lab.access as access
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with time.now_ns as now_ns
}

decide_to(who, operation, resource, target) := answer if {
	answer := data.lab.trino.allow with input as question(
		who,
		{"operation": operation, "resource": resource, "targetResource": target},
	)
		with data.lab.access as access
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with time.now_ns as now_ns
}

choose(who, operation, candidates) := answer if {
	answer := data.lab.trino.batch with input as question(
		who,
		{"operation": operation, "filterResources": candidates},
	)
		with data.lab.access as access
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with time.now_ns as now_ns
}

filters(who, resource) := answer if {
	answer := data.lab.trino.rowFilters with input as question(
		who,
		{"operation": "GetRowFilters", "resource": {"table": resource}},
	)
		with data.lab.access as access
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with time.now_ns as now_ns
}

column(name, column_name, type) := {"column": object.union(
	table(name),
	{"columnName": column_name, "columnType": type},
)}

masks(who, candidates) := answer if {
	answer := data.lab.trino.columnMasks with input as question(
		who,
		{"operation": "GetColumnMask", "filterResources": candidates},
	)
		with data.lab.access as access
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with time.now_ns as now_ns
}

# The expression of the only mask; undefined when there is none or more than one.
mask(who, column_name, type) := answer[0].viewExpression.expression if {
	answer := masks(who, [column("customer", column_name, type)])
	count(answer) == 1
	answer[0].index == 0
}
