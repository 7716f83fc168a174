//! Parses the line `trusted-proxy`, and the option `accept-proxy` of a listening address.

use crate::network::IpPrefix;
use crate::proxies::TrustedProxies;
use language::arguments::{Args, Built};
use language::{Code, Diagnostic, Span};

const NETWORKS_MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
pub struct ProxyCodes {
    pub no_proxies: &'static Code,
    /// Code for a network that contains all addresses, so that every client would be trusted.
    pub everybody: &'static Code,
}

/// The lines of a section about the reverse proxies in front of it.
#[derive(Debug, Default)]
pub struct Proxies {
    networks: Vec<(IpPrefix, Span)>,
    accepts: Vec<Span>,
}

impl Proxies {
    /// Reads a line `trusted-proxy`.
    ///
    /// # Errors
    /// Returns a description of the error.
    pub fn line(&mut self, args: &mut Args<'_>) -> Built {
        let mut word = args.required("the address of a proxy, or a network")?;
        loop {
            let network: IpPrefix = word.str().parse().map_err(|_| {
                args.unexpected_value(word, "not an IP address, or one with a prefix length")
            })?;
            if self.networks.len() >= NETWORKS_MAX {
                return Err(args.unexpected_value(word, "more than 64 networks"));
            }
            self.networks.push((network, word.span));
            match args.next() {
                Some(next) => word = next,
                None => return Ok(()),
            }
        }
    }

    pub fn accept(&mut self, span: Span) {
        self.accepts.push(span);
    }

    pub fn trusted(&self) -> TrustedProxies {
        let networks = self.networks.iter().map(|(network, _)| *network);
        networks.collect::<Vec<_>>().into()
    }

    pub fn combination_errors(&self, codes: &ProxyCodes) -> Vec<Diagnostic> {
        let mut told = Vec::new();
        if self.networks.is_empty() {
            told.extend(self.accepts.iter().map(|span| {
                let words = "'accept-proxy' without a line 'trusted-proxy'";
                let error = Diagnostic::error(codes.no_proxies, *span, words);
                error
                    .label("from whom?")
                    .help("add `trusted-proxy ADDRESS` with the addresses of the proxies in front")
            }));
        }
        let everybody = self
            .networks
            .iter()
            .filter(|(one, _)| one.is_whole_family());
        told.extend(everybody.map(|(network, span)| {
            let words = format!("'trusted-proxy {network}' lets every client choose its address");
            let warning = Diagnostic::warning(codes.everybody, *span, words);
            warning.help("name the addresses of the proxies only")
        }));
        told
    }
}
