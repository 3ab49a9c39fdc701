# What the asking identity is and holds, looked up in the compiled access data (governance/bundle.py):
# every lookup is by group, namespace and table, never a search.
package lab.trino

import rego.v1

row_filter_user := "$row-filter"

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

# Nobody who signs in has the filter identity; one that comes with groups is forged.
disguised if {
	user == row_filter_user
	count(token_groups) > 0
}

filter_user if user == row_filter_user

# Groups that the access data does not name can't matter; leaving them out bounds every lookup.
groups contains group if {
	some group in token_groups
	data.lab.access.groups[group]
}

administrator if {
	not filter_user
	administrators in token_groups
}

# person: somebody who was granted something; who was not can't even run a query.
person if {
	not filter_user
	some group in groups
	data.lab.access.grants[group]
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
	not data.lab.access.protected[need.namespace][need.table]
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

namespace_privilege(namespace, privilege) if {
	some group in groups
	data.lab.access.grants[group].namespaces[namespace][privilege]
}

namespace_visible(namespace) if {
	some group in groups
	data.lab.access.grants[group].visible[namespace]
}

table_visible_by_grant(namespace, table) if {
	some group in groups
	data.lab.access.grants[group].tables[namespace][table]
}

table_visible_by_grant(namespace, _) if {
	some group in groups
	data.lab.access.grants[group].namespaces[namespace]
}

exempted(exempt) if {
	some group in groups
	exempt[group]
}

restricted(namespace, table) if {
	some exempt in data.lab.access.protected[namespace][table]
	not exempted(exempt)
}

column_denied(namespace, table, column) if {
	some name in [column, "*"]
	some exempt in data.lab.access.denies[namespace][table][name]
	not exempted(exempt)
}

any_denied(namespace, table) if {
	some exempts in data.lab.access.denies[namespace][table]
	some exempt in exempts
	not exempted(exempt)
}

# The row filter identity reads what the filters read, whole, and does nothing else.
filter_user_permitted("AccessCatalog", resource) if resource.catalog.name == data.lab.catalog

filter_user_permitted("SelectFromColumns", resource) if {
	resource.table.catalogName == data.lab.catalog
	data.lab.access.filter_reads[resource.table.schemaName][resource.table.tableName]
}
