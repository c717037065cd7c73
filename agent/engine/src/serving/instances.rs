//! What answers requests: instances of one component, in memory used again.
//!
//! Until the first request there is nothing but a descriptor; engine, code and
//! pool are made for that, and dropped after a while without requests. With
//! `reuse` an instance that ended well is kept for the next request.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response};
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime_wasi_http::handler::{Proxy, ProxyPre};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView};

use super::exchange::Asked;
use super::service;
use super::stats::{Gauge, Held, Stats};
use super::ticking::Ticker;
use crate::engine::{self, Proxies};
use crate::guest::{Guest, Guests};
use crate::outcomes;
use crate::records::Kind;

/// What a guest answers.
pub type Answered = Result<Response<WasiBody>, Error>;

/// How a guest failed, for the log.
pub struct Failure(pub String);

/// A component, and what is made of it.
pub struct Instances {
    code: OwnedFd,
    kind: Kind,
    most: u32,
    reuse: u32,
    loaded: Mutex<Option<Arc<Loaded>>>,
}

/// Guests that are there.
#[derive(Clone, Default)]
pub struct Live(pub Arc<Gauge>);

impl AsRef<Gauge> for Live {
    fn as_ref(&self) -> &Gauge {
        &self.0
    }
}

struct Loaded {
    engine: wasmtime::Engine,
    pre: ProxyPre<Guest>,
    kept: Mutex<Kept>,
    _ticker: Ticker,
}

struct Kept {
    instances: Vec<Instance>,
    used_at: Instant,
}

struct Instance {
    store: Store<Guest>,
    proxy: Proxy,
    served: u32,
    _live: Held<Live>,
}

impl Instances {
    /// `most` instances at a time, each for `reuse` requests in turn.
    pub fn new(code: OwnedFd, kind: Kind, most: u32, reuse: u32) -> Self {
        Self { code, kind, most, reuse, loaded: Mutex::new(None) }
    }

    /// Have one answer, and see it to its end, which may come later.
    pub async fn answer(
        &self,
        guests: &Guests,
        live: Live,
        request: Request<Asked>,
        to: oneshot::Sender<Answered>,
        stats: &Stats,
    ) -> Result<(), Failure> {
        let loaded = self.loaded().map_err(|error| Failure(format!("cannot load: {error:?}")))?;
        let kept = lock(&loaded.kept).instances.pop();
        let mut instance = match kept {
            Some(instance) => instance,
            None => make(&loaded, guests, live, stats).await?,
        };
        match instance.handle(request, to).await {
            Ok(()) => {
                instance.served += 1;
                if instance.served < self.reuse {
                    lock(&loaded.kept).instances.push(instance);
                }
            }
            Err(error) if engine::exit_code(&error) == Some(0) => (),
            Err(error) => {
                stats.traps.add();
                return Err(instance.failure(&error));
            }
        }
        lock(&loaded.kept).used_at = Instant::now();
        Ok(())
    }

    fn loaded(&self) -> wasmtime::Result<Arc<Loaded>> {
        let mut loaded = lock(&self.loaded);
        if let Some(loaded) = &*loaded {
            return Ok(Arc::clone(loaded));
        }
        let proxies = Proxies::pooling(self.kind, self.most)?;
        let pre = proxies.load(&format!("/proc/self/fd/{}", self.code.as_raw_fd()))?;
        let ticker = Ticker::start(&proxies.wasmtime)?;
        let kept = Mutex::new(Kept { instances: Vec::new(), used_at: Instant::now() });
        let engine = proxies.wasmtime;
        Ok(Arc::clone(loaded.insert(Arc::new(Loaded { engine, pre, kept, _ticker: ticker }))))
    }

    /// Give back what was made for requests, if the last is so long ago; else
    /// say when to ask again. None: there is nothing.
    pub fn give_back(&self, live: &Live, idle: Duration) -> Option<Instant> {
        let mut loaded = lock(&self.loaded);
        let used_at = lock(&loaded.as_ref()?.kept).used_at;
        let in_use = live.0.get() > lock(&loaded.as_ref()?.kept).instances.len() as u64;
        if in_use {
            return Some(Instant::now() + idle);
        }
        if used_at.elapsed() < idle {
            return Some(used_at + idle);
        }
        *loaded = None;
        // SAFETY: it takes a number, and may be called by anyone at any time.
        #[cfg(target_env = "gnu")]
        unsafe {
            libc::malloc_trim(0)
        };
        None
    }
}

async fn make(
    loaded: &Loaded,
    guests: &Guests,
    live: Live,
    stats: &Stats,
) -> Result<Instance, Failure> {
    let guest = guests.one().map_err(Failure)?;
    let live = Held::new(live);
    let mut store = Store::new(&loaded.engine, guest);
    store.limiter(|guest| &mut guest.memory);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    stats.instances.add();
    match loaded.pre.instantiate_async(&mut store).await {
        Ok(proxy) => Ok(Instance { store, proxy, served: 0, _live: live }),
        Err(error) => {
            stats.traps.add();
            Err(failure(&store, &error))
        }
    }
}

impl Instance {
    async fn handle(
        &mut self,
        request: Request<Asked>,
        to: oneshot::Sender<Answered>,
    ) -> wasmtime::Result<()> {
        match &self.proxy {
            Proxy::P2(proxy) => {
                let mut http = self.store.data_mut().http();
                let request = http.new_incoming_request(Scheme::Http, request)?;
                let to = http.new_response_outparam_from_callback(|answer| {
                    let _ = to.send(answer.map_err(Error::from)); // nobody waits any more
                })?;
                let handler = proxy.wasi_http_incoming_handler();
                handler.call_handle(&mut self.store, request, to).await
            }
            Proxy::P3(service) => service::answer(&mut self.store, service, request, to).await,
        }
    }

    fn failure(&self, error: &wasmtime::Error) -> Failure {
        failure(&self.store, error)
    }
}

fn failure(store: &Store<Guest>, error: &wasmtime::Error) -> Failure {
    if let Some(code) = engine::exit_code(error) {
        return Failure(format!("the guest ended with code {code}\n"));
    }
    let trapped = outcomes::trapped(&format!("{error:?}"));
    Failure(match store.data().memory.denied_just_now() {
        Some((wanted, limit)) => {
            format!("{}\n", outcomes::out_of_memory(trapped, wanted, limit).message)
        }
        None => trapped.trace,
    })
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
