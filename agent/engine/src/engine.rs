//! Wasmtime: p1 modules and p2 commands, one guest per process, on its one thread.
//!
//! The engine is made once, in the fork server, which must stay free of threads
//! and of drawn randomness: there it is only engine and linkers. `compile` runs
//! in a child that ends after it, all else in a worker. WASI's waiting is tokio's,
//! so that a guest runs as a future, on the thread that asks: no other is needed.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use wasmtime::component::{self, Component};
use wasmtime::{Config, Linker, Module, Store, Trap, WasmBacktraceDetails};
use wasmtime_wasi::{I32Exit, p1, p2};

use crate::guest::Guest;
use crate::outcomes::{self, Outcome};
use crate::records::Kind;

const WASMTIME: &str = "48.0.8";
const P1: &str = "wasi_snapshot_preview1";
const P2_PACKAGES: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];
const COMPONENT_MAGIC: &[u8] = b"\0asm\x0d\0\x01\0";
const RUN: &str = "wasi:cli/run@0.2";

/// What guests may be written for.
pub const WORLDS: [&str; 2] = [P1, "wasi:cli/command@0.2"];

/// Engine and linkers.
pub struct Engine {
    wasmtime: wasmtime::Engine,
    modules: Linker<Guest>,
    components: component::Linker<Guest>,
}

/// A module fit to run here, and what it asks for that is not given.
pub struct Compiled {
    pub kind: Kind,
    pub code: Vec<u8>,
    pub missing: Vec<String>,
}

/// Compiled code, mapped from the cache.
pub enum Code {
    Module(Module),
    Component(Component),
}

/// The guest asked to end: control flow through the engine, not a failure.
#[derive(Debug)]
struct GuestExit(u32);

impl fmt::Display for GuestExit {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "exit with code {}", self.0)
    }
}

impl std::error::Error for GuestExit {}

impl Engine {
    pub fn new() -> wasmtime::Result<Self> {
        let mut config = Config::new();
        // Else a trap's text advises to set a variable that no guest has.
        config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
        let wasmtime = wasmtime::Engine::new(&config)?;
        let mut modules = Linker::new(&wasmtime);
        p1::add_to_linker_async(&mut modules, |guest: &mut Guest| &mut guest.wasi)?;
        // WASI's own refuses codes from 126 on, which shells use.
        modules.allow_shadowing(true);
        modules.func_wrap(P1, "proc_exit", |code: i32| -> wasmtime::Result<()> {
            Err(GuestExit(code.cast_unsigned()).into())
        })?;
        let mut components = component::Linker::new(&wasmtime);
        p2::add_to_linker_async(&mut components)?;
        Ok(Self { wasmtime, modules, components })
    }

    pub fn name() -> String {
        format!("wasmtime-native-{WASMTIME}")
    }

    /// What compiled code depends on beside the module's bytes: the engine's
    /// version and settings, and what this CPU can do.
    pub fn cache_key(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.wasmtime.precompile_compatibility_hash().hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Compile a module, a component, or text of either.
    ///
    /// # Errors
    /// It is not valid WebAssembly; the text says where.
    pub fn compile(&self, wasm: &[u8]) -> Result<Compiled, String> {
        let binary = wat::parse_bytes(wasm).map_err(|error| error.to_string())?;
        let compiled = if binary.starts_with(COMPONENT_MAGIC) {
            self.compile_component(&binary)
        } else {
            self.compile_module(&binary)
        };
        compiled.map_err(|error| format!("{error:?}").trim().to_owned())
    }

    fn compile_module(&self, binary: &[u8]) -> wasmtime::Result<Compiled> {
        let module = Module::from_binary(&self.wasmtime, binary)?;
        let mut store = Store::new(&self.wasmtime, Guest::nobody());
        let missing: Vec<String> = module
            .imports()
            .filter(|each| self.modules.get_by_import(&mut store, each).is_none())
            .map(|each| format!("{}.{}", each.module(), each.name()))
            .collect();
        if missing.is_empty() {
            self.modules.instantiate_pre(&module)?; // finds imports of a wrong type
        }
        Ok(Compiled { kind: Kind::Module, code: module.serialize()?, missing })
    }

    fn compile_component(&self, binary: &[u8]) -> wasmtime::Result<Compiled> {
        let whole = Component::from_binary(&self.wasmtime, binary)?;
        let imports = whole.component_type();
        let missing: Vec<String> = imports
            .imports(&self.wasmtime)
            .map(|(name, _)| name.to_owned())
            .filter(|name| is_foreign(name))
            .collect();
        if missing.is_empty() {
            self.components.instantiate_pre(&whole)?;
        }
        Ok(Compiled { kind: Kind::Component, code: whole.serialize()?, missing })
    }

    /// Map compiled code from the cache; its pages are shared with other workers.
    ///
    /// # Errors
    /// The file is not this engine's.
    pub fn load(&self, path: &str, kind: Kind) -> Result<Code, String> {
        // SAFETY: files of the cache are written by our compiler alone, by
        // rename, and are read-only afterwards.
        let code = unsafe {
            match kind {
                Kind::Module => Module::deserialize_file(&self.wasmtime, path).map(Code::Module),
                Kind::Component => {
                    Component::deserialize_file(&self.wasmtime, path).map(Code::Component)
                }
            }
        };
        code.map_err(|error| format!("cannot load compiled code: {error:?}"))
    }

    /// Run the guest to its end; `entering` is called just before it begins.
    ///
    /// # Errors
    /// It could not be entered.
    pub fn run(
        &self,
        code: &Code,
        guest: Guest,
        entering: impl FnOnce(),
    ) -> Result<Outcome, String> {
        let waiting = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| format!("cannot start: {error}"))?;
        let mut store = Store::new(&self.wasmtime, guest);
        store.limiter(|guest| &mut guest.memory);
        let outcome = waiting.block_on(async {
            match code {
                Code::Module(module) => self.run_module(&mut store, module, entering).await,
                Code::Component(whole) => self.run_component(&mut store, whole, entering).await,
            }
        })?;
        match store.data().memory.denied_just_now() {
            Some((wanted, limit)) if outcome.code != 0 => {
                Ok(outcomes::out_of_memory(outcome, wanted, limit))
            }
            _ => Ok(outcome),
        }
    }

    async fn run_module(
        &self,
        store: &mut Store<Guest>,
        module: &Module,
        entering: impl FnOnce(),
    ) -> Result<Outcome, String> {
        if module.get_export("_start").is_none() {
            return Err(no_entry("_start", module.exports().map(|each| each.name())));
        }
        entering();
        let instance = match self.modules.instantiate_async(&mut *store, module).await {
            Ok(instance) => instance,
            Err(error) => return ended_early(&error),
        };
        let start = instance
            .get_typed_func::<(), ()>(&mut *store, "_start")
            .map_err(|error| format!("cannot start: {error}"))?;
        Ok(match start.call_async(store, ()).await {
            Ok(()) => outcomes::exited(0),
            Err(error) => ended(&error),
        })
    }

    async fn run_component(
        &self,
        store: &mut Store<Guest>,
        whole: &Component,
        entering: impl FnOnce(),
    ) -> Result<Outcome, String> {
        let exports = whole.component_type();
        let names: Vec<&str> = exports.exports(&self.wasmtime).map(|(name, _)| name).collect();
        let Some(command) = names.iter().find(|name| name.starts_with(RUN)) else {
            return Err(no_entry(RUN, names.into_iter()));
        };
        entering();
        let instance = match self.components.instantiate_async(&mut *store, whole).await {
            Ok(instance) => instance,
            Err(error) => return ended_early(&error),
        };
        let index = instance
            .get_export_index(&mut *store, None, command)
            .and_then(|found| instance.get_export_index(&mut *store, Some(&found), "run"))
            .ok_or_else(|| no_entry(&format!("{command}.run"), names.iter().copied()))?;
        let run = instance
            .get_typed_func::<(), (Result<(), ()>,)>(&mut *store, index)
            .map_err(|error| format!("cannot start: {error}"))?;
        Ok(match run.call_async(store, ()).await {
            Ok((Ok(()),)) => outcomes::exited(0),
            Ok((Err(()),)) => outcomes::exited(1),
            Err(error) => ended(&error),
        })
    }
}

/// A guest's code may run, and end, while it is being instantiated.
fn ended_early(error: &wasmtime::Error) -> Result<Outcome, String> {
    match exit_code(error) {
        None if !error.is::<Trap>() => Err(format!("cannot instantiate: {error:?}")),
        _ => Ok(ended(error)),
    }
}

fn ended(error: &wasmtime::Error) -> Outcome {
    match exit_code(error) {
        Some(code) => outcomes::exited(code),
        None => outcomes::trapped(&format!("{error:?}")),
    }
}

fn exit_code(error: &wasmtime::Error) -> Option<u32> {
    let of_module = error.downcast_ref::<GuestExit>().map(|exit| exit.0);
    of_module.or_else(|| error.downcast_ref::<I32Exit>().map(|exit| exit.0.cast_unsigned()))
}

fn is_foreign(name: &str) -> bool {
    let given = |each: &str| name.starts_with(&format!("wasi:{each}/")) && name.contains("@0.2.");
    !P2_PACKAGES.iter().any(|each| given(each))
}

fn no_entry<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names = names.collect::<Vec<_>>().join(", ");
    let names = if names.is_empty() { "-" } else { &names };
    format!("cannot start: the module exports no {wanted}; it exports {names}")
}

#[cfg(test)]
mod tests {
    use super::WASMTIME;

    #[test]
    fn the_version_shown_is_the_one_built() {
        let built = format!("\nwasmtime = {{ version = \"{WASMTIME}\"");
        assert!(include_str!("../Cargo.toml").contains(&built));
    }
}
