package lab.trino_test

import rego.v1

test_filter_by_group if {
	filters("reader", table("customer")) == [{"expression": guarded(`"nation" IN (1, 2)`)}]
	filters("both", table("customer")) == [{"expression": guarded(`"nation" IN (1, 2, 3)`)}]
	filters("admin", table("customer")) == refusing_filter
	filters("outsider", table("customer")) == refusing_filter
	filters("writer", table("customer")) == []
	filters("$row-filter", table("customer")) == []
}

guarded(text) := concat("", ["(", text, ") AND CASE WHEN ", text, " THEN random() >= 0 ELSE false END"])

test_every_filter_applies if {
	filters("o'neil", table("orders")) == [
		{"expression": `k IN (SELECT k FROM "lake".shop.customer)`, "identity": "$row-filter"},
		{"expression": guarded("owner = 'o''neil'")},
	]
}

test_filters_elsewhere if {
	filters("reader", table("nation")) == []
	filters("reader", table("customer$files")) == refusing_filter
	filters("writer", table("customer$files")) == []
	filters("reader", elsewhere("system", "runtime", "queries")) == []
	filters("reader", elsewhere("lake", "information_schema", "tables")) == []
	data.lab.trino.rowFilters == refusing_filter with input as question("reader", {
		"operation": "SelectFromColumns",
		"resource": {"table": table("nation")},
	})
		with data.lab.access as access
		with data.lab.bundle as bundle
		with data.lab.catalog as "lake"
		with time.now_ns as now_ns
}

digest_of(name) := sprintf(
	`hmac_sha256(to_utf8(CAST("%s" AS varchar)), (SELECT "key" FROM "keys"."public"."hash"))`,
	[name],
)

expected_masks := {
	"bigint key": ["key", "bigint", sprintf(
		"CAST(from_big_endian_64(substr(%s, 1, 8)) AS bigint)",
		[digest_of("key")],
	)],
	"text key": ["name", "varchar", sprintf("CAST(lower(to_hex(%s)) AS varchar)", [digest_of("name")])],
	"long text key": ["name", "varchar(64)", sprintf("CAST(lower(to_hex(%s)) AS varchar(64))", [digest_of("name")])],
	"key too short for a digest": ["short", "varchar(25)", "CAST(NULL AS varchar(25))"],
	"integer key": ["key", "integer", "CAST(NULL AS integer)"],
	"email": ["email", "varchar", `CAST('***' || regexp_extract(CAST("email" AS varchar), '@[^@]*$') AS varchar)`],
	"email of another type": ["email", "array(varchar)", "CAST(NULL AS array(varchar))"],
	"salary": ["salary", "decimal(12,2)", "CAST(NULL AS decimal(12,2))"],
	"denied column": ["comment", "varchar(117)", "CAST(NULL AS varchar(117))"],
}

test_masks[note] if {
	some note, [name, type, expression] in expected_masks
	mask("reader", name, type) == expression
}

test_the_hash_alone_is_read_as_another_identity if {
	identities := {name: object.get(entry.viewExpression, "identity", "") |
		some name, type in {"key": "bigint", "short": "varchar(25)", "email": "varchar", "salary": "bigint"}
		some entry in masks("reader", [column("customer", name, type)])
	}
	identities == {"key": "$row-filter", "short": "", "email": "", "salary": ""}
}

# Of a value shorter than eight characters nothing is shown.
test_mask_keeps_four_characters if {
	expression := mask("reader", "phone", "char(15)")
	shown := `THEN '***' || substr(CAST("phone" AS varchar), -4)`
	expression == concat(" ", [
		`CAST(CASE WHEN length(CAST("phone" AS varchar)) >= 8`,
		shown,
		`WHEN "phone" IS NOT NULL THEN '***' END AS char(15))`,
	])
}

test_the_mask_that_hides_most_wins if mask("admin", "phone", "varchar") == "CAST(NULL AS varchar)"

test_exemption_lifts_a_mask if {
	masks("writer", [column("customer", "key", "bigint"), column("customer", "comment", "varchar")]) == []
	masks("partner", [column("customer", "salary", "bigint")]) == []
	masks("$row-filter", [column("customer", "key", "bigint")]) == []
}

test_indices_are_the_columns if {
	asked := [
		column("customer", "nation", "bigint"),
		column("customer", "salary", "bigint"),
		column("nation", "name", "varchar"),
		column("customer", "comment", "varchar"),
	]
	[entry.index | some entry in masks("reader", asked)] == [1, 3]
}

test_metadata_of_a_ruled_table_is_hidden if {
	asked := [column("customer$files", "lower_bounds", "map(integer, varchar)")]
	masks("reader", asked)[0].viewExpression.expression == "CAST(NULL AS map(integer, varchar))"
	masks("writer", asked) == []
}

test_identifiers_are_quoted if {
	data.lab.trino.identifier(`a"b`) == `"a""b"`
}
