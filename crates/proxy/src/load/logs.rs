//! The end of loading, for logs: formats that do not fit the mode of their
//! proxy, and formats without a target.

use super::{Loader, codes};
use crate::config::{Mode, Proxy};
use crate::rules::{BuiltIn, action_codes, built_in};
use language::Diagnostic;
use std::sync::Arc;

impl Loader {
    /// Checks the log formats of all proxies.
    pub(super) fn check_logs(&mut self) {
        let mut told = Vec::new();
        for proxy in self
            .config
            .proxies
            .iter_mut()
            .filter(|proxy| proxy.kind.is_frontend())
        {
            told.extend(check(proxy));
        }
        for diagnostic in told {
            self.tell(diagnostic);
        }
    }
}

fn check(proxy: &mut Proxy) -> Option<Diagnostic> {
    let format = proxy.log_format.clone()?;
    let name = format!("{} '{}'", proxy.kind.name(), proxy.name);
    if proxy.mode == Mode::Tcp {
        let http = [
            (BuiltIn::Http, "httplog"),
            (BuiltIn::Clf, "httplog"),
            (BuiltIn::Https, "httpslog"),
        ];
        let named = http
            .into_iter()
            .find(|(which, _)| Arc::ptr_eq(&format, &built_in(*which)));
        if let Some((_, option)) = named {
            proxy.log_format = Some(built_in(BuiltIn::Tcp));
            return Some(
                Diagnostic::warning(
                    &codes::IGNORED_IN_MODE,
                    proxy.span,
                    format!("'option {option}' not usable with {name} (needs 'mode http'), 'option tcplog' is used"),
                )
                .label("in 'mode tcp'")
                .help("write `option tcplog` in it"),
            );
        }
        if let Some(alias) = format.needs_http() {
            return Some(
                Diagnostic::error(
                    &codes::WRONG_MODE,
                    proxy.span,
                    format!("the log format of {name} has '%{alias}', which only 'mode http' has"),
                )
                .label("in 'mode tcp'"),
            );
        }
    }
    if proxy.logs.is_empty() && !proxy.log_global {
        return Some(
            Diagnostic::warning(
                &action_codes::LOG_FORMAT_UNUSED,
                proxy.span,
                format!("log format ignored for {name} since it has no log address"),
            )
            .label("has no `log` line")
            .help("write `log global` in it or in its `defaults`"),
        );
    }
    None
}
