//! `wasi:sockets/ip-name-lookup`, where the pod may look names up.
//!
//! The library's own has one switch that says nothing; this asks the grants
//! first, so that a denial is counted and told as the others are.

use wasmtime::component::{Accessor, HasData, Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup as p2;
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{DynPollable, SocketError};
use wasmtime_wasi::p3::bindings::sockets::{ip_name_lookup as p3, types};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsCtxView, WasiSocketsView};

use crate::grants::Grants;
use crate::guest::Guest;

/// Put these in the library's place.
pub fn add_to_linker(linker: &mut Linker<Guest>, with_p3: bool) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    p2::add_to_linker::<_, Asked>(linker, Guest::lookups)?;
    if with_p3 {
        p3::add_to_linker::<_, Asked>(linker, Guest::lookups)?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// A guest's lookups.
pub struct Lookups<'a> {
    pub sockets: WasiSocketsCtxView<'a>,
    pub grants: &'a Grants,
}

struct Asked;

impl HasData for Asked {
    type Data<'a> = Lookups<'a>;
}

impl p2::Host for Lookups<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Resource<p2::ResolveAddressStream>, SocketError> {
        if !self.grants.may_resolve(&name) {
            return Err(ErrorCode::PermanentResolverFailure.into()); // the library's word for it
        }
        self.sockets.resolve_addresses(network, name)
    }
}

impl p2::HostResolveAddressStream for Lookups<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<p2::ResolveAddressStream>,
    ) -> Result<Option<IpAddress>, SocketError> {
        self.sockets.resolve_next_address(stream)
    }

    fn subscribe(
        &mut self,
        stream: Resource<p2::ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        p2::HostResolveAddressStream::subscribe(&mut self.sockets, stream)
    }

    fn drop(&mut self, stream: Resource<p2::ResolveAddressStream>) -> wasmtime::Result<()> {
        p2::HostResolveAddressStream::drop(&mut self.sockets, stream)
    }
}

impl network::Host for Lookups<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.sockets.network_error_code(error)
    }
}

impl network::HostNetwork for Lookups<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.sockets, network)
    }
}

impl p3::Host for Lookups<'_> {}

impl p3::HostWithStore<Guest> for Asked {
    async fn resolve_addresses(
        asked: &Accessor<Guest, Self>,
        name: String,
    ) -> wasmtime::Result<Result<Vec<types::IpAddress>, p3::ErrorCode>> {
        if !asked.with(|mut access| access.get().grants.may_resolve(&name)) {
            return Ok(Err(p3::ErrorCode::PermanentResolverFailure));
        }
        let library = asked.with_getter::<WasiSockets>(Guest::sockets);
        <WasiSockets as p3::HostWithStore<Guest>>::resolve_addresses(&library, name).await
    }
}
