module wasm-node/e2e/cluster/programs/httpload

go 1.26.0
