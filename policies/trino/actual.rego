# What the asking identity is and holds, looked up in the compiled access data (governance/bundle.py):
# every lookup is by group, namespace and table, never a search.
package lab.trino

import rego.v1

row_filter_user := "$row-filter"

# The governor's service account, which counts rows for `lab policy diff`: it selects and does nothing else.
counting_user := "service-account-governor"

# Another, which maintains tables; maintenance.rego says what that takes.
maintaining_user := "service-account-maintainer"

administrators := "lab_admins"

max_future_ns := ((5 * 60) * 1000) * 1000000

# ready: the bundle is of an acceptable age and the question names a legal identity.
ready if {
	fresh
	legal_identity
}

fresh if {
	age_ns := time.now_ns() - data.lab.bundle.issued_at_ns
	age_ns <= data.lab.bundle.max_age_s * 1000000000
	age_ns >= 0 - max_future_ns
	is_number(data.lab.bundle.revision)
}

user := input.context.identity.user

token_groups := object.get(input.context.identity, "groups", [])

legal_identity if {
	is_string(user)
	user != ""
	is_array(token_groups)
	is_string(input.action.operation)
	not disguised
	every group in token_groups {
		is_string(group)
	}
}

# Nobody who signs in has one of the lab's own identities; one that comes with groups is forged.
disguised if {
	user in {row_filter_user, counting_user, maintaining_user}
	count(token_groups) > 0
}

filter_user if user == row_filter_user

# unruled: no filter and no mask is meant for these; what they may do is listed apart.
unruled if user in {row_filter_user, counting_user, maintaining_user}

# Groups that the access data does not name can't matter; leaving them out bounds every lookup.
groups contains group if {
	some group in token_groups
	data.lab.access.groups[group]
}

administrator if {
	not unruled
	administrators in token_groups
}

# person: somebody who was granted something; who was not can't even run a query.
person if {
	not unruled
	some group in groups
	data.lab.access.grants[group]
}

person if {
	not unruled
	some namespace, tables in data.lab.access.exceptions[user]
	some name, _ in tables
	count(exceptions_at(namespace, name)) > 0
}

person if administrator

held(need) if {
	need.kind == "table"
	table_privilege(need.namespace, need.table, need.privilege)
}

held(need) if {
	need.kind == "namespace"
	namespace_privilege(need.namespace, need.privilege)
}

held(need) if {
	need.kind == "visible_namespace"
	namespace_visible(need.namespace)
}

held(need) if {
	need.kind == "visible_table"
	table_visible_by_grant(need.namespace, need.table)
}

held(need) if {
	need.kind == "columns"
	every column in need.columns {
		not column_denied(need.namespace, need.table, column)
	}
}

held(need) if {
	need.kind == "undenied"
	not any_denied(need.namespace, need.table)
}

# No rule reaches this reader on the table.
held(need) if {
	need.kind == "unrestricted"
	not restricted(need.namespace, need.table)
}

# No rule is about the table, whoever asks.
held(need) if {
	need.kind == "unruled"
	not protected(need.namespace, need.table)
}

held(need) if {
	need.kind == "self"
	need.user == user
}

held(need) if {
	need.kind == "self"
	administrator
}

held(need) if {
	need.kind == "administrator"
	administrator
}

held(need) if need.kind == "person"

table_privilege(namespace, table, privilege) if {
	some group in groups
	data.lab.access.grants[group].tables[namespace][table][privilege]
}

table_privilege(namespace, _, privilege) if namespace_privilege(namespace, privilege)

table_privilege(namespace, table, privilege) if {
	some exception in exceptions_on(namespace, table)
	exception.privileges[privilege]
}

namespace_privilege(namespace, privilege) if {
	some group in groups
	data.lab.access.grants[group].namespaces[namespace][privilege]
}

namespace_visible(namespace) if {
	some group in groups
	data.lab.access.grants[group].visible[namespace]
}

namespace_visible(namespace) if {
	some name, _ in data.lab.access.exceptions[user][namespace]
	some exception in exceptions_at(namespace, name)
	count(exception.privileges) > 0
}

table_visible_by_grant(namespace, table) if {
	some group in groups
	data.lab.access.grants[group].tables[namespace][table]
}

table_visible_by_grant(namespace, _) if {
	some group in groups
	data.lab.access.grants[group].namespaces[namespace]
}

table_visible_by_grant(namespace, table) if {
	some exception in exceptions_on(namespace, table)
	count(exception.privileges) > 0
}

# A rule is filed under its table, under "*" in its namespace, or under "*" in "*" for the whole catalog.
places(namespace, table) := [[namespace, table], [namespace, "*"], ["*", "*"]]

# Exceptions end by themselves, to the nanosecond: nothing has to be published for it.
exceptions_at(namespace, name) := [exception |
	some exception in data.lab.access.exceptions[user][namespace][name]
	exception.expires_ns > time.now_ns()
]

exceptions_on(namespace, table) := [exception |
	not unruled
	some name in [table, "*"]
	some exception in exceptions_at(namespace, name)
]

exempted(rule, _, _) if {
	some group in groups
	rule.exempt[group]
}

exempted(rule, namespace, table) if {
	some exception in exceptions_on(namespace, table)
	exception.lifts[rule.id]
}

restricted(namespace, table) if {
	some [schema, name] in places(namespace, table)
	some rule in data.lab.access.protected[schema][name]
	not exempted(rule, namespace, table)
}

protected(namespace, table) if {
	some [schema, name] in places(namespace, table)
	count(data.lab.access.protected[schema][name]) > 0
}

column_denied(namespace, table, column) if {
	some [schema, name] in places(namespace, table)
	some key in [column, "*"]
	some rule in data.lab.access.denies[schema][name][key]
	not exempted(rule, namespace, table)
}

any_denied(namespace, table) if {
	some [schema, name] in places(namespace, table)
	some rules in data.lab.access.denies[schema][name]
	some rule in rules
	not exempted(rule, namespace, table)
}

# The row filter identity reads what filters and masks read, whole, and does nothing else.
filter_user_permitted("AccessCatalog", resource) if {
	resource.catalog.name in {data.lab.catalog, data.lab.bundle.mask_key.catalog}
}

filter_user_permitted("SelectFromColumns", resource) if {
	resource.table.catalogName == data.lab.catalog
	some [schema, name] in places(resource.table.schemaName, resource.table.tableName)
	data.lab.access.filter_reads[schema][name]
}

# The key of the hash mask: nobody else may name its catalog at all.
filter_user_permitted("SelectFromColumns", resource) if {
	key := data.lab.bundle.mask_key
	resource.table.catalogName == key.catalog
	resource.table.schemaName == key.schema
	resource.table.tableName == key.table
	every column in resource.table.columns {
		column == key.column
	}
}

# The counting identity reads every table of the lake with built-in functions, and does nothing else.
counting_permitted("ExecuteQuery", _)

counting_permitted("AccessCatalog", resource) if resource.catalog.name == data.lab.catalog

counting_permitted("SelectFromColumns", resource) if plain_table(resource.table)

counting_permitted("ExecuteFunction", resource) if {
	resource.function.catalogName == "system"
	resource.function.schemaName == "builtin"
}
