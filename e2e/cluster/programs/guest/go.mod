module wasm-node/e2e/cluster/programs/guest

go 1.26.0
