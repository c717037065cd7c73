//! Where connections come from: ports, and the agent's own socket.

use std::io;
use std::net::{IpAddr, TcpListener as StdTcpListener};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::process;

/// The listeners of a worker.
pub struct Doors {
    pub(super) guest: StdUnixListener,
    pub(super) admin: StdUnixListener,
    pub(super) ports: Vec<StdTcpListener>,
}

impl Doors {
    /// As they come with an order: guest, admin, ports.
    ///
    /// # Errors
    /// There are fewer than two.
    pub fn of(fds: Vec<OwnedFd>) -> Result<Self, String> {
        let mut fds = fds.into_iter();
        let (Some(guest), Some(admin)) = (fds.next(), fds.next()) else {
            return Err("cannot serve: it was given no sockets".into());
        };
        let ports = fds.map(StdTcpListener::from).collect();
        Ok(Self { guest: guest.into(), admin: admin.into(), ports })
    }

    /// Descriptors of this process that are none of these.
    pub(super) fn all_others(&self) -> io::Result<Vec<RawFd>> {
        let mut all = process::open_descriptors()?;
        let private = [self.guest.as_raw_fd(), self.admin.as_raw_fd()];
        all.retain(|fd| !private.contains(fd));
        all.retain(|&fd| self.ports.iter().all(|port| port.as_raw_fd() != fd));
        Ok(all)
    }
}

/// Where a connection came from.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Via {
    Port(IpAddr),
    Agent,
}

/// What can be accepted from.
pub(super) trait Door: Send + 'static {
    type Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Connection, Via)>>;
}

impl Door for TcpListener {
    type Connection = TcpStream;

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, Via)>> {
        self.poll_accept(cx).map_ok(|(connection, peer)| {
            let _ = connection.set_nodelay(true); // it has gone: reading says so
            (connection, Via::Port(peer.ip().to_canonical()))
        })
    }
}

impl Door for UnixListener {
    type Connection = UnixStream;

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, Via)>> {
        self.poll_accept(cx).map_ok(|(connection, _)| (connection, Via::Agent))
    }
}
