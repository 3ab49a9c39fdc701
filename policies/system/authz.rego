# Who may ask OPA what. Loaded from a file at start (opa run --authentication=token --authorization=basic),
# never from the bundle. https://www.openpolicyagent.org/docs/security/#authentication-and-authorization
#
# Trino's plugin sends no credential, so its decision points are open to whoever reaches the loopback port,
# without query parameters (explain=… would show the data behind a decision). Without a bundle they are
# closed: an empty OPA answers "undefined", which Trino takes for "no row filter".
# Whoever shows the token of OPA_READ_TOKEN may read; nobody writes: bundles are the only way in.
package system.authz

import rego.v1

decision_points := {"allow", "batch", "rowFilters", "columnMasks"}

readable := {"data", "status"}

default allow := false

allow if {
	input.method == "POST"
	count(input.path) == 5
	array.slice(input.path, 0, 4) == ["v1", "data", "lab", "trino"]
	input.path[4] in decision_points
	no_parameters
	is_number(data.lab.bundle.revision)
}

allow if {
	input.method == "GET"
	input.path[0] == "health"
}

allow if {
	input.method == "GET"
	reader
	input.path[0] == "v1"
	input.path[1] in readable
}

allow if {
	input.method == "GET"
	reader
	input.path == ["metrics"]
}

no_parameters if count(object.get(input, "params", {})) == 0

reader if {
	token := opa.runtime().env.OPA_READ_TOKEN
	count(token) >= 16
	input.identity == token
}
