//! Completes listeners with `ssl` at the end of loading, those of proxies and of other sections:
//! builds their TLS acceptors from the options of their lines, and reports errors.

use super::check::display;
use super::{Loader, codes};
use crate::family::tls_words;
use language::{Code, Diagnostic};
use model::config::{Bind, ProxyIndex};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tls::BindTls;
use tls::acceptor::{Acceptor, AcceptorError};
use tls::resume::resumption;
use tls::store::{ConfigLocation, Dependent};

type BuiltAcceptor = Option<Arc<Acceptor>>;

impl Loader {
    /// Builds the TLS acceptors of listeners with `ssl`. Listeners of one line share one.
    pub(super) fn finish_tls(&mut self) {
        let mut made: HashMap<*const BindTls, BuiltAcceptor> = HashMap::new();
        for at in 0..self.config.proxies.len() {
            let proxy = &mut self.config.proxies[at];
            if !proxy.kind.is_frontend() || proxy.disabled {
                continue;
            }
            let name = format!("Proxy '{}'", proxy.name);
            let mut binds = std::mem::take(&mut proxy.binds);
            let refused = self.refused.any(ProxyIndex(at as u32), &["bind"]);
            for bind in &mut binds {
                let Some(words) = bind.tls_words.clone() else {
                    continue;
                };
                let known = made.entry(Arc::as_ptr(&words));
                bind.tls = known
                    .or_insert_with(|| self.finish_bind(&name, refused, bind, &words))
                    .clone();
            }
            self.config.proxies[at].binds = binds;
        }
        self.finish_sections();
    }

    fn finish_sections(&mut self) {
        for at in 0..self.config.log_forwards.len() {
            let section = &mut self.config.log_forwards[at];
            let owner = format!("log-forward '{}'", section.name);
            let mut binds = std::mem::take(&mut section.binds);
            for bind in &mut binds {
                if let Some(words) = bind.tls_words.clone() {
                    bind.tls = self.finish_bind(&owner, false, bind, &words);
                }
            }
            self.config.log_forwards[at].binds = binds;
        }
        for at in 0..self.config.peers.len() {
            let peers = &self.config.peers[at];
            let (Some(words), Some(address)) = (peers.tls_words.clone(), peers.bind_address())
            else {
                continue;
            };
            let owner = format!("Peers '{}'", peers.name);
            let bind = Bind::new(peers.span, address);
            self.config.peers[at].tls = self.finish_bind(&owner, false, &bind, &words);
        }
    }

    /// Builds the TLS acceptor of one listener. Returns None for a line without `ssl`, and after an
    /// error. `proxy` names the section in messages. `refused` is true if a `bind` line of the
    /// section was refused, so that settings may be missing.
    fn finish_bind(
        &mut self,
        proxy: &str,
        refused: bool,
        bind: &Bind,
        words: &Arc<BindTls>,
    ) -> BuiltAcceptor {
        if !words.ssl {
            if !words.sources.is_empty() {
                let told = format!(
                    "{proxy}: bind '{}' has certificates but no 'ssl'",
                    display(&bind.address)
                );
                let told = Diagnostic::warning(&codes::TLS_WITHOUT_SSL, bind.span, told);
                self.report(
                    told.label("this listener accepts clear text")
                        .help("add `ssl`, or remove the certificates"),
                );
            }
            return None;
        }
        let defaults = self.config.global.tls.bind.clone();
        let what = format!("{proxy}, bind '{}'", display(&bind.address));
        tls_words::warn_of_versions(
            self,
            bind.span,
            &what,
            &words.line.side.versions,
            &defaults.versions,
        );
        let words = Arc::clone(words);
        let store = Arc::clone(&self.config.certificates);
        let made = store.with(|stock| Acceptor::new(words, defaults, resumption, stock));
        match made {
            Ok(acceptor) => {
                let place = self.bind_place(proxy, bind);
                let acceptor = Arc::new(acceptor.at(place));
                let weak: Weak<Acceptor> = Arc::downgrade(&acceptor);
                let weak: Weak<dyn Dependent> = weak;
                store.register_dependent(weak);
                if acceptor.certificates() == 0 {
                    let told = format!(
                        "{}, ssl connections will fail (use 'crt').",
                        self.at(proxy, bind, "no SSL certificate specified")
                    );
                    self.warn(&codes::NO_CERTIFICATE_YET, bind.span, told);
                }
                Some(acceptor)
            }
            Err(error) => {
                let of_files = matches!(
                    error,
                    AcceptorError::Missing(_) | AcceptorError::NoCertificate
                );
                // Files that could not be loaded were reported already.
                if !(of_files && refused) {
                    self.refuse_bind(proxy, bind, &error);
                }
                None
            }
        }
    }

    fn bind_place(&self, proxy: &str, bind: &Bind) -> ConfigLocation {
        let file = &self.context.sources.file(bind.span.file).name;
        let line = self.context.sources.position(bind.span).line;
        ConfigLocation {
            owner: proxy.into(),
            what: format!("bind '{}'", display(&bind.address)).into(),
            line: format!("{file}:{line}").into(),
        }
    }

    fn at(&self, proxy: &str, bind: &Bind, why: &str) -> String {
        let ConfigLocation { owner, what, line } = self.bind_place(proxy, bind);
        format!("{owner}: {why} for {what} at [{line}]")
    }

    fn refuse_bind(&mut self, proxy: &str, bind: &Bind, error: &AcceptorError) {
        let (code, help): (&'static Code, &str) = match error {
            AcceptorError::NoCertificate => (
                &codes::NO_CERTIFICATE,
                "add `crt FILE` with a certificate and its key",
            ),
            AcceptorError::NoAuthorities => (
                &codes::TLS_UNVERIFIED,
                "add `ca-file FILE` with the CA certificates for clients",
            ),
            AcceptorError::NoVersion(_) => (
                &codes::TLS_VERSIONS,
                "remove `force-tlsv1x`, `ssl-max-ver` and `no-tlsv1x`, and check `ssl-default-bind-options`",
            ),
            _ => (&codes::BAD_TLS_SETTING, "check the files named here"),
        };
        let mut told = self.at(proxy, bind, &error.to_string());
        if matches!(error, AcceptorError::NoCertificate) {
            told += " (use 'crt')";
        }
        self.report(Diagnostic::error(code, bind.span, told + ".").help(help));
    }
}
