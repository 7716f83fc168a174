//! Where a loader is.

use crate::config::{Proxy, ProxyIndex, ProxyKind};
use crate::rules::AclTable;

/// Where the loader is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    /// Before the first section.
    None,
    /// `global`.
    Global,
    /// A `defaults`: its place in the loader's list.
    Defaults(usize),
    /// A frontend, backend or listen, and which of them.
    Proxy(ProxyIndex, ProxyKind),
    /// A `peers`: the last of the configuration.
    Peers,
    /// A `crt-store`: the loader knows which.
    CrtStore,
    /// A `userlist`: the loader knows which.
    Userlist,
    /// An `http-errors`: the loader knows which.
    HttpErrors,
    /// A `healthcheck`: its place in the loader's list.
    HealthCheck(usize),
    /// A `mailers`: its place in the loader's list.
    Mailers(usize),
    /// A `log-profile`: its place in the loader's list.
    LogProfile(usize),
    /// An `fcgi-app`: its place in the configuration.
    FcgiApp(usize),
    /// A `cache`: the loader has its draft.
    Cache,
    /// A `ring`: its place among them.
    Ring(usize),
    /// A `log-forward`: the last of the configuration.
    LogForward,
    /// A `resolvers`: the last of the configuration.
    Resolvers,
    /// A section that is known and not built, and was told: its lines are
    /// checked for unknown words only.
    NotBuilt(&'static str),
    /// A section whose first line was refused: its lines are ignored, because their
    /// meaning is not known.
    Refused,
}

impl Section {
    /// The name under which keywords say that they are legal; None where
    /// lines are not looked at.
    pub fn place(self) -> Option<&'static str> {
        match self {
            Section::Global => Some("global"),
            Section::Defaults(_) => Some("defaults"),
            Section::Proxy(_, kind) => Some(kind.name()),
            Section::CrtStore => Some("crt-store"),
            Section::Peers => Some("peers"),
            Section::Userlist => Some("userlist"),
            Section::HttpErrors => Some("http-errors"),
            Section::HealthCheck(_) => Some("healthcheck"),
            Section::Mailers(_) => Some("mailers"),
            Section::LogProfile(_) => Some("log-profile"),
            Section::FcgiApp(_) => Some("fcgi-app"),
            Section::Cache => Some("cache"),
            Section::Ring(_) => Some("ring"),
            Section::LogForward => Some("log-forward"),
            Section::Resolvers => Some("resolvers"),
            Section::NotBuilt(name) => Some(name),
            Section::None | Section::Refused => None,
        }
    }
}

/// A `defaults` section.
#[derive(Debug, Default)]
pub struct Defaults {
    /// Its settings.
    pub proxy: Proxy,
    /// Its named ACLs.
    pub acls: AclTable,
    /// Whether a frontend inherits from it.
    pub has_frontend: bool,
    /// Whether a backend inherits from it.
    pub has_backend: bool,
}

impl Defaults {
    /// Whether it has rules. Proxies inherit them as a list, so not every section may
    /// inherit from it.
    pub fn has_rules(&self) -> bool {
        let proxy = &self.proxy;
        let lists_of_http = [
            &proxy.http_request,
            &proxy.http_response,
            &proxy.http_after_response,
            &proxy.redirects,
        ];
        lists_of_http.iter().any(|list| !list.is_empty())
            || self.has_early_rules()
            || !proxy.tcp_content.is_empty()
            || self.has_rules_of_responses()
    }

    /// Whether it has `tcp-request connection` or `tcp-request session` rules.
    pub fn has_early_rules(&self) -> bool {
        !self.proxy.tcp_connection.is_empty() || !self.proxy.tcp_session.is_empty()
    }

    /// Whether it has `tcp-response content` rules.
    pub fn has_rules_of_responses(&self) -> bool {
        !self.proxy.tcp_response.is_empty()
    }
}
