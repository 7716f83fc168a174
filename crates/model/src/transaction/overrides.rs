//! Settings that rules override for one stream: timeouts, retries, queue priority, packet
//! marks. Few streams have any, so they are boxed, and a stream without them pays for one
//! check.

use super::{RuleState, Stream};
use crate::config::Timeouts;
use http::message::Message;
use reactor::Instant;
use rustix::net::sockopt;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// What rules have set.
#[derive(Clone, Default, Debug)]
pub struct Overrides {
    /// Timeouts (`set-timeout`); those that are `None` are the proxies'.
    pub limits: Timeouts,
    /// `set-retries`.
    pub retries: Option<u32>,
    /// Its place in queues.
    pub priority: Priority,
    /// Of packets to the client.
    pub to_client: Packets,
    /// Of packets to the server.
    pub to_server: Packets,
    /// `to_client` was set since it was put into effect.
    pub unsaid: bool,
    /// `tcp-response content close`: nobody uses the server's connection after.
    pub closes_server: bool,
    /// Early answers that rules made and that were not sent yet, with the rule that
    /// each began with.
    pub hints: Vec<(usize, Message)>,
    /// `expect-proxy layer4`: a PROXY header comes first.
    pub expects_proxy: bool,
    /// `expect-netscaler-cip layer4`: a NetScaler Client IP header comes first.
    pub expects_netscaler: bool,
    /// The backend that was chosen before HTTP was spoken.
    pub backend: Option<crate::config::ProxyIndex>,
    /// Rules of `tcp-response content` wait for the head of the answer.
    pub inspection: Option<Inspection>,
    /// Numbers of the content rules that have had an effect which is not repeated when their
    /// list restarts. At most as many as the list has rules.
    pub done_once: Vec<u32>,
}

/// Rules that wait for the head of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Inspection {
    /// Until when (`tcp-response inspect-delay`).
    pub until: Option<Instant>,
}

/// Who goes first in a queue: the lower class, then who came (or counts as having
/// come) first.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Priority {
    /// `set-priority-class`.
    pub class: i16,
    /// `set-priority-offset`, milliseconds.
    pub offset_ms: i32,
}

/// What packets carry for those on the way.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Packets {
    /// The kernel's mark of them (`SO_MARK`).
    pub mark: Option<u32>,
    /// The field for the kind of service.
    pub tos: Option<u8>,
}

impl Packets {
    /// Puts it into effect. What the system refuses (a mark without the right
    /// to set one) is left as it was, as in HAProxy.
    pub fn apply(self, socket: impl AsFd, peer: Option<SocketAddr>) {
        if let Some(mark) = self.mark {
            let _ = set_mark(&socket, mark);
        }
        let Some(tos) = self.tos else { return };
        // A socket of IPv6 may carry IPv4; then only one of both has an effect.
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
    /// What rules set for the stream, to be changed.
    pub fn overrides_mut(&mut self) -> &mut Overrides {
        self.overrides.get_or_insert_default()
    }

    /// Whether a content rule has had its effect already.
    pub(crate) fn is_done(&self, rule: u32) -> bool {
        let set = self.overrides.as_ref();
        set.is_some_and(|set| set.done_once.contains(&rule))
    }

    /// A list of content rules is over: the next one starts without done rules.
    pub(crate) fn forget_done(&mut self) {
        if let Some(set) = &mut self.overrides {
            set.done_once.clear();
        }
    }

    fn limit(&self, of: impl Fn(&Timeouts) -> Option<u32>) -> Option<u32> {
        self.overrides.as_ref().and_then(|set| of(&set.limits))
    }

    /// Its place in queues.
    pub fn priority(&self) -> Priority {
        let set = self.overrides.as_ref();
        set.map_or_else(Priority::default, |set| set.priority)
    }

    /// Whether a rule wants the server's connection closed.
    pub fn closes_server(&self) -> bool {
        let set = self.overrides.as_ref();
        set.is_some_and(|set| set.closes_server)
    }
}

impl Stream {
    /// Those of its backend; in a `listen` they are known before it has one.
    fn timeouts_of_servers(&self) -> Option<&Timeouts> {
        let own = Some(self.frontend()).filter(|proxy| proxy.kind.is_backend());
        self.backend().or(own).map(|proxy| &proxy.timeouts)
    }

    /// How long its client may be silent, milliseconds.
    pub fn client_ms(&self) -> Option<u32> {
        self.rules
            .limit(|limits| limits.client_ms)
            .or(self.frontend().timeouts.client_ms)
    }

    /// How long its server may be silent.
    pub fn server_ms(&self) -> Option<u32> {
        self.rules
            .limit(|limits| limits.server_ms)
            .or_else(|| self.timeouts_of_servers()?.server_ms)
    }

    /// How long both may be silent in a tunnel.
    pub fn tunnel_ms(&self) -> Option<u32> {
        self.rules
            .limit(|limits| limits.tunnel_ms)
            .or_else(|| self.timeouts_of_servers()?.tunnel_ms)
            .or(self.frontend().timeouts.tunnel_ms)
    }

    /// How long a connection to its server may take.
    pub fn connect_ms(&self) -> Option<u32> {
        self.rules
            .limit(|limits| limits.connect_ms)
            .or_else(|| self.timeouts_of_servers()?.connect_ms)
    }

    /// How long it may wait in queues.
    pub fn queue_ms(&self) -> Option<u32> {
        self.rules.limit(|limits| limits.queue_ms).or_else(|| {
            let timeouts = self.timeouts_of_servers()?;
            timeouts.queue_ms.or(timeouts.connect_ms)
        })
    }

    /// How long a tarpit holds it.
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
