//! Converts TLS settings to configurations of rustls. Reads no file and has no state.

pub use super::provider::{BuildError, provider};

use super::schemes::RestrictedResolver;
use super::verify;
use super::{groups, suites};
use crate::settings::{Parameters, ServerSettings};
use rustls::crypto::CryptoProvider;
use rustls::server::{ProducesTickets, ResolvesServerCert, StoresServerSessions};
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Resumption {
    /// Ticket keys, which are rotated. None if tickets are disabled.
    pub tickets: Option<Arc<dyn ProducesTickets>>,
    /// Session cache: for listeners without tickets, and for early data.
    pub sessions: Arc<dyn StoresServerSessions>,
}

pub(super) fn restricted(
    parameters: &Parameters,
) -> Result<(Arc<CryptoProvider>, Vec<&'static SupportedProtocolVersion>), BuildError> {
    let mut suites = Vec::new();
    let mut versions = Vec::new();
    let spoken = parameters.versions;
    if spoken.tls13 {
        let kept = suites::tls13(parameters.ciphersuites.as_deref());
        if !kept.is_empty() {
            versions.push(&version::TLS13);
        } else if !spoken.tls12 {
            return Err(BuildError::NoCiphersuite);
        }
        suites.extend(kept);
    }
    if spoken.tls12 {
        let kept = suites::tls12(parameters.ciphers.as_deref());
        if !kept.is_empty() {
            versions.push(&version::TLS12);
        } else if versions.is_empty() {
            return Err(BuildError::NoCipher);
        }
        suites.extend(kept);
    }
    let base = provider();
    let kx_groups = match &parameters.curves {
        None => base.kx_groups.clone(),
        Some(list) => list
            .iter()
            .filter_map(|group| groups::implementation(*group))
            .collect(),
    };
    if kx_groups.is_empty() {
        return Err(BuildError::NoGroup);
    }
    let made = CryptoProvider {
        cipher_suites: suites,
        kx_groups,
        ..CryptoProvider::clone(base)
    };
    Ok((Arc::new(made), versions))
}

/// Makes the configuration of a listener. Early data needs cached sessions, so that none is
/// replayed: a listener that allows it issues no tickets.
///
/// # Errors
/// `NoCipher`, `NoCiphersuite` or `NoGroup` if the parameters leave none. `NoAuthorities` if
/// clients are verified without CA certificates. `Refused` if rustls refuses the combination.
pub fn server_config(
    settings: &ServerSettings,
    resolver: Arc<dyn ResolvesServerCert>,
    resumption: Resumption,
) -> Result<ServerConfig, BuildError> {
    let (provider, versions) = restricted(&settings.parameters)?;
    let resolver = match &settings.parameters.sigalgs {
        None => resolver,
        Some(schemes) => Arc::new(RestrictedResolver {
            inner: resolver,
            schemes: Arc::clone(schemes),
        }),
    };
    let builder =
        ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions)?;
    let mut config = match verify::client_verifier(&settings.client, &settings.parameters)? {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    }
    .with_cert_resolver(resolver);
    config.ignore_client_order = !settings.prefer_client_ciphers;
    config.alpn_protocols.clone_from(&settings.alpn);
    config.max_early_data_size = settings.early_data_max;
    // Lets this crate get the secrets, because it protects the records after the handshake itself,
    // see `session`.
    config.enable_secret_extraction = true;
    config.session_storage = resumption.sessions;
    let tickets = resumption
        .tickets
        .filter(|_| !settings.no_tickets && settings.early_data_max == 0);
    if let Some(tickets) = tickets {
        config.ticketer = tickets;
    }
    Ok(config)
}

#[cfg(test)]
mod tests;
