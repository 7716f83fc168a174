//! What builders of keywords work on.

use super::{certificates, order, refused};
use configuration::LoadOptions;
use language::{Environment, Span};
use model::config::{ProxyIndex, StatsLevel};
use model::rules::draft::Draft;
use std::collections::{BTreeSet, HashMap};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

/// The state of loading: what builders of keywords work on.
#[derive(Debug)]
pub struct Loader {
    pub(crate) draft: Draft,
    /// Proxies with a line that gives them something to do without a server that
    /// could be built: a refused `server`, a `stick-table`.
    pub(crate) occupied: std::collections::HashSet<ProxyIndex>,
    /// Which families of rules the current section has lines of.
    pub(crate) order: order::RuleOrder,
    /// The proxies of each name: those with a frontend's side, those with a
    /// backend's.
    pub(crate) names: [HashMap<Box<str>, ProxyIndex>; 2],
    /// Which lines were refused.
    pub(crate) refused: refused::Refused,
    /// What lines about TLS need besides their own words.
    pub(crate) tls: TlsSources,
    /// Sections that others name, as far as they were read.
    pub(crate) sections: Sections,
    /// Files of server states that were asked for.
    pub(crate) state_files: BTreeSet<PathBuf>,
    /// Peers sections that tables name.
    pub(crate) table_peers: Vec<(Box<str>, Span)>,
    /// Tables in which `stick` rules keep servers.
    pub(crate) sticky_tables: Vec<Box<str>>,
    /// `nbproc` asked for several processes.
    pub(crate) old_processes: bool,
    /// Groups of error pages, and who names them.
    pub(crate) error_groups: super::http_errors::ErrorGroups,
    /// Lists of users, and who names them.
    pub(crate) userlists: super::userlist::Userlists,
    /// Set while a `stats socket` line is built: what only its options say.
    pub socket: Option<SocketRights>,
}

/// What lines about TLS need besides their own words.
#[derive(Debug, Default)]
pub(crate) struct TlsSources {
    /// Files of certificates that were read.
    pub(crate) files: super::tls_files::TlsFiles,
    /// Chains of `issuers-chain-path`, once they were read.
    pub(crate) issuer_chains: Option<certificates::IssuerChains>,
    /// Set in a `crt-store`.
    pub(crate) store: super::crt_store::CrtStore,
    /// Servers of rings, by ring and place, with what their lines say of TLS.
    pub(crate) rings: Vec<((usize, usize), model::config::ServerTls, Span)>,
}

/// Sections that others name, as far as they were read.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    /// `healthcheck` sections.
    pub(crate) health_checks: Vec<model::config::HealthCheck>,
    /// `mailers` sections.
    pub(crate) mailers: Vec<model::config::Mailers>,
    /// `log-profile` sections, until the targets that name them have them.
    pub(crate) log_profiles: Vec<model::config::LogProfile>,
    /// Set in a `cache` section.
    pub(crate) cache: Option<super::cache::Draft>,
}

impl Deref for Loader {
    type Target = Draft;

    fn deref(&self) -> &Draft {
        &self.draft
    }
}

impl DerefMut for Loader {
    fn deref_mut(&mut self) -> &mut Draft {
        &mut self.draft
    }
}

/// What the options `level` and `expose-fd` of a `stats socket` say.
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketRights {
    /// `level`.
    pub level: StatsLevel,
    /// `expose-fd listeners`.
    pub expose_listeners: bool,
}

impl Loader {
    /// One that has read nothing yet.
    pub(crate) fn new(environment: Environment, options: LoadOptions) -> Self {
        Loader {
            draft: Draft::new(environment, options),
            occupied: Default::default(),
            order: order::RuleOrder::default(),
            names: Default::default(),
            refused: Default::default(),
            tls: TlsSources::default(),
            sections: Sections::default(),
            state_files: BTreeSet::new(),
            table_peers: Vec::new(),
            sticky_tables: Vec::new(),
            old_processes: false,
            error_groups: Default::default(),
            userlists: Default::default(),
            socket: None,
        }
    }
}
