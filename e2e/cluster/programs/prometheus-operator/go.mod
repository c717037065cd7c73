// Of this operator the tests use the schemas of its objects, and no program.
module wasm-node/e2e/cluster/programs/prometheus-operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
