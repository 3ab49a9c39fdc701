package system.authz_test

import rego.v1

token := "0123456789abcdef0123456789abcdef"

environment := {"env": {"OPA_READ_TOKEN": token}}

asked(method, path) := {"method": method, "path": path, "params": {}, "headers": {}}

by_token(method, path) := object.union(asked(method, path), {"identity": token})

allowed(question) := answer if {
	answer := data.system.authz.allow with input as question
		with data.lab.bundle as {"revision": 1}
		with opa.runtime as environment
}

decision := ["v1", "data", "lab", "trino", "allow"]

permitted := {
	"a decision": asked("POST", decision),
	"filters": asked("POST", ["v1", "data", "lab", "trino", "rowFilters"]),
	"health": asked("GET", ["health"]),
	"readiness": object.union(asked("GET", ["health"]), {"params": {"bundles": [""]}}),
	"data by token": by_token("GET", ["v1", "data", "lab", "bundle"]),
	"status by token": by_token("GET", ["v1", "status"]),
	"metrics by token": by_token("GET", ["metrics"]),
}

refused := {
	"nothing": {},
	"a decision explained": object.union(asked("POST", decision), {"params": {"explain": ["full"]}}),
	"another rule": asked("POST", ["v1", "data", "lab", "trino", "held"]),
	"a whole package": asked("POST", ["v1", "data", "lab", "trino"]),
	"below a decision": asked("POST", array.concat(decision, ["x"])),
	"data": asked("GET", ["v1", "data", "lab", "bundle"]),
	"metrics": asked("GET", ["metrics"]),
	"a query": by_token("POST", ["v1", "query"]),
	"a compilation": by_token("POST", ["v1", "compile"]),
	"the configuration": by_token("GET", ["v1", "config"]),
	"policies": by_token("GET", ["v1", "policies"]),
	"writing a policy": by_token("PUT", ["v1", "policies", "x"]),
	"writing data": by_token("PUT", ["v1", "data", "lab", "bundle"]),
	"patching data": by_token("PATCH", ["v1", "data", "lab", "bundle"]),
	"removing data": by_token("DELETE", ["v1", "data", "lab", "bundle"]),
	"a wrong token": object.union(asked("GET", ["metrics"]), {"identity": "wrong"}),
}

test_permitted[note] if {
	some note, question in permitted
	allowed(question)
}

test_refused[note] if {
	some note, question in refused
	allowed(question) == false
}

test_closed_without_a_bundle if {
	not data.system.authz.allow with input as asked("POST", decision)
}

test_no_token_in_the_environment_is_no_token if {
	not data.system.authz.allow with input as by_token("GET", ["metrics"]) with opa.runtime as {"env": {}}
	not data.system.authz.allow with input as object.union(asked("GET", ["metrics"]), {"identity": ""})
		with opa.runtime as {"env": {"OPA_READ_TOKEN": ""}}
}
