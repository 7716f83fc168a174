//! Tracks the section of the configuration file that is being read, and defines what is kept of a
//! `defaults` section for the proxies that inherit from it.

use crate::config::{Proxy, ProxyIndex, ProxyKind};
use crate::rules::AclTable;

/// Current section of the loader. A number is the index among the sections of its kind. Without it,
/// the variant means the section of that kind that began last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    None,
    Global,
    Defaults(usize),
    Proxy(ProxyIndex, ProxyKind),
    Peers,
    CrtStore,
    Userlist,
    HttpErrors,
    HealthCheck(usize),
    Mailers(usize),
    LogProfile(usize),
    FcgiApp(usize),
    Cache,
    Ring(usize),
    LogForward,
    Resolvers,
    /// Known section that is not supported and was reported. Its lines are only checked for unknown
    /// words.
    NotBuilt(&'static str),
    /// Section whose first line was refused. Its lines are ignored, because their meaning is
    /// unknown.
    Refused,
}

impl Section {
    /// Returns the name by which keywords declare that they are legal in the section; None if its
    /// lines are not checked.
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

#[derive(Debug, Default)]
pub struct Defaults {
    pub proxy: Proxy,
    pub acls: AclTable,
    /// True if a frontend inherits from the section.
    pub has_frontend: bool,
    /// True if a backend inherits from the section.
    pub has_backend: bool,
}

impl Defaults {
    /// Returns whether the section has rules. Proxies inherit rules as a list, so not every section
    /// may inherit from a section with rules.
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

    /// Returns whether the section has `tcp-request connection` or `tcp-request session` rules.
    pub fn has_early_rules(&self) -> bool {
        !self.proxy.tcp_connection.is_empty() || !self.proxy.tcp_session.is_empty()
    }

    pub fn has_rules_of_responses(&self) -> bool {
        !self.proxy.tcp_response.is_empty()
    }
}
