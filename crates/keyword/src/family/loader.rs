//! Defines the state of a load: the configuration that is being built and data that only the load
//! needs. The builders of keywords change it.

use super::{certificates, order, refused};
use configuration::LoadOptions;
use language::{Environment, Span};
use model::config::{ProxyIndex, SeverityOutput, StatsLevel};
use model::rules::draft::ConfigDraft;
use std::collections::{BTreeSet, HashMap};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

/// State of a load, which the builders of keywords change.
#[derive(Debug)]
pub struct Loader {
    pub(crate) draft: ConfigDraft,
    /// Proxies with a line that makes them useful without a valid server: a refused `server`, or a
    /// `stick-table`.
    pub(crate) occupied: std::collections::HashSet<ProxyIndex>,
    /// Rule families of which the current section has lines.
    pub(crate) order: order::RuleOrder,
    /// Proxies by name: those with a frontend side, and those with a backend side.
    pub(crate) names: [HashMap<Box<str>, ProxyIndex>; 2],
    pub(crate) refused: refused::RefusedLines,
    pub(crate) tls: TlsSources,
    pub(crate) sections: Sections,
    pub(crate) state_files: BTreeSet<PathBuf>,
    pub(crate) table_peers: Vec<(Box<str>, Span)>,
    /// Names of tables in which `stick` rules store servers, as written.
    pub(crate) sticky_tables: Vec<Box<str>>,
    /// An `nbproc` line of HAProxy 1.x requested several processes.
    pub(crate) old_processes: bool,
    pub(crate) error_groups: super::http_errors::ErrorGroups,
    pub(crate) userlists: super::userlist::Userlists,
    /// Options of the `stats socket` line that is being built; None: another line.
    pub socket: Option<SocketRights>,
}

/// Shared state of lines about TLS: files and chains that were read.
#[derive(Debug, Default)]
pub(crate) struct TlsSources {
    pub(crate) files: super::tls_files::TlsFiles,
    pub(crate) issuer_chains: Option<certificates::IssuerChains>,
    pub(crate) store: super::crt_store::CrtStore,
    /// Servers of rings, by ring and index, with their TLS options.
    pub(crate) rings: Vec<((usize, usize), model::config::ServerTls, Span)>,
}

/// Sections to which others refer, as read so far.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    pub(crate) health_checks: Vec<model::config::HealthCheck>,
    pub(crate) mailers: Vec<model::config::Mailers>,
    /// Sections `log-profile`, until they are assigned to log targets.
    pub(crate) log_profiles: Vec<model::config::LogProfile>,
    pub(crate) cache: Option<super::cache::CacheDraft>,
}

impl Deref for Loader {
    type Target = ConfigDraft;

    fn deref(&self) -> &ConfigDraft {
        &self.draft
    }
}

impl DerefMut for Loader {
    fn deref_mut(&mut self) -> &mut ConfigDraft {
        &mut self.draft
    }
}

/// Options `level`, `expose-fd` and `severity-output` of a `stats socket`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketRights {
    pub level: StatsLevel,
    pub expose_listeners: bool,
    pub severity: SeverityOutput,
}

impl Loader {
    pub(crate) fn new(environment: Environment, options: LoadOptions) -> Self {
        Loader {
            draft: ConfigDraft::new(environment, options),
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
