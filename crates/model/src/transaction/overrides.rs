//! Holds the settings that rules changed for one stream: timeouts, retries, queue priority,
//! packet marks. Few streams have any, so they are boxed, and a stream without them pays for one
//! check.

use super::{ProxyStream, RuleState};
use crate::config::Timeouts;
use http::message::HttpMessage;
use reactor::Instant;
use rustix::net::sockopt;
use std::net::SocketAddr;
use std::os::fd::AsFd;

#[derive(Clone, Default, Debug)]
pub struct Overrides {
    /// Timeouts (`set-timeout`); None keeps that of the proxy.
    pub limits: Timeouts,
    pub retries: Option<u32>,
    pub priority: Priority,
    pub to_client: Packets,
    pub to_server: Packets,
    /// `to_client` was changed and is not applied yet.
    pub unsaid: bool,
    /// `tcp-response content close`: the server's connection is not reused.
    pub closes_server: bool,
    /// Early responses that rules generated and that were not sent yet, each with the index of its
    /// first rule.
    pub hints: Vec<(usize, HttpMessage)>,
    /// `expect-proxy layer4`: the connection starts with a PROXY header.
    pub expects_proxy: bool,
    /// `expect-netscaler-cip layer4`: the connection starts with a NetScaler Client IP header.
    pub expects_netscaler: bool,
    /// Backend that was chosen before the switch to HTTP.
    pub backend: Option<crate::config::ProxyIndex>,
    /// `tcp-response content` rules wait for the head of the response.
    pub inspection: Option<Inspection>,
    /// Numbers of the content rules whose effect must not be repeated when their list restarts. At
    /// most as many as the list has rules.
    pub done_once: Vec<u32>,
}

/// Wait of rules for the head of a response.
#[derive(Clone, Copy, Debug)]
pub struct Inspection {
    /// End of the wait (`tcp-response inspect-delay`).
    pub until: Option<Instant>,
}

/// Priority in a queue: the lower class goes first, then the earlier arrival, shifted by the
/// offset.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Priority {
    pub class: i16,
    pub offset_ms: i32,
}

/// Packet settings for network equipment on the route.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Packets {
    /// Mark of the packets in the kernel (`SO_MARK`).
    pub mark: Option<u32>,
    /// Type of service (TOS, traffic class).
    pub tos: Option<u8>,
}

impl Packets {
    /// Applies the settings to a socket. A setting that the system refuses (a mark without the
    /// privilege) is ignored, as in HAProxy.
    pub fn apply(self, socket: impl AsFd, peer: Option<SocketAddr>) {
        if let Some(mark) = self.mark {
            let _ = set_mark(&socket, mark);
        }
        let Some(tos) = self.tos else { return };
        // Sets the option by the protocol of the peer: an IPv6 socket may carry IPv4, where only
        // one of the two options has an effect.
        if peer.is_none_or(|peer| peer.ip().to_canonical().is_ipv4()) {
            let _ = sockopt::set_ip_tos(&socket, tos);
        }
        if peer.is_none_or(|peer| peer.is_ipv6()) {
            let _ = sockopt::set_ipv6_tclass(&socket, tos.into());
        }
    }
}

fn set_mark(socket: &impl AsFd, mark: u32) -> nix::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt::Mark};
    setsockopt(&socket.as_fd(), Mark, &mark)
}

impl RuleState {
    pub fn overrides_mut(&mut self) -> &mut Overrides {
        self.overrides.get_or_insert_default()
    }

    pub(crate) fn is_done(&self, rule: u32) -> bool {
        let set = self.overrides.as_ref();
        set.is_some_and(|set| set.done_once.contains(&rule))
    }

    /// Clears the record of executed rules at the end of a list of content rules.
    pub(crate) fn forget_done(&mut self) {
        if let Some(set) = &mut self.overrides {
            set.done_once.clear();
        }
    }

    fn limit(&self, of: impl Fn(&Timeouts) -> Option<u32>) -> Option<u32> {
        self.overrides.as_ref().and_then(|set| of(&set.limits))
    }

    pub fn priority(&self) -> Priority {
        let set = self.overrides.as_ref();
        set.map_or_else(Priority::default, |set| set.priority)
    }

    pub fn closes_server(&self) -> bool {
        let set = self.overrides.as_ref();
        set.is_some_and(|set| set.closes_server)
    }
}

impl ProxyStream {
    /// Returns the timeouts of the backend. In a `listen` section they apply before the backend is
    /// chosen.
    fn timeouts_of_servers(&self) -> Option<&Timeouts> {
        let own = Some(self.frontend()).filter(|proxy| proxy.kind.is_backend());
        self.backend().or(own).map(|proxy| &proxy.timeouts)
    }

    /// Returns the client's inactivity timeout, milliseconds.
    pub fn client_ms(&self) -> Option<u32> {
        self.rules
            .limit(|limits| limits.client_ms)
            .or(self.frontend().timeouts.client_ms)
    }

    /// Returns the server's inactivity timeout, milliseconds.
    pub fn server_ms(&self) -> Option<u32> {
        self.rules
            .limit(|limits| limits.server_ms)
            .or_else(|| self.timeouts_of_servers()?.server_ms)
    }

    /// Returns the inactivity timeout of a tunnel, milliseconds.
    pub fn tunnel_ms(&self) -> Option<u32> {
        self.rules
            .limit(|limits| limits.tunnel_ms)
            .or_else(|| self.timeouts_of_servers()?.tunnel_ms)
            .or(self.frontend().timeouts.tunnel_ms)
    }

    pub fn connect_ms(&self) -> Option<u32> {
        self.rules
            .limit(|limits| limits.connect_ms)
            .or_else(|| self.timeouts_of_servers()?.connect_ms)
    }

    pub fn queue_ms(&self) -> Option<u32> {
        self.rules.limit(|limits| limits.queue_ms).or_else(|| {
            let timeouts = self.timeouts_of_servers()?;
            timeouts.queue_ms.or(timeouts.connect_ms)
        })
    }

    pub fn tarpit_ms(&self) -> Option<u32> {
        let timeouts = &self.backend().unwrap_or_else(|| self.frontend()).timeouts;
        self.rules
            .limit(|limits| limits.tarpit_ms)
            .or(timeouts.tarpit_ms)
            .or(timeouts.connect_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    #[test]
    fn packets_carry_the_kind_of_service_that_was_set() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let socket = TcpStream::connect(address).unwrap();
        let set = Packets {
            tos: Some(0x20),
            ..Packets::default()
        };
        set.apply(&socket, Some(address));
        assert_eq!(sockopt::ip_tos(&socket).unwrap(), 0x20);
        Packets::default().apply(&socket, Some(address));
        assert_eq!(sockopt::ip_tos(&socket).unwrap(), 0x20);
    }
}
