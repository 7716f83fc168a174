//! One connection of HTTP: where its client is, and who that is, once NTLM has said it: NTLM authenticates
//! a connection, not a request.

use crate::server::Place;
use part::lock;
use protocol::ntlm::Exchange;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Who is at a connection.
#[derive(Debug, Default)]
pub(super) enum Known {
    /// Nobody that is known.
    #[default]
    Nobody,
    /// Somebody who has got this challenge.
    Challenged(Exchange),
    /// This user.
    User(String),
}

/// A connection of HTTP.
pub struct Visitor {
    /// Where the connection comes from: a client, or a proxy in front.
    pub peer: IpAddr,
    /// The address at which it has reached us.
    pub here: IpAddr,
    /// The hashes of our certificate, by which NTLM names the connection.
    pub channels: Arc<[[u8; 16]]>,
    place: Mutex<Place>,
    known: Mutex<Known>,
}

impl Visitor {
    /// A new one.
    pub fn new(place: Place, here: IpAddr, channels: Arc<[[u8; 16]]>) -> Visitor {
        Visitor {
            peer: place.from,
            here,
            channels,
            place: Mutex::new(place),
            known: Mutex::default(),
        }
    }

    /// Where the client of the present request is.
    pub fn from(&self) -> IpAddr {
        lock(&self.place).from
    }

    /// The next request is of this client. Another one behind the same proxy has to authenticate itself.
    pub fn set_from(&self, from: IpAddr) {
        let mut place = lock(&self.place);
        if place.from != from {
            place.move_to(from);
            drop(place);
            self.know(Known::Nobody);
        }
    }

    /// It carries a tunnel to a host: only the bound of all connections counts it.
    pub(super) fn routed(&self) {
        lock(&self.place).routed();
    }

    /// Returns when the address at which it has reached us has left this machine.
    pub(super) async fn gone(&self) {
        let home = lock(&self.place).home.clone();
        home.gone().await;
    }

    /// The user, if NTLM has said it.
    pub(super) fn user(&self) -> Option<String> {
        match &*lock(&self.known) {
            Known::User(name) => Some(name.clone()),
            Known::Nobody | Known::Challenged(_) => None,
        }
    }

    pub(super) fn know(&self, known: Known) {
        *lock(&self.known) = known;
    }

    /// Takes what is known: a challenge is good once.
    pub(super) fn take(&self) -> Known {
        std::mem::take(&mut lock(&self.known))
    }
}
