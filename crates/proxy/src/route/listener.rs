//! The listener that a request comes to.

use model::config::{BindAddress, Config, ListenerIndex, Mode, Proxy, ProxyIndex};
use std::net::{IpAddr, SocketAddr};

/// What is known of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// The request is made over TLS.
    pub tls: bool,
    /// The port that it is sent to.
    pub port: u16,
    /// The address that it is sent to, if it is known.
    pub address: Option<IpAddr>,
    /// The frontend, if it is named.
    pub frontend: Option<String>,
}

/// There is none, or there are several.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotThere {
    /// No frontend has that name.
    #[error("no frontend is named '{name}'; there are: {there}")]
    NoFrontend {
        /// The name.
        name: String,
        /// All names.
        there: String,
    },
    /// Nobody listens there.
    #[error(
        "no frontend listens on port {port} {how}; there are: {there}; name one with --frontend"
    )]
    Nobody {
        /// The port.
        port: u16,
        /// With or without TLS.
        how: &'static str,
        /// All listeners.
        there: String,
    },
    /// Several do.
    #[error(
        "several frontends listen on port {port}: {there}; name one with --frontend, or its address with --to"
    )]
    Several {
        /// The port.
        port: u16,
        /// Those.
        there: String,
    },
}

struct Candidate<'c> {
    at: ListenerIndex,
    proxy: &'c Proxy,
    address: Option<SocketAddr>,
    tls: bool,
}

impl Candidate<'_> {
    /// With TLS the bytes may also be passed on as they are.
    fn fits(&self, wanted: &Wanted) -> bool {
        match wanted.tls {
            true => self.tls || self.proxy.mode == Mode::Tcp,
            false => !self.tls,
        }
    }

    fn words(&self) -> String {
        let address = self.address.map_or_else(
            || "a Unix socket".to_owned(),
            |at| match at.ip().is_unspecified() {
                true => format!("*:{}", at.port()),
                false => at.to_string(),
            },
        );
        let tls = if self.tls { " with TLS" } else { "" };
        format!("{} ({address}{tls})", self.proxy.name)
    }
}

/// Finds it, and the address that the client connects to.
///
/// # Errors
/// There is none, or there are several.
pub fn find(config: &Config, wanted: &Wanted) -> Result<(ListenerIndex, SocketAddr), NotThere> {
    let all = candidates(config);
    let mut fit: Vec<&Candidate<'_>> = match &wanted.frontend {
        Some(name) => {
            let named = all.iter().filter(|one| *one.proxy.name == **name);
            let mut named: Vec<_> = named.collect();
            if named.is_empty() {
                let mut there: Vec<&str> = all.iter().map(|one| &*one.proxy.name).collect();
                there.dedup();
                let (name, there) = (name.clone(), there.join(", "));
                return Err(NotThere::NoFrontend { name, there });
            }
            // The best of them: a frontend that is named may have another port.
            named.sort_by_key(|one| {
                let is_port = one.address.is_some_and(|at| at.port() == wanted.port);
                (!one.fits(wanted), !is_port)
            });
            named.truncate(1);
            named
        }
        None => {
            let there = all.iter().filter(|one| {
                one.address.is_some_and(|at| at.port() == wanted.port) && one.fits(wanted)
            });
            there.collect()
        }
    };
    if let Some(address) = wanted.address.filter(|_| wanted.frontend.is_none()) {
        let is = |one: &&Candidate<'_>| one.address.is_some_and(|at| at.ip() == address);
        let is_any = |one: &&Candidate<'_>| one.address.is_some_and(|at| at.ip().is_unspecified());
        // As in the kernel, the exact address comes first.
        let exact: Vec<_> = fit.iter().copied().filter(is).collect();
        fit = match exact.is_empty() {
            true => fit.into_iter().filter(is_any).collect(),
            false => exact,
        };
    }
    let listed = |some: &mut dyn Iterator<Item = &Candidate<'_>>| {
        some.map(Candidate::words).collect::<Vec<_>>().join(", ")
    };
    let Some(first) = fit.first() else {
        return Err(NotThere::Nobody {
            port: wanted.port,
            how: if wanted.tls {
                "with TLS"
            } else {
                "without TLS"
            },
            there: listed(&mut all.iter()),
        });
    };
    if fit.iter().any(|one| one.at.frontend != first.at.frontend) {
        return Err(NotThere::Several {
            port: wanted.port,
            there: listed(&mut fit.iter().copied()),
        });
    }
    Ok((first.at, destination(first, wanted)))
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
                tls: one.tls.is_some(),
            });
        }
    }
    all
}

/// The address that a client of it connects to; of a wildcard, one for examples.
fn destination(one: &Candidate<'_>, wanted: &Wanted) -> SocketAddr {
    let known = one.address.filter(|at| !at.ip().is_unspecified());
    let port = one.address.map_or(wanted.port, |at| at.port());
    let example = IpAddr::from([192, 0, 2, 1]);
    known.unwrap_or_else(|| SocketAddr::new(wanted.address.unwrap_or(example), port))
}
