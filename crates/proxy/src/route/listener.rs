//! Finds the listener that would receive the request of a route query.

use model::config::{BindAddress, Config, ListenerIndex, Mode, Proxy, ProxyIndex};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListenerCriteria {
    pub tls: bool,
    pub port: u16,
    pub address: Option<IpAddr>,
    pub v6: bool,
    pub frontend: Option<String>,
}

/// Reason why no listener was found: none matches, or several do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotThere {
    #[error("no frontend is named '{name}'; frontends: {there}")]
    NoFrontend { name: String, there: String },
    #[error("no frontend listens {at} {how}; frontends: {there}")]
    Nobody {
        at: String,
        how: &'static str,
        there: String,
    },
    #[error("several frontends listen {at}: {there}")]
    Several { at: String, there: String },
    /// The named frontend has listeners, but none for the protocol of the request.
    #[error("frontend {name} does not listen {how}; frontends: {there}")]
    Otherwise {
        name: String,
        how: &'static str,
        there: String,
    },
}

struct Candidate<'c> {
    at: ListenerIndex,
    proxy: &'c Proxy,
    address: Option<SocketAddr>,
    is_unix: bool,
    tls: bool,
    only_v6: bool,
}

impl Candidate<'_> {
    /// Returns whether the listener can receive the request. A TLS request may also reach a
    /// listener in TCP mode that forwards the bytes unchanged.
    fn fits(&self, wanted: &ListenerCriteria) -> bool {
        if wanted.tls {
            self.tls || self.proxy.mode == Mode::Tcp
        } else {
            !self.tls
        }
    }

    fn takes(&self, v6: bool) -> bool {
        self.address.is_none_or(|at| match at.ip() {
            IpAddr::V4(_) => !v6,
            IpAddr::V6(ip) => v6 || (ip.is_unspecified() && !self.only_v6),
        })
    }

    fn words(&self) -> String {
        let address = match self.address {
            None if self.is_unix => "a Unix socket".to_owned(),
            None => "an address that is not in the file".to_owned(),
            Some(at) if at.ip().is_unspecified() && at.is_ipv4() => format!("*:{}", at.port()),
            Some(at) => at.to_string(),
        };
        let tls = if self.tls { " with TLS" } else { "" };
        format!("{} ({address}{tls})", self.proxy.name)
    }
}

/// Finds the listener, and the address that the client connects to.
///
/// # Errors
///
/// No listener matches, or several do.
pub fn find(
    config: &Config,
    wanted: &ListenerCriteria,
) -> Result<(ListenerIndex, Option<SocketAddr>), NotThere> {
    let all = candidates(config);
    let fit = match &wanted.frontend {
        Some(name) => named(&all, name, wanted)?,
        None => listening(&all, wanted),
    };
    let Some(first) = fit.first() else {
        return Err(NotThere::Nobody {
            at: wanted.at(),
            how: wanted.how(),
            there: listed(&all.iter().collect::<Vec<_>>()),
        });
    };
    if fit.iter().any(|one| one.at.frontend != first.at.frontend) {
        return Err(NotThere::Several {
            at: wanted.at(),
            there: listed(&fit),
        });
    }
    Ok((first.at, destination(first, wanted)))
}

impl ListenerCriteria {
    fn how(&self) -> &'static str {
        if self.tls { "with TLS" } else { "without TLS" }
    }

    fn at(&self) -> String {
        match self.address {
            Some(address) => format!("at {}", SocketAddr::new(address, self.port)),
            None => format!("on port {}", self.port),
        }
    }

    fn is_v6(&self) -> bool {
        self.address.map_or(self.v6, |address| address.is_ipv6())
    }
}

fn listed(some: &[&Candidate<'_>]) -> String {
    let words: Vec<String> = some.iter().map(|one| one.words()).collect();
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}

/// Finds a listener of the frontend that the operator named; its port may differ from that of the
/// request.
fn named<'a, 'c>(
    all: &'a [Candidate<'c>],
    name: &str,
    wanted: &ListenerCriteria,
) -> Result<Vec<&'a Candidate<'c>>, NotThere> {
    let own: Vec<_> = all.iter().filter(|one| *one.proxy.name == *name).collect();
    if own.is_empty() {
        let mut there: Vec<&str> = all.iter().map(|one| &*one.proxy.name).collect();
        there.dedup();
        let (name, there) = (name.to_owned(), there.join(", "));
        return Err(NotThere::NoFrontend { name, there });
    }
    let fit: Vec<_> = own.iter().copied().filter(|one| one.fits(wanted)).collect();
    if fit.is_empty() {
        return Err(NotThere::Otherwise {
            name: name.to_owned(),
            how: wanted.how(),
            there: listed(&own),
        });
    }
    let best = fit.into_iter().min_by_key(|one| {
        let is = |of: fn(&SocketAddr, &ListenerCriteria) -> bool| {
            one.address.is_some_and(|at| of(&at, wanted))
        };
        let is_port = is(|at, wanted| at.port() == wanted.port);
        let is_address = is(|at, wanted| Some(at.ip()) == wanted.address);
        (!is_port, !is_address, !one.takes(wanted.is_v6()))
    });
    Ok(best.into_iter().collect())
}

/// Returns all matching listeners. As in the kernel, an exact address takes precedence over a
/// wildcard.
fn listening<'a, 'c>(
    all: &'a [Candidate<'c>],
    wanted: &ListenerCriteria,
) -> Vec<&'a Candidate<'c>> {
    let is_there = |one: &&Candidate<'_>| {
        let is_port = one.address.is_some_and(|at| at.port() == wanted.port);
        is_port && one.fits(wanted) && one.takes(wanted.is_v6())
    };
    let fit: Vec<_> = all.iter().filter(is_there).collect();
    let Some(address) = wanted.address else {
        return fit;
    };
    let at = |ip: fn(&IpAddr, &IpAddr) -> bool| {
        let is = |one: &&Candidate<'_>| one.address.is_some_and(|at| ip(&at.ip(), &address));
        fit.iter().copied().filter(is).collect::<Vec<_>>()
    };
    let exact = at(|own, wanted| own == wanted);
    if exact.is_empty() {
        at(|own, _| own.is_unspecified())
    } else {
        exact
    }
}

fn candidates(config: &Config) -> Vec<Candidate<'_>> {
    let mut all = Vec::new();
    for (frontend, proxy) in (0..)
        .zip(&config.proxies)
        .filter(|(_, proxy)| !proxy.disabled)
    {
        for (bind, one) in (0..).zip(&proxy.binds).filter(|(_, bind)| !bind.datagrams) {
            all.push(Candidate {
                at: ListenerIndex {
                    frontend: ProxyIndex(frontend),
                    bind,
                },
                proxy,
                address: match one.address {
                    BindAddress::Inet(address) => Some(address),
                    _ => None,
                },
                is_unix: matches!(one.address, BindAddress::Unix(_) | BindAddress::Abstract(_)),
                tls: one.tls.is_some(),
                only_v6: one.v6only == Some(true),
            });
        }
    }
    all
}

/// Returns the address to which the client connects. If the listener has a wildcard address,
/// returns an example address; None for a Unix socket.
fn destination(one: &Candidate<'_>, wanted: &ListenerCriteria) -> Option<SocketAddr> {
    let known = one.address.filter(|at| !at.ip().is_unspecified());
    let port = one.address.map_or(wanted.port, |at| at.port());
    // Documentation addresses of RFC 5737 and RFC 3849.
    let example = if wanted.is_v6() {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()
    } else {
        IpAddr::from([192, 0, 2, 1])
    };
    let any = || SocketAddr::new(wanted.address.unwrap_or(example), port);
    (!one.is_unix).then(|| known.unwrap_or_else(any))
}
