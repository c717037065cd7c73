module wasm-node/e2e/cluster/programs/pause

go 1.26.0
