//! What belongs to one guest: what it may see, where it writes, what it may take.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use tokio::io::AsyncWrite;
use wasmtime::ResourceLimiter;
use wasmtime_wasi::cli::{InputFile, IsTerminal, OutputFile, StdoutStream};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::sockets::WasiSocketsView;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_io::bytes::Bytes;

use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::crilog::Stream;
use crate::grants::Grants;
use crate::lookups::Lookups;
use crate::news::News;
use crate::outgoing::Calls;
use crate::output::{Output, Which};
use crate::records::{Mount, Spec};
use crate::streams::Streams;

const PERMIT_BYTES: usize = 1 << 16;
const RIGHT_AFTER: Duration = Duration::from_secs(1);

/// The data of a guest's store.
pub struct Guest {
    pub wasi: WasiP1Ctx,
    pub memory: Memory,
    /// Its streams have to be waited for.
    pub waits: bool,
    http: WasiHttpCtx,
    calls: Calls,
}

impl Guest {
    /// Open what the guest may see; still with the runtime's own rights.
    ///
    /// `limit_bytes` bounds its memory where nobody else does.
    ///
    /// # Errors
    /// A mount is not there; the text says which.
    pub fn admit(
        spec: &Spec,
        streams: &Streams,
        news: &'static News,
        limit_bytes: Option<usize>,
    ) -> Result<Self, String> {
        let grants = Grants::read(spec.grants.as_ref(), streams, news)?;
        let mut wasi = context(spec, &grants);
        wasi.envs(&spec.env);
        streams.give(&mut wasi);
        wasi.allow_blocking_current_thread(true); // there is no other guest here to be held up
        for each in &spec.mounts {
            open(&mut wasi, each, &each.host_path)?;
        }
        let guest = Self::of(&mut wasi, Budget::new(limit_bytes), grants);
        Ok(Self { waits: matches!(streams, Streams::Given(_)), ..guest })
    }

    /// A guest that sees nothing: to ask linkers what they give.
    pub fn nobody() -> Self {
        Self::of(&mut WasiCtxBuilder::new(), Budget::new(None), Arc::new(Grants::none()))
    }

    fn of(wasi: &mut WasiCtxBuilder, budget: Arc<Budget>, grants: Arc<Grants>) -> Self {
        let memory = Memory { budget, used_bytes: 0, denied: None };
        Self {
            wasi: wasi.build_p1(),
            memory,
            waits: false,
            http: WasiHttpCtx::new(),
            calls: Calls(grants),
        }
    }

    /// What looks names up for it.
    pub fn lookups(&mut self) -> Lookups<'_> {
        Lookups { sockets: self.wasi.sockets(), grants: &self.calls.0 }
    }
}

/// What every one of many guests is given.
pub struct Guests {
    spec: Spec,
    output: &'static Output,
    mounts: Vec<OwnedFd>,
    budget: Arc<Budget>,
    pub grants: Arc<Grants>,
}

impl Guests {
    /// Open what they may see; still with the runtime's own rights.
    ///
    /// # Errors
    /// A mount is not there; the text says which.
    pub fn admit(spec: Spec, output: &'static Output, news: &'static News) -> Result<Self, String> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = |each: &Mount| {
            rustix::fs::open(&each.host_path, flags, Mode::empty())
                .map_err(|error| cannot_open(each, &error))
        };
        let mounts = spec.mounts.iter().map(directory).collect::<Result<_, _>>()?;
        let budget = Budget::new(spec.memory_limit_bytes);
        let grants = Grants::read(spec.grants.as_ref(), &Streams::Logged(output), news)?;
        Ok(Self { spec, output, mounts, budget, grants })
    }

    /// Add a line of our own to their log.
    pub fn log(&self, text: &str) {
        self.output.write(Which::Stderr, text.as_bytes());
    }

    /// The only one of its process, with these files and more variables.
    ///
    /// # Errors
    /// As of `one`.
    pub fn run(
        &self,
        variables: &[(String, String)],
        input: File,
        output: File,
    ) -> Result<Guest, String> {
        let mut wasi = self.context();
        let is_given = |name: &String| variables.iter().any(|(given, _)| given == name);
        let own = self.spec.env.iter().filter(|(name, _)| !is_given(name));
        wasi.envs(&own.chain(variables).cloned().collect::<Vec<_>>());
        wasi.stdin(InputFile::new(input)).stdout(OutputFile::new(output));
        wasi.allow_blocking_current_thread(true);
        self.guest(wasi)
    }

    /// One more.
    ///
    /// # Errors
    /// A mount is the guest's no more; the text says which.
    pub fn one(&self) -> Result<Guest, String> {
        let mut wasi = self.context();
        wasi.envs(&self.spec.env).stdout(self.pipe("stdout"));
        self.guest(wasi)
    }

    fn context(&self) -> WasiCtxBuilder {
        let mut wasi = context(&self.spec, &self.grants);
        wasi.stderr(self.pipe("stderr"));
        wasi
    }

    fn pipe(&self, name: &'static str) -> Pipe {
        let lines = Lines { output: self.output, stream: Mutex::new(Stream::new(name)) };
        Pipe { output: self.output, to: To::Own(Arc::new(lines)) }
    }

    fn guest(&self, mut wasi: WasiCtxBuilder) -> Result<Guest, String> {
        for (each, held) in self.spec.mounts.iter().zip(&self.mounts) {
            open(&mut wasi, each, &format!("/proc/self/fd/{}", held.as_raw_fd()))?;
        }
        Ok(Guest::of(&mut wasi, Arc::clone(&self.budget), Arc::clone(&self.grants)))
    }
}

/// Have what the only guest here writes become lines of the log.
pub fn log(wasi: &mut WasiCtxBuilder, output: &'static Output) {
    let pipe = |which| Pipe { output, to: To::Only(which) };
    wasi.stdout(pipe(Which::Stdout)).stderr(pipe(Which::Stderr));
}

fn context(spec: &Spec, grants: &Arc<Grants>) -> WasiCtxBuilder {
    let mut wasi = WasiCtxBuilder::new();
    wasi.args(&spec.argv);
    // Each address and name is asked for, so that each denial is counted and told.
    let grants = Arc::clone(grants);
    wasi.allow_tcp(true).allow_udp(true).allow_ip_name_lookup(true); // names: `lookups`
    wasi.socket_addr_check(move |address, r#use| {
        Box::pin(std::future::ready(grants.allows(address, r#use)))
    });
    wasi
}

fn open(wasi: &mut WasiCtxBuilder, mount: &Mount, host_path: &str) -> Result<(), String> {
    let perms = if mount.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
    wasi.preopened_dir(host_path, &mount.guest_path, perms)
        .map(drop)
        .map_err(|error| cannot_open(mount, &error))
}

fn cannot_open(mount: &Mount, error: &dyn std::fmt::Display) -> String {
    format!("cannot open {} for mount {}: {error}", mount.host_path, mount.guest_path)
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let table = self.wasi.ctx().table;
        WasiHttpCtxView { ctx: &mut self.http, table, hooks: &mut self.calls }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

/// One of the guest's outputs, as WASI wants it.
#[derive(Clone)]
struct Pipe {
    output: &'static Output,
    to: To,
}

#[derive(Clone)]
enum To {
    /// The output of the only guest here, which a signal may end.
    Only(Which),
    /// That of one guest of many.
    Own(Arc<Lines>),
}

/// What one guest of many has written of a line.
struct Lines {
    output: &'static Output,
    stream: Mutex<Stream>,
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.output.end_of(self.stream.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Pipe {
    fn put(&self, data: &[u8]) {
        match &self.to {
            To::Only(which) => self.output.write(*which, data),
            To::Own(lines) => {
                let mut stream = lines.stream.lock().unwrap_or_else(PoisonError::into_inner);
                self.output.write_of(&mut stream, data);
            }
        }
    }
}

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Pipe {
    async fn ready(&mut self) {}
}

impl OutputStream for Pipe {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.put(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT_BYTES)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.put(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The bound on all linear memory of a container's guests together.
pub struct Budget {
    limit_bytes: Option<usize>,
    used_bytes: AtomicUsize,
}

impl Budget {
    fn new(limit_bytes: Option<usize>) -> Arc<Self> {
        Arc::new(Self { limit_bytes, used_bytes: AtomicUsize::new(0) })
    }
}

/// What a guest has of it, and when it last felt the bound.
pub struct Memory {
    budget: Arc<Budget>,
    used_bytes: usize,
    denied: Option<(usize, Instant)>,
}

impl Memory {
    /// How much was wanted in all, and the limit, if the guest's last word on
    /// memory was a denial and came just now: what ends abnormally after that
    /// ends of it.
    pub fn denied_just_now(&self) -> Option<(usize, usize)> {
        let (wanted_bytes, at) = self.denied?;
        (at.elapsed() < RIGHT_AFTER).then_some((wanted_bytes, self.budget.limit_bytes?))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.used_bytes, Relaxed);
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|most| desired > most) {
            return Ok(true); // more than it declared: that is denied by the engine, not by us
        }
        let more = desired - current;
        let wanted = self.budget.used_bytes.load(Relaxed) + more;
        let allowed = self.budget.limit_bytes.is_none_or(|limit| wanted <= limit);
        if allowed {
            self.budget.used_bytes.store(wanted, Relaxed); // guests run on one thread
            self.used_bytes += more;
            self.denied = None;
        } else {
            self.denied = Some((wanted, Instant::now()));
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Memory {
        fn of(budget: &Arc<Budget>) -> Self {
            Self { budget: Arc::clone(budget), used_bytes: 0, denied: None }
        }
    }

    #[test]
    fn all_memories_together_have_one_limit() {
        let mut memory = Memory::of(&Budget::new(Some(100)));

        assert!(memory.memory_growing(0, 60, None).unwrap());
        assert!(!memory.memory_growing(0, 60, None).unwrap());
        assert_eq!(memory.denied_just_now(), Some((120, 100)));
        assert!(memory.memory_growing(0, 40, None).unwrap());
        assert_eq!(memory.denied_just_now(), None);
    }

    #[test]
    fn asking_for_more_than_was_declared_costs_nothing() {
        let mut memory = Memory::of(&Budget::new(Some(100)));

        assert!(memory.memory_growing(0, 90, Some(50)).unwrap());
        assert!(memory.memory_growing(0, 100, None).unwrap());
    }

    #[test]
    fn guests_share_a_limit_and_give_back() {
        let budget = Budget::new(Some(100));
        let mut one = Memory::of(&budget);
        let mut other = Memory::of(&budget);

        assert!(one.memory_growing(0, 60, None).unwrap());
        assert!(!other.memory_growing(0, 60, None).unwrap());
        drop(one);
        assert!(other.memory_growing(0, 60, None).unwrap());
    }
}
