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

view_expression(rule) := {"expression": predicate(rule), "identity": row_filter_user} if rule.as_filter_user

view_expression(rule) := {"expression": predicate(rule)} if not rule.as_filter_user

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
mask_on(column) := expression if {
	in_lake(column)
	not unruled
	[_, kind] := min(masks_reaching(column))
	expression := masked(kind, identifier(column.columnName), column.columnType)
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

# A mask that does not fit the column's type hides the value altogether.
masked(kind, name, type) := concat("", ["CAST(", shape, " AS ", type, ")"]) if {
	shape := shaped(kind, name, type)
} else := concat("", ["CAST(NULL AS ", type, ")"])

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

digest(name) := sprintf(
	"hmac_sha256(to_utf8(CAST(%s AS varchar)), from_hex('%s'))",
	[name, data.lab.bundle.hash_key],
)

textual("varchar")

textual(type) if regex.match(`^(varchar|char)\(\d+\)$`, type)

holds_digest("varchar")

holds_digest(type) if {
	length := to_number(trim_suffix(trim_prefix(type, "varchar("), ")"))
	length >= 64
}
