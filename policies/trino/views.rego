# Row filters and column masks, as Trino SQL.
package lab.trino

import rego.v1

nothing := [{"expression": "false"}]

filters_on(table) := [] if table.catalogName != data.lab.catalog

filters_on(table) := [] if {
	table.catalogName == data.lab.catalog
	unruled
}

filters_on(table) := filters if {
	plain_table(table)
	not unruled
	filters := [view_expression(rule) |
		some [schema, name] in places(table.schemaName, table.tableName)
		some rule in data.lab.access.filters[schema][name]
		not exempted(rule, table.schemaName, table.tableName)
	]
}

filters_on(table) := nothing if {
	metadata_table(table)
	not unruled
	restricted(table.schemaName, base_name(table.tableName))
}

filters_on(table) := [] if {
	metadata_table(table)
	not unruled
	not restricted(table.schemaName, base_name(table.tableName))
}

filters_on(table) := [] if {
	table.catalogName == data.lab.catalog
	table.schemaName == "information_schema"
	not unruled
}

view_expression(rule) := {"expression": told(rule), "identity": row_filter_user} if rule.as_filter_user

view_expression(rule) := {"expression": told(rule)} if not rule.as_filter_user

# Trino turns what it can of a query's conditions into ranges of columns and evaluates those first, then what is
# not deterministic, then the rest. A reader's own condition that draws a number and fails with a row's value in
# its message would so come before a filter that is no range, or before one whose column is null. The second part
# of a guarded filter is of the kind that comes first, never null, and there before any condition of the reader's.
told(rule) := concat("", ["(", text, ") AND CASE WHEN ", text, " THEN random() >= 0 ELSE false END"]) if {
	rule.guarded
	not without_share(rule)
	text := predicate(rule)
} else := predicate(rule)

# A reader that no values are given to sees no row.
predicate(rule) := "false" if {
	rule.by_group
	count(share(rule)) == 0
}

predicate(rule) := concat("", [text(part, rule) | some part in rule.parts]) if not without_share(rule)

without_share(rule) if {
	rule.by_group
	count(share(rule)) == 0
}

share(rule) := {literal | some group in groups; some literal in rule.values[group]}

text(part, _) := part.sql

text(part, rule) := concat(", ", sort(share(rule))) if part.placeholder == "values"

text(part, _) := quoted(user) if part.placeholder == "user"

quoted(value) := concat("", ["'", replace(value, "'", "''"), "'"])

identifier(name) := concat("", ["\"", replace(name, "\"", "\"\""), "\""])

# Of the masks that reach the reader the one that hides most: governance/bundle.py ranks them.
mask_on(column) := masked(kind, identifier(column.columnName), column.columnType) if {
	in_lake(column)
	not unruled
	[_, kind] := min(masks_reaching(column))
}

# A denied column can't be read at all; its mask only guards against an answer that lets it through.
masks_reaching(column) := {[0, "null"]} if hidden(column)

masks_reaching(column) := ranked if {
	not hidden(column)
	ranked := {[mask.rank, mask.mask] |
		some [schema, name] in places(column.schemaName, column.tableName)
		some key in ["*", column.columnName]
		some mask in data.lab.access.masks[schema][name][key]
		not exempted(mask, column.schemaName, column.tableName)
	}
}

hidden(column) if column_denied(column.schemaName, column.tableName, column.columnName)

hidden(column) if {
	is_metadata(column.tableName)
	restricted(column.schemaName, base_name(column.tableName))
}

# A mask that does not fit the column's type hides the value altogether. The hash reads its key as the identity
# that alone may do so.
masked(kind, name, type) := view if {
	shape := shaped(kind, name, type)
	expression := concat("", ["CAST(", shape, " AS ", type, ")"])
	view := object.union({"expression": expression}, mask_identity(kind))
} else := {"expression": concat("", ["CAST(NULL AS ", type, ")"])}

mask_identity("hash") := {"identity": row_filter_user}

mask_identity(kind) := {} if kind != "hash"

shaped("email_domain", name, type) := sprintf(
	"'***' || regexp_extract(CAST(%s AS varchar), '@[^@]*$')",
	[name],
) if {
	textual(type)
}

# Of short values four characters would be most of it.
shaped("last_4", name, type) := sprintf(
	concat(" ", [
		"CASE WHEN length(CAST(%s AS varchar)) >= 8 THEN '***' || substr(CAST(%s AS varchar), -4)",
		"WHEN %s IS NOT NULL THEN '***' END",
	]),
	[name, name, name],
) if {
	textual(type)
}

shaped("hash", name, "bigint") := sprintf("from_big_endian_64(substr(%s, 1, 8))", [digest(name)])

shaped("hash", name, type) := sprintf("lower(to_hex(%s))", [digest(name)]) if holds_digest(type)

# The key is read while the query runs: a literal would stand in the plan that EXPLAIN shows to the masked reader.
digest(name) := sprintf("hmac_sha256(to_utf8(CAST(%s AS varchar)), (SELECT %s FROM %s.%s.%s))", array.concat(
	[name],
	[identifier(data.lab.bundle.mask_key[part]) | some part in ["column", "catalog", "schema", "table"]],
))

textual("varchar")

textual(type) if regex.match(`^(varchar|char)\(\d+\)$`, type)

holds_digest("varchar")

holds_digest(type) if {
	length := to_number(trim_suffix(trim_prefix(type, "varchar("), ")"))
	length >= 64
}
