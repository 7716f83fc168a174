//! Selects, for the ClientHello of a client, the certificate to present and the settings of the
//! handshake on an `ssl` listener. An acceptor is built from the options of the `bind` line, the
//! crt-lists and the certificate store, and rebuilt when an operator changes one of them.
//! Handshakes in progress keep their settings.

use super::NoVersion;
use super::authorities::Authorities;
use super::build::{BuildError, Resumption, server_config};
use super::certified::{Certified, now_s};
use super::schemes::RestrictedResolver;
use super::sni::{CertificateCriteria, Entry, Index, SniFilter};
use super::store::{ConfigLocation, Dependent, Missing, Prepared, Stock};
use crate::settings::{
    BindTls, CertificateSource, ClientAuth, Parameters, ServerSettings, TlsLine, TlsSide, Verify,
};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Maximum length of early data (`allow-0rtt`), bytes: the size of HAProxy's buffer.
const EARLY_DATA_BYTES_MAX: u32 = 16_384;

#[derive(Debug, thiserror::Error)]
pub enum AcceptorError {
    /// There is no certificate. With `strict-sni` that is intended.
    #[error("no SSL certificate specified")]
    NoCertificate,
    /// `verify` requires a `ca-file`, and none is given.
    #[error("verify is enabled but no CA file specified")]
    NoAuthorities,
    #[error("{0}")]
    NoVersion(#[from] NoVersion),
    #[error("{0}")]
    Missing(#[from] Missing),
    #[error("{0}")]
    Build(#[from] BuildError),
}

/// The listener has no certificate for this client: `strict-sni` is set and the client's SNI is
/// missing or unknown, or the listener has no certificate at all. The alert is
/// `unrecognized_name`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MissingCertificate;

/// The certificate and the settings for a handshake.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub config: Arc<ServerConfig>,
    pub certified: Arc<Certified>,
}

/// Creates the tickets and session cache of a listener with these settings.
pub type MakeResumption = fn(&BindTls, &ServerSettings) -> Resumption;

pub struct Acceptor {
    options: Arc<BindTls>,
    defaults: TlsSide,
    resumption: MakeResumption,
    location: ConfigLocation,
    state: RwLock<Arc<AcceptorState>>,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Acceptor").field(&self.index()).finish()
    }
}

#[derive(Debug, Default)]
struct AcceptorState {
    index: Index,
    groups: Vec<Group>,
    /// For each CA file and CRL file, the number of certificates that use it.
    files: BTreeMap<Box<str>, usize>,
}

/// Settings that several certificates of a listener share. Sessions can be resumed with any
/// certificate of the group.
#[derive(Clone, Debug)]
struct Group {
    settings: ServerSettings,
    base: Arc<ServerConfig>,
}

/// Resolver that always presents one certificate.
#[derive(Debug)]
struct Shows(Arc<Certified>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.0.certificate_to_present(now_s())))
    }
}

/// Resolver without a certificate, from which the configuration of each certificate is derived.
#[derive(Debug)]
struct Nothing;

impl ResolvesServerCert for Nothing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Creates tickets with keys of their own and a small session cache, so that listeners with other
/// requirements for clients cannot resume these sessions.
pub fn own_resumption(_: &BindTls, _: &ServerSettings) -> Resumption {
    /// Maximum number of cached sessions of listeners without tickets.
    const SESSIONS_MAX: usize = 1_024;
    Resumption {
        tickets: rustls::crypto::aws_lc_rs::Ticketer::new().ok(),
        sessions: ServerSessionMemoryCache::new(SESSIONS_MAX),
    }
}

impl Acceptor {
    /// Creates the acceptor of a `bind` line from the certificates in the store. `defaults` are
    /// the options of `ssl-default-bind-…`.
    ///
    /// # Errors
    /// `NoCertificate` if there is none, without `strict-sni`. `Missing` if the store lacks a file
    /// of the line. `NoAuthorities` if clients are verified without a CA file. `NoVersion` if no
    /// version is enabled. `Build` if rustls does not support the settings.
    pub fn new(
        words: Arc<BindTls>,
        defaults: TlsSide,
        resumption: MakeResumption,
        stock: &Stock,
    ) -> Result<Acceptor, AcceptorError> {
        let acceptor = Acceptor {
            options: words,
            defaults,
            resumption,
            location: ConfigLocation::default(),
            state: RwLock::default(),
        };
        let state = acceptor.make(stock)?;
        acceptor.install(state);
        Ok(acceptor)
    }

    /// Sets the position of the line in the file, which is shown to operators.
    pub fn at(self, place: ConfigLocation) -> Acceptor {
        Acceptor {
            location: place,
            ..self
        }
    }

    /// Selects the certificate and the settings for a client.
    ///
    /// # Errors
    /// The listener has no certificate for the client, see [`MissingCertificate`].
    pub fn choose(&self, offer: &CertificateCriteria<'_>) -> Result<Chosen, MissingCertificate> {
        let index = self.index();
        let found = index.index.choose(offer, !self.strict_sni());
        let Entry {
            config, certified, ..
        } = found.ok_or(MissingCertificate)?;
        Ok(Chosen {
            config: Arc::clone(config),
            certified: Arc::clone(certified),
        })
    }

    /// Returns whether `strict-sni` is set on the line or in `global`.
    pub fn strict_sni(&self) -> bool {
        self.options.line.side.strict_sni || self.defaults.strict_sni
    }

    pub fn words(&self) -> &Arc<BindTls> {
        &self.options
    }

    pub fn certificates(&self) -> usize {
        self.index().index.entries().len()
    }

    fn index(&self) -> Arc<AcceptorState> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&state)
    }

    fn install(&self, new: AcceptorState) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        *state = Arc::new(new);
    }

    fn make(&self, stock: &Stock) -> Result<AcceptorState, AcceptorError> {
        let mut maker = Maker {
            acceptor: self,
            stock,
            before: self.index(),
            state: AcceptorState::default(),
            first: None,
        };
        // Builds the settings of the line first, so that errors in its options are reported even if
        // it has no certificate.
        let own = maker.group(&self.options.line)?;
        for source in &self.options.sources {
            match source {
                CertificateSource::Certificates(names) => maker.bundle(names, own, false)?,
                CertificateSource::Default(names) => maker.bundle(names, own, true)?,
                CertificateSource::List(name) => maker.list(name, own)?,
            }
        }
        let mut state = maker.finish();
        if state.index.entries().is_empty() && !self.strict_sni() {
            return Err(AcceptorError::NoCertificate);
        }
        state.groups.shrink_to_fit();
        Ok(state)
    }

    fn settings(&self, line: &TlsLine, stock: &Stock) -> Result<ServerSettings, AcceptorError> {
        let own = &self.options.line;
        let is_own = std::ptr::eq(own, line);
        let side = if is_own {
            own.side.clone()
        } else {
            override_options(&own.side, &line.side)
        };
        let named = |name: &Option<Box<str>>| {
            name.as_deref()
                .map(|name| stock.authorities(name))
                .transpose()
        };
        let authorities: Option<Arc<Authorities>> = named(
            line.ca_file
                .as_ref()
                .map_or(&own.ca_file, |_| &line.ca_file),
        )?;
        let more = line.ca_verify_file.as_ref();
        let crls = line.crl_file.as_ref().or(own.crl_file.as_ref());
        let mode = line.verify.or(own.verify).unwrap_or_default();
        if mode != Verify::None && authorities.is_none() {
            return Err(AcceptorError::NoAuthorities);
        }
        Ok(ServerSettings {
            parameters: Parameters::of(&side, &self.defaults)?,
            alpn: line
                .alpn
                .as_ref()
                .or(own.alpn.as_ref())
                .cloned()
                .unwrap_or_default(),
            client: ClientAuth {
                mode,
                authorities,
                more_authorities: named(
                    more.map_or(&own.ca_verify_file, |_| &line.ca_verify_file),
                )?,
                crls: crls.map(|name| stock.revocations(name)).transpose()?,
                ca_ignore_err: self.options.ca_ignore_err,
                crt_ignore_err: self.options.crt_ignore_err,
                no_ca_names: line.no_ca_names || own.no_ca_names,
            },
            no_tickets: own.side.no_tickets || self.defaults.no_tickets,
            early_data_max: if line.early_data || own.early_data {
                EARLY_DATA_BYTES_MAX
            } else {
                0
            },
            prefer_client_ciphers: own.side.prefer_client_ciphers
                || self.defaults.prefer_client_ciphers,
        })
    }
}

fn override_options(own: &TlsSide, line: &TlsSide) -> TlsSide {
    let mut side = own.clone();
    macro_rules! replace {
        ($($field:ident).+) => {
            if line.$($field).+.is_some() {
                side.$($field).+ = line.$($field).+.clone();
            }
        };
    }
    replace!(ciphers);
    replace!(ciphersuites);
    replace!(curves);
    replace!(sigalgs);
    replace!(client_sigalgs);
    replace!(versions.min);
    replace!(versions.max);
    side
}

struct Maker<'m> {
    acceptor: &'m Acceptor,
    stock: &'m Stock,
    before: Arc<AcceptorState>,
    state: AcceptorState,
    /// Certificates of the first `crt`, which are the default if there is no `default-crt`.
    first: Option<Vec<u32>>,
}

impl Maker<'_> {
    fn group(&mut self, line: &TlsLine) -> Result<usize, AcceptorError> {
        let settings = self.acceptor.settings(line, self.stock)?;
        let groups = &self.state.groups;
        if let Some(known) = groups.iter().position(|group| group.settings == settings) {
            return Ok(known);
        }
        let mut old = self.before.groups.iter();
        let old = old.find(|group| group.settings == settings);
        let group = match old {
            Some(group) => group.clone(),
            None => {
                let resumption = (self.acceptor.resumption)(&self.acceptor.options, &settings);
                let base = server_config(&settings, Arc::new(Nothing), resumption)?;
                let base = Arc::new(base);
                Group { settings, base }
            }
        };
        self.state.groups.push(group);
        Ok(self.state.groups.len() - 1)
    }

    fn count_files(&mut self, line: &TlsLine) {
        let own = &self.acceptor.options.line;
        let named = [
            line.ca_file.as_ref().or(own.ca_file.as_ref()),
            line.ca_verify_file.as_ref().or(own.ca_verify_file.as_ref()),
            line.crl_file.as_ref().or(own.crl_file.as_ref()),
        ];
        for name in named.into_iter().flatten() {
            *self.state.files.entry(name.clone()).or_default() += 1;
        }
    }

    fn add(
        &mut self,
        name: &str,
        group: usize,
        line: &TlsLine,
        filters: &[SniFilter],
    ) -> Result<u32, AcceptorError> {
        let certified = self.stock.certificate(name)?;
        self.count_files(line);
        let group = &self.state.groups[group];
        let shows: Arc<dyn ResolvesServerCert> = Arc::new(Shows(Arc::clone(certified)));
        let resolver = match &group.settings.parameters.sigalgs {
            None => shows,
            Some(schemes) => Arc::new(RestrictedResolver {
                inner: shows,
                schemes: Arc::clone(schemes),
            }),
        };
        let mut config = ServerConfig::clone(&group.base);
        config.cert_resolver = resolver;
        let config = Arc::new(config);
        Ok(self.state.index.add(name, certified, config, filters))
    }

    fn bundle(
        &mut self,
        names: &[Box<str>],
        group: usize,
        default: bool,
    ) -> Result<(), AcceptorError> {
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            let acceptor = self.acceptor;
            all.push(self.add(name, group, &acceptor.options.line, &[])?);
        }
        if default {
            all.iter().for_each(|at| self.state.index.add_default(*at));
        }
        self.first.get_or_insert(all);
        Ok(())
    }

    fn list(&mut self, name: &str, own: usize) -> Result<(), AcceptorError> {
        let stock = self.stock;
        for entry in &stock.list(name)?.entries {
            let group = if entry.options == TlsLine::default() {
                own
            } else {
                self.group(&entry.options)?
            };
            let at = self.add(&entry.certificate, group, &entry.options, &entry.filters)?;
            self.first.get_or_insert_with(|| vec![at]);
        }
        Ok(())
    }

    fn finish(self) -> AcceptorState {
        let mut state = self.state;
        if !state.index.has_default() {
            let first = self.first.unwrap_or_default();
            first.iter().for_each(|at| state.index.add_default(*at));
        }
        state
    }
}

impl Dependent for Acceptor {
    fn prepare(self: Arc<Self>, stock: &Stock) -> Result<Prepared, String> {
        let new = self.make(stock).map_err(|error| error.to_string())?;
        Ok(Box::new(move || self.install(new)))
    }

    fn certificate_uses(&self, name: &str) -> usize {
        let state = self.index();
        let entries = state.index.entries().iter();
        entries.filter(|entry| *entry.name == *name).count()
    }

    fn list_uses(&self, name: &str) -> usize {
        let is = |source: &&CertificateSource| matches!(source, CertificateSource::List(n) if **n == *name);
        self.options.sources.iter().filter(is).count()
    }

    fn is_default_for_list(&self, name: &str) -> bool {
        !self.strict_sni() && self.list_uses(name) > 0
    }

    fn file_uses(&self, name: &str) -> usize {
        self.index().files.get(name).copied().unwrap_or_default()
    }

    fn names_file(&self, name: &str) -> bool {
        let line = &self.options.line;
        let named = [&line.ca_file, &line.ca_verify_file, &line.crl_file];
        named.into_iter().flatten().any(|named| **named == *name)
    }

    fn place(&self) -> &ConfigLocation {
        &self.location
    }
}

#[cfg(test)]
pub(crate) mod tests;
