# The four decision points that Trino's OPA plugin asks, and nothing else.
#
#   data.lab.trino.allow        opa.policy.uri
#   data.lab.trino.batch        opa.policy.batched-uri              indices of permitted candidates
#   data.lab.trino.rowFilters   opa.policy.row-filters-uri
#   data.lab.trino.columnMasks  opa.policy.batch-column-masking-uri
#
# requested.rego says what an operation needs, actual.rego what the asking identity holds; data decides.
# Protocol: https://trino.io/docs/current/security/opa-access-control.html

# METADATA
# description: Decides for Trino. What it is asked is checked at compile time against policies/schemas.
# scope: subpackages
# schemas:
#   - input: schema.input
package lab.trino

import rego.v1

# METADATA
# entrypoint: true
default allow := false

allow if {
	ready
	person
	needs := requested(input.action.operation, object.get(input.action, "resource", {}))
	count(needs) > 0
	every need in needs {
		held(need)
	}
}

allow if {
	ready
	person
	candidate_permitted(input.action.operation, input.action.resource)
}

# A single FilterColumns question names its column in a list of one.
allow if {
	ready
	person
	input.action.operation == "FilterColumns"
	table := input.action.resource.table
	count(table.columns) > 0
	every column in table.columns {
		column_visible(table, column)
	}
}

allow if {
	ready
	filter_user
	filter_user_permitted(input.action.operation, input.action.resource)
}

allow if {
	ready
	user == counting_user
	counting_permitted(input.action.operation, object.get(input.action, "resource", {}))
}

allow if {
	ready
	user == maintaining_user
	maintaining_permitted(input.action.operation, object.get(input.action, "resource", {}))
}

# METADATA
# description: Every candidate is an argument; `with input` for each would make the whole quadratic.
# entrypoint: true
batch contains index if {
	ready
	person
	some index, candidate in input.action.filterResources
	candidate_permitted(input.action.operation, candidate)
}

batch contains index if {
	ready
	user == maintaining_user
	input.action.operation == "FilterViewQueryOwnedBy"
	some index, _ in input.action.filterResources
}

# FilterColumns differs: one table with many columns, and the indices are the columns'.
batch contains index if {
	ready
	person
	input.action.operation == "FilterColumns"
	count(input.action.filterResources) == 1
	table := input.action.filterResources[0].table
	some index, column in table.columns
	column_visible(table, column)
}

# METADATA
# description: Trino takes an undefined answer for "no filter"; the default lets no row through.
# entrypoint: true
default rowFilters := [{"expression": "false"}]

rowFilters := filters_on(input.action.resource.table) if {
	ready
	input.action.operation == "GetRowFilters"
}

# METADATA
# description: An index that no column has fails the query; an empty list would mean "no mask".
# entrypoint: true
default columnMasks := [{"index": -1, "viewExpression": {"expression": "NULL"}}]

columnMasks := masks if {
	ready
	input.action.operation == "GetColumnMask"
	legal_columns
	masks := [{"index": index, "viewExpression": mask} |
		some index, candidate in input.action.filterResources
		mask := mask_on(candidate.column)
	]
}

legal_columns if {
	is_array(input.action.filterResources)
	every candidate in input.action.filterResources {
		every key in ["catalogName", "schemaName", "tableName", "columnName", "columnType"] {
			is_string(candidate.column[key])
		}
	}
}
