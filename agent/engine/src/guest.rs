//! What belongs to one guest: what it may see, where it writes, what it may take.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;
use wasmtime::ResourceLimiter;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_io::bytes::Bytes;

use crate::output::{Output, Which};
use crate::records::Spec;

const PERMIT_BYTES: usize = 1 << 16;
const RIGHT_AFTER: Duration = Duration::from_secs(1);

/// The data of a guest's store.
pub struct Guest {
    pub wasi: WasiP1Ctx,
    pub memory: Memory,
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
        output: &'static Output,
        limit_bytes: Option<usize>,
    ) -> Result<Self, String> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.args(&spec.argv).envs(&spec.env);
        wasi.stdout(Pipe(output, Which::Stdout)).stderr(Pipe(output, Which::Stderr));
        wasi.allow_tcp(false).allow_udp(false);
        wasi.allow_blocking_current_thread(true); // there is no other guest here to be held up
        for each in &spec.mounts {
            let perms = if each.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
            wasi.preopened_dir(&each.host_path, &each.guest_path, perms).map_err(|error| {
                let (host, guest) = (&each.host_path, &each.guest_path);
                format!("cannot open {host} for mount {guest}: {error}")
            })?;
        }
        Ok(Self { wasi: wasi.build_p1(), memory: Memory::new(limit_bytes) })
    }

    /// A guest that sees nothing: to ask linkers what they give.
    pub fn nobody() -> Self {
        Self { wasi: WasiCtxBuilder::new().build_p1(), memory: Memory::new(None) }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

/// One of the guest's outputs, as WASI wants it.
#[derive(Clone, Copy)]
struct Pipe(&'static Output, Which);

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(*self)
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(*self)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Pipe {
    async fn ready(&mut self) {}
}

impl OutputStream for Pipe {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write(self.1, &bytes);
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
        self.0.write(self.1, data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The bound on all linear memory of a guest, and when it was last felt.
pub struct Memory {
    limit_bytes: Option<usize>,
    used_bytes: usize,
    denied: Option<(usize, Instant)>,
}

impl Memory {
    fn new(limit_bytes: Option<usize>) -> Self {
        Self { limit_bytes, used_bytes: 0, denied: None }
    }

    /// How much it was denied, and the limit, if its last word on memory was a
    /// denial and came just now: what ends abnormally after that ends of it.
    pub fn denied_just_now(&self) -> Option<(usize, usize)> {
        let (wanted_bytes, at) = self.denied?;
        (at.elapsed() < RIGHT_AFTER).then_some((wanted_bytes, self.limit_bytes?))
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
        let wanted = self.used_bytes + (desired - current);
        let allowed = self.limit_bytes.is_none_or(|limit| wanted <= limit);
        if allowed {
            (self.used_bytes, self.denied) = (wanted, None);
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

    #[test]
    fn all_memories_together_have_one_limit() {
        let mut memory = Memory::new(Some(100));

        assert!(memory.memory_growing(0, 60, None).unwrap());
        assert!(!memory.memory_growing(0, 60, None).unwrap());
        assert_eq!(memory.denied_just_now(), Some((120, 100)));
        assert!(memory.memory_growing(0, 40, None).unwrap());
        assert_eq!(memory.denied_just_now(), None);
    }

    #[test]
    fn asking_for_more_than_was_declared_costs_nothing() {
        let mut memory = Memory::new(Some(100));

        assert!(memory.memory_growing(0, 90, Some(50)).unwrap());
        assert!(memory.memory_growing(0, 100, None).unwrap());
    }
}
