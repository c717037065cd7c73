//! Wasmtime: p1 modules and p2 commands, one guest per process, on its one thread.
//!
//! The engine is made once, in the fork server, which must stay free of threads
//! and of drawn randomness: there it is only engine and linkers. `compile` runs
//! in a child that ends after it, all else in a worker. WASI's waiting is tokio's,
//! so that a guest runs as a future, on the thread that asks: no other is needed.
//!
//! What answers HTTP has an engine of other settings, since many guests of it
//! share a thread: `Proxies`, which is made where it is needed.

use std::fmt;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};

use wasmparser::{Parser, Payload};
use wasmtime::component::types::{self, ComponentItem};
use wasmtime::component::{self, Component, TypedFunc};
use wasmtime::{
    Config, Enabled, ExternType, InstanceAllocationStrategy, Linker, Module,
    PoolingAllocationConfig, Store, Trap, Val, ValType, WasmBacktraceDetails,
};
use wasmtime_wasi::{I32Exit, p1, p2, p3};
use wasmtime_wasi_http as http;
use wasmtime_wasi_http::handler::ProxyPre;

use crate::guest::Guest;
use crate::lookups;
use crate::outcomes::{self, Outcome};
use crate::records::Kind;

const WASMTIME: &str = "48.0.8";
const P1: &str = "wasi_snapshot_preview1";
const PACKAGES: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];
const HTTP: [&str; 3] = ["wasi:http/client", "wasi:http/outgoing-handler", "wasi:http/types"];
const COMPONENT_MAGIC: &[u8] = b"\0asm\x0d\0\x01\0";
const RUN_2: &str = "wasi:cli/run@0.2.";
const RUN_3: &str = "wasi:cli/run@0.3.";
const HANDLER_2: &str = "wasi:http/incoming-handler@0.2.";
const HANDLER_3: &str = "wasi:http/handler@0.3.";
const INITIALIZE: &str = "_initialize"; // what a module without a start wants to be called first
const NEVER: u64 = u64::MAX >> 1; // in epochs
const MODULES_EACH: u32 = 16; // of one component: its own, adapters, shims
/// Of each memory and table that has been written: cleared where it lies, it
/// costs the next instance neither a system call nor a fault of a page.
const KEPT_BYTES: usize = 1 << 17;
const STACKS_EACH: u32 = 4; // of one of WASI 0.3: tasks of it may wait at the same time
const TABLE_ELEMENTS: usize = 1 << 18; // interpreters have a hundred thousand functions

/// What guests may be written for.
pub const WORLDS: [&str; 5] = [
    P1,
    "wasi:cli/command@0.2",
    "wasi:cli/command@0.3",
    "wasi:http/proxy@0.2",
    "wasi:http/service@0.3",
];

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
        Self::with(&config(), true)
    }

    /// One for code that was compiled to answer HTTP: to call exports of it.
    pub fn of_servers(kind: Kind) -> wasmtime::Result<Self> {
        let tasks = kind == Kind::Service;
        Self::with(serving(&mut config(), tasks), tasks)
    }

    fn with(config: &Config, tasks: bool) -> wasmtime::Result<Self> {
        let wasmtime = wasmtime::Engine::new(config)?;
        let mut modules = Linker::new(&wasmtime);
        p1::add_to_linker_async(&mut modules, |guest: &mut Guest| &mut guest.wasi)?;
        // WASI's own refuses codes from 126 on, which shells use.
        modules.allow_shadowing(true);
        modules.func_wrap(P1, "proc_exit", |code: i32| -> wasmtime::Result<()> {
            Err(GuestExit(code.cast_unsigned()).into())
        })?;
        let components = component_linker(&wasmtime, tasks)?;
        Ok(Self { wasmtime, modules, components })
    }

    pub fn name() -> String {
        format!("wasmtime-native-{WASMTIME}")
    }

    /// What compiled code depends on beside the module's bytes: the engine's
    /// version and settings, and what this CPU can do.
    pub fn cache_key(&self) -> wasmtime::Result<String> {
        let mut hasher = DefaultHasher::new();
        let servers = [Proxies::compiler(Kind::Proxy)?, Proxies::compiler(Kind::Service)?];
        for each in servers.iter().map(|each| &each.wasmtime).chain([&self.wasmtime]) {
            each.precompile_compatibility_hash().hash(&mut hasher);
        }
        Ok(format!("{:016x}", hasher.finish()))
    }

    /// Compile a module, a component, or text of either.
    ///
    /// # Errors
    /// It is not valid WebAssembly; the text says where.
    pub fn compile(&self, wasm: &[u8]) -> Result<Compiled, String> {
        let binary = wat::parse_bytes(wasm).map_err(|error| error.to_string())?;
        let compiled = if binary.starts_with(COMPONENT_MAGIC) {
            match kind(&binary).map_err(|error| error.to_string())? {
                kind @ (Kind::Proxy | Kind::Service) => Proxies::compiler(kind).and_then(|made| {
                    compile_component(&made.wasmtime, &made.linker, kind, &binary)
                }),
                kind => compile_component(&self.wasmtime, &self.components, kind, &binary),
            }
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
                Kind::Component | Kind::Proxy | Kind::Service => {
                    Component::deserialize_file(&self.wasmtime, path).map(Code::Component)
                }
            }
        };
        code.map_err(|error| format!("cannot load compiled code: {error:?}"))
    }

    /// Run the guest to its end; `entering` is called just before it begins.
    ///
    /// With the name of an `export` that is called instead of its start; of a
    /// component it may be INSTANCE#FUNCTION.
    ///
    /// # Errors
    /// It could not be entered.
    pub fn run(
        &self,
        code: &Code,
        guest: Guest,
        export: &str,
        entering: impl FnOnce(),
    ) -> Result<Outcome, String> {
        let mut waiting = tokio::runtime::Builder::new_current_thread();
        waiting.enable_time();
        if matches!(code, Code::Component(_)) || guest.waits {
            waiting.enable_io(); // it may have sockets, or streams of somebody's
        }
        let waiting = waiting.build().map_err(|error| format!("cannot start: {error}"))?;
        let mut store = Store::new(&self.wasmtime, guest);
        store.limiter(|guest| &mut guest.memory);
        store.set_epoch_deadline(NEVER);
        let outcome = waiting.block_on(async {
            match code {
                Code::Module(module) => self.run_module(&mut store, module, export, entering).await,
                Code::Component(whole) => {
                    self.run_component(&mut store, whole, export, entering).await
                }
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
        export: &str,
        entering: impl FnOnce(),
    ) -> Result<Outcome, String> {
        let name = if export.is_empty() { "_start" } else { export };
        match module.get_export(name) {
            None => return Err(no_entry(name, module.exports().map(|each| each.name()))),
            Some(ty) if !export.is_empty() && !can_call(&ty) => return Err(cannot_call(export)),
            Some(_) => (),
        }
        entering();
        let instance = match self.modules.instantiate_async(&mut *store, module).await {
            Ok(instance) => instance,
            Err(error) => return ended_early(&error),
        };
        if export.is_empty() {
            let start = instance
                .get_typed_func::<(), ()>(&mut *store, "_start")
                .map_err(|error| format!("cannot start: {error}"))?;
            return Ok(match start.call_async(store, ()).await {
                Ok(()) => outcomes::exited(0),
                Err(error) => ended(&error),
            });
        }
        let initialize = instance
            .get_typed_func::<(), ()>(&mut *store, INITIALIZE)
            .ok()
            .filter(|_| export != INITIALIZE);
        if let Some(initialize) = initialize
            && let Err(error) = initialize.call_async(&mut *store, ()).await
        {
            return Ok(ended(&error));
        }
        let function = instance.get_func(&mut *store, export).ok_or_else(|| cannot_call(export))?;
        let mut returned = vec![Val::I32(0); function.ty(&*store).results().len()];
        Ok(match function.call_async(store, &[], &mut returned).await {
            Ok(()) => match returned.first() {
                Some(Val::I32(code)) => outcomes::exited(*code),
                Some(Val::I64(code)) => outcomes::exited(*code),
                _ => outcomes::exited(0),
            },
            Err(error) => ended(&error),
        })
    }

    async fn run_component(
        &self,
        store: &mut Store<Guest>,
        whole: &Component,
        export: &str,
        entering: impl FnOnce(),
    ) -> Result<Outcome, String> {
        let exports = whole.component_type();
        let names: Vec<&str> = exports.exports(&self.wasmtime).map(|(name, _)| name).collect();
        let command = names.iter().find(|name| is_of(name, RUN_2) || is_of(name, RUN_3));
        let path = match command {
            _ if !export.is_empty() => self.exported(&exports, export)?,
            Some(command) => vec![*command, "run"],
            None => return Err(no_entry(&format!("{RUN_2}x or {RUN_3}x"), names.into_iter())),
        };
        entering();
        let instance = match self.components.instantiate_async(&mut *store, whole).await {
            Ok(instance) => instance,
            Err(error) => return ended_early(&error),
        };
        let mut index = None;
        for name in &path {
            index = instance.get_export_index(&mut *store, index.as_ref(), name);
        }
        let index = index.ok_or_else(|| no_entry(&path.join("."), names.iter().copied()))?;
        if export.is_empty() {
            let run = instance
                .get_typed_func::<(), (Result<(), ()>,)>(&mut *store, index)
                .map_err(|error| format!("cannot start: {error}"))?;
            let ran = if is_of(path[0], RUN_3) {
                run_tasks(store, run).await
            } else {
                run.call_async(store, ()).await
            };
            return Ok(match ran {
                Ok((Ok(()),)) => outcomes::exited(0),
                Ok((Err(()),)) => outcomes::exited(1),
                Err(error) => ended(&error),
            });
        }
        let function = instance.get_func(&mut *store, index).ok_or_else(|| cannot_call(export))?;
        let mut results = vec![component::Val::Bool(false); function.ty(&*store).results().len()];
        Ok(match function.call_async(store, &[], &mut results).await {
            Ok(()) => returned(results.pop()),
            Err(error) => ended(&error),
        })
    }

    /// Where a function that can be called is found, name by name.
    fn exported<'a>(
        &self,
        exports: &types::Component,
        export: &'a str,
    ) -> Result<Vec<&'a str>, String> {
        let mut path = vec![export];
        let mut found = exports.get_export(&self.wasmtime, export).map(|each| each.ty);
        if let (None, Some((instance, name))) = (&found, export.rsplit_once('#')) {
            path = vec![instance, name];
            let holder = exports.get_export(&self.wasmtime, instance).map(|each| each.ty);
            if let Some(ComponentItem::ComponentInstance(holder)) = holder {
                found = holder.get_export(&self.wasmtime, name).map(|each| each.ty);
            }
        }
        match found {
            Some(ComponentItem::ComponentFunc(ty)) if is_callable(&ty) => Ok(path),
            Some(_) => Err(cannot_call(export)),
            None => Err(no_entry(export, exports.exports(&self.wasmtime).map(|(name, _)| name))),
        }
    }
}

fn can_call(ty: &ExternType) -> bool {
    let ExternType::Func(ty) = ty else { return false };
    let integer = |each: ValType| matches!(each, ValType::I32 | ValType::I64);
    ty.params().len() == 0 && ty.results().len() <= 1 && ty.results().all(integer)
}

fn is_callable(ty: &types::ComponentFunc) -> bool {
    use types::Type::{self, S8, S16, S32, S64, U8, U16, U32, U64};
    let integers = [S8, S16, S32, S64, U8, U16, U32, U64];
    let fits = |each: Type| match each {
        Type::Result(ty) => ty.ok().is_none() && ty.err().is_none_or(|error| error == Type::String),
        each => integers.contains(&each),
    };
    ty.params().len() == 0 && ty.results().all(fits)
}

/// What a function of a component returned, as an ending.
fn returned(result: Option<component::Val>) -> Outcome {
    use component::Val;
    match result {
        Some(Val::S8(code)) => outcomes::exited(code),
        Some(Val::S16(code)) => outcomes::exited(code),
        Some(Val::S32(code)) => outcomes::exited(code),
        Some(Val::S64(code)) => outcomes::exited(code),
        Some(Val::U8(code)) => outcomes::exited(code),
        Some(Val::U16(code)) => outcomes::exited(code),
        Some(Val::U32(code)) => outcomes::exited(code),
        Some(Val::U64(code)) => outcomes::exited(code),
        Some(Val::Result(Err(why))) => outcomes::refused(match why.map(|why| *why) {
            Some(Val::String(why)) => why,
            _ => String::new(),
        }),
        _ => outcomes::exited(0),
    }
}

fn cannot_call(export: &str) -> String {
    format!(
        "cannot call {export}: only functions without parameters can be called, which return \
         nothing, an integer, or, of a component, a result with no more than a string as error"
    )
}

/// Run a command of WASI 0.3, and what it has begun beside, to the end.
async fn run_tasks(
    store: &mut Store<Guest>,
    run: TypedFunc<(), (Result<(), ()>,)>,
) -> wasmtime::Result<(Result<(), ()>,)> {
    let all = async |tasks: &component::Accessor<Guest>| {
        let said = run.call_concurrent(tasks, ()).await?;
        poll_fn(|cx| tasks.poll_no_interesting_tasks(cx)).await;
        Ok(said)
    };
    store.run_concurrent(all).await?
}

/// An engine for components that answer HTTP.
///
/// Their code gives way when an epoch ends, so that none can hold the thread.
pub struct Proxies {
    pub wasmtime: wasmtime::Engine,
    kind: Kind,
    linker: component::Linker<Guest>,
}

impl Proxies {
    fn compiler(kind: Kind) -> wasmtime::Result<Self> {
        Self::with(kind, &mut config())
    }

    /// One with room for so many instances, whose memory is used again.
    ///
    /// What it reserves is address space; memory is taken as it is written.
    pub fn pooling(kind: Kind, instances: u32) -> wasmtime::Result<Self> {
        let stacks_each = if kind == Kind::Service { STACKS_EACH } else { 1 };
        let mut pool = PoolingAllocationConfig::default();
        pool.total_stacks(instances * stacks_each)
            .total_component_instances(instances)
            .total_core_instances(instances * MODULES_EACH)
            .total_tables(instances * MODULES_EACH)
            .total_memories(instances * 2)
            .total_gc_heaps(instances)
            .table_elements(TABLE_ELEMENTS)
            .linear_memory_keep_resident(KEPT_BYTES)
            .table_keep_resident(KEPT_BYTES)
            .pagemap_scan(Enabled::Auto);
        let strategy = InstanceAllocationStrategy::Pooling(pool);
        Self::with(kind, config().allocation_strategy(strategy))
    }

    fn with(kind: Kind, config: &mut Config) -> wasmtime::Result<Self> {
        let tasks = kind == Kind::Service;
        let wasmtime = wasmtime::Engine::new(serving(config, tasks))?;
        let linker = component_linker(&wasmtime, tasks)?;
        Ok(Self { wasmtime, kind, linker })
    }

    /// Map compiled code from the cache, ready to be made instances of.
    ///
    /// # Errors
    /// The file is not this engine's.
    pub fn load(&self, path: &str) -> wasmtime::Result<ProxyPre<Guest>> {
        // SAFETY: as in `Engine::load`.
        let whole = unsafe { Component::deserialize_file(&self.wasmtime, path) }?;
        let pre = self.linker.instantiate_pre(&whole)?;
        Ok(if self.kind == Kind::Service {
            ProxyPre::P3(http::p3::bindings::ServicePre::new(pre)?)
        } else {
            ProxyPre::P2(http::p2::bindings::ProxyPre::new(pre)?)
        })
    }
}

fn config() -> Config {
    let mut config = Config::new();
    // Else a trap's text advises to set a variable that no guest has.
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

/// What code that answers HTTP is compiled with, in addition.
fn serving(config: &mut Config, tasks: bool) -> &Config {
    // What tasks need beside each other costs each call something.
    config.epoch_interruption(true).concurrency_support(tasks)
}

/// Link what components of WASI 0.2 need, and of 0.3, where there are `tasks`.
fn component_linker(
    wasmtime: &wasmtime::Engine,
    tasks: bool,
) -> wasmtime::Result<component::Linker<Guest>> {
    let mut linker = component::Linker::new(wasmtime);
    p2::add_to_linker_async(&mut linker)?;
    http::p2::add_only_http_to_linker_async(&mut linker)?;
    if tasks {
        p3::add_to_linker(&mut linker)?;
        http::p3::add_to_linker(&mut linker)?;
    }
    lookups::add_to_linker(&mut linker, tasks)?;
    Ok(linker)
}

fn compile_component(
    wasmtime: &wasmtime::Engine,
    linker: &component::Linker<Guest>,
    kind: Kind,
    binary: &[u8],
) -> wasmtime::Result<Compiled> {
    let whole = Component::from_binary(wasmtime, binary)?;
    let imports = whole.component_type();
    let missing: Vec<String> = imports
        .imports(wasmtime)
        .map(|(name, _)| name.to_owned())
        .filter(|name| is_foreign(name, kind != Kind::Proxy))
        .collect();
    if missing.is_empty() {
        linker.instantiate_pre(&whole)?;
    }
    Ok(Compiled { kind, code: whole.serialize()?, missing })
}

/// What a component is for: told by its exports before it is compiled.
fn kind(binary: &[u8]) -> wasmparser::Result<Kind> {
    let (mut depth, mut found) = (0, Kind::Component);
    for payload in Parser::new(0).parse_all(binary) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    let name = export?.name.name;
                    if is_of(name, RUN_2) || is_of(name, RUN_3) {
                        return Ok(Kind::Component);
                    } else if is_of(name, HANDLER_3) {
                        found = Kind::Service;
                    } else if is_of(name, HANDLER_2) && found == Kind::Component {
                        found = Kind::Proxy;
                    }
                }
            }
            _ => (),
        }
    }
    Ok(found)
}

/// Whether it is that interface in a version with this beginning; drafts such
/// as 0.3.0-rc-2025-09-16 are others.
fn is_of(name: &str, versions: &str) -> bool {
    let patch = name.strip_prefix(versions);
    patch.is_some_and(|patch| patch.bytes().all(|digit| digit.is_ascii_digit()))
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

/// The code that a guest asked to end with, if that is what this is.
pub fn exit_code(error: &wasmtime::Error) -> Option<u32> {
    let of_module = error.downcast_ref::<GuestExit>().map(|exit| exit.0);
    of_module.or_else(|| error.downcast_ref::<I32Exit>().map(|exit| exit.0.cast_unsigned()))
}

/// Whether an import is of what nobody gives: WASI 0.2, and 0.3 to all but
/// those who serve HTTP by 0.2.
fn is_foreign(name: &str, tasks: bool) -> bool {
    let Some((interface, _)) = name.split_once('@') else { return true };
    let versions: &[&str] = if tasks { &["0.2.", "0.3."] } else { &["0.2."] };
    let known = versions.iter().any(|each| is_of(name, &format!("{interface}@{each}")));
    let package = PACKAGES.iter().any(|each| interface.starts_with(&format!("wasi:{each}/")));
    !known || !(package || HTTP.contains(&interface))
}

fn no_entry<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names = names.collect::<Vec<_>>().join(", ");
    let names = if names.is_empty() { "-" } else { &names };
    format!("cannot start: the module exports no {wanted}; it exports {names}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_shown_is_the_one_built() {
        let built = format!("\nwasmtime = {{ version = \"{WASMTIME}\"");
        assert!(include_str!("../Cargo.toml").contains(&built));
    }

    #[test]
    fn what_a_component_exports_says_what_it_is() {
        let exporting = |names: &[&str]| {
            let export = |name: &&str| format!("(export \"{name}\" (instance $i))");
            let exports = names.iter().map(export).collect::<Vec<_>>().concat();
            let text = format!(
                "(component (component (instance $i) (export \"{HANDLER_2}0\" (instance $i)))
                   (core module) (instance $i) {exports})"
            );
            kind(&wat::parse_str(text).unwrap()).unwrap()
        };

        for (names, what) in [
            (vec!["wasi:http/incoming-handler@0.2.3"], Kind::Proxy),
            (vec!["wasi:http/handler@0.3.0"], Kind::Service),
            (vec!["wasi:http/incoming-handler@0.2.3", "wasi:http/handler@0.3.1"], Kind::Service),
            (vec!["wasi:cli/run@0.2.3"], Kind::Component),
            (vec!["wasi:http/incoming-handler@0.2.3", "wasi:cli/run@0.2.3"], Kind::Component),
            (vec!["wasi:http/handler@0.3.0", "wasi:cli/run@0.3.0"], Kind::Component),
            (vec!["wasi:http/handler@0.3.0-rc-2025-09-16"], Kind::Component),
            (vec!["wasi:http/incoming-handler@0.3.0"], Kind::Component),
            (vec![], Kind::Component),
        ] {
            assert_eq!(exporting(&names), what, "{names:?}");
        }
    }

    #[test]
    fn what_is_given_depends_on_the_version() {
        for (name, to_one_of_2, to_others) in [
            ("wasi:cli/stdout@0.2.6", true, true),
            ("wasi:cli/stdout@0.3.0", false, true),
            ("wasi:cli/stdout@0.3.0-rc-2025-09-16", false, false),
            ("wasi:cli/stdout@0.4.0", false, false),
            ("wasi:http/client@0.3.0", false, true),
            ("wasi:http/handler@0.3.0", false, false),
            ("wasi:nn/graph@0.2.0", false, false),
            ("test:own/thing", false, false),
        ] {
            assert_eq!(
                (!is_foreign(name, false), !is_foreign(name, true)),
                (to_one_of_2, to_others)
            );
        }
    }

    #[test]
    fn code_for_many_guests_fits_the_pool() {
        let hash = |engine: &wasmtime::Engine| {
            let mut hasher = DefaultHasher::new();
            engine.precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };

        for kind in [Kind::Proxy, Kind::Service] {
            let compiler = Proxies::compiler(kind).unwrap();
            let pool = Proxies::pooling(kind, 4).unwrap();
            assert_eq!(hash(&compiler.wasmtime), hash(&pool.wasmtime));
        }
    }
}
