//! Holds the state of one HTTP connection: the client's address, and the user once NTLM has
//! authenticated it. NTLM authenticates a connection, not a request.

use crate::server::ConnectionSlot;
use part::lock;
use protocol::ntlm::Exchange;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
pub(super) enum AuthenticationState {
    #[default]
    Nobody,
    Challenged(Exchange),
    User(String),
}

/// State of an HTTP connection.
pub struct Visitor {
    /// Address of the other end of the connection: a client, or a proxy in front of it.
    pub peer: IpAddr,
    pub here: IpAddr,
    /// Channel binding hashes of the certificate, by which NTLM identifies the connection.
    pub channels: Arc<[[u8; 16]]>,
    place: Mutex<ConnectionSlot>,
    known: Mutex<AuthenticationState>,
}

impl Visitor {
    pub fn new(place: ConnectionSlot, here: IpAddr, channels: Arc<[[u8; 16]]>) -> Visitor {
        Visitor {
            peer: place.from,
            here,
            channels,
            place: Mutex::new(place),
            known: Mutex::default(),
        }
    }

    pub fn from(&self) -> IpAddr {
        lock(&self.place).from
    }

    /// Sets the client address of the next request. If it differs from the previous one, the
    /// connection has to authenticate again: another client is behind the same proxy.
    pub fn set_from(&self, from: IpAddr) {
        let mut place = lock(&self.place);
        if place.from != from {
            place.move_to(from);
            drop(place);
            self.know(AuthenticationState::Nobody);
        }
    }

    /// Records that the connection carries a tunnel to a host. From then on only the limit of all
    /// connections counts it.
    pub(super) fn routed(&self) {
        lock(&self.place).routed();
    }

    /// Returns when the local address of the connection has left this machine.
    pub(super) async fn wait_until_address_removed(&self) {
        let home = lock(&self.place).home.clone();
        home.wait_until_removed().await;
    }

    pub(super) fn user(&self) -> Option<String> {
        match &*lock(&self.known) {
            AuthenticationState::User(name) => Some(name.clone()),
            AuthenticationState::Nobody | AuthenticationState::Challenged(_) => None,
        }
    }

    pub(super) fn know(&self, known: AuthenticationState) {
        *lock(&self.known) = known;
    }

    /// Takes the authentication state, since a challenge is valid only once.
    pub(super) fn take(&self) -> AuthenticationState {
        std::mem::take(&mut lock(&self.known))
    }
}
