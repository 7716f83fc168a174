//! Completes a load: assigns IDs, resolves names to indexes, applies settings of `global` to
//! proxies, and checks the file as a whole ([`super::check`]).

use super::{Loader, codes};
use crate::family::server::number_from;
use language::{Diagnostic, Severity, suggest};
use model::config::{Mode, Proxy, ProxyIndex, Rare, Reference, SwitchTarget};
use std::collections::HashSet;

const FIRST_ID: u32 = 1;

impl Loader {
    /// Resolves the names of backends in `reqsetbe` rules to indexes.
    pub(crate) fn resolve_line_rules(&mut self) {
        for at in 0..self.config.proxies.len() {
            let proxy = &self.config.proxies[at];
            if proxy.disabled || !proxy.kind.is_frontend() {
                continue;
            }
            let Some(mut lines) = proxy.lines.clone() else {
                continue;
            };
            let mut told = Vec::new();
            for reference in lines.request.references() {
                told.extend(self.resolve(at, reference, "reqsetbe"));
            }
            self.config.proxies[at].lines = Some(lines);
            self.report_all(told);
        }
    }

    pub(super) fn finish(&mut self) {
        crate::family::finish_http_proxy(self);
        crate::family::finish_dispatch(self);
        crate::family::server::finish_servers(self);
        crate::family::finish_persistence(self);
        self.finish_tls();
        self.number();
        self.load_server_states();
        self.index_backends();
        self.resolve_references();
        self.resolve_line_rules();
        self.check_lookups();
        self.finish_tables();
        self.finish_peers();
        self.ready_lists();
        self.finish_userlists();
        self.finish_error_groups();
        crate::family::fcgi::finish(self);
        self.find_log_profiles();
        self.assign_logs();
        self.finish_log_forwards();
        self.finish_log_backends();
        self.find_rings();
        self.check_logs();
        self.check_proxies();
        self.check_listeners();
        for proxy in &mut self.config.proxies {
            proxy.rare = Rare::of(proxy);
        }
        if self.config.global.zero_warning && super::count_warnings(&self.context.diagnostics) > 0 {
            self.report(
                Diagnostic::global(
                    &codes::ZERO_WARNING,
                    Severity::Error,
                    "some warnings were found and 'zero-warning' is set",
                )
                .help("resolve the warnings above, or remove 'zero-warning' from `global`"),
            );
        }
    }

    /// Assigns an ID to every proxy and listener without one, and reports duplicate IDs of
    /// listeners.
    fn number(&mut self) {
        let mut told = Vec::new();
        // Reserves the first ID for the proxy of `stats socket` listeners, as HAProxy does.
        let first = FIRST_ID + u32::from(!self.config.global.stats_sockets.is_empty());
        number_from(first, self.config.proxies.iter_mut().map(|p| &mut p.id));
        for proxy in &mut self.config.proxies {
            let binds = proxy.binds.iter_mut().map(|b| (&mut b.id, b.span));
            told.extend(number_within(binds));
        }
        self.report_all(told);
    }

    fn index_backends(&mut self) {
        let config = &mut self.config;
        for (index, proxy) in config.proxies.iter().enumerate() {
            if proxy.kind.is_backend() {
                let index = ProxyIndex(index as u32);
                config.backends.entry(proxy.name.clone()).or_insert(index);
            }
        }
    }

    fn resolve_references(&mut self) {
        for at in 0..self.config.proxies.len() {
            let proxy = &self.config.proxies[at];
            if !proxy.kind.is_frontend() || proxy.disabled {
                continue;
            }
            let mut default = proxy.default_backend.clone();
            let mut rules = proxy.use_backend.clone();
            let mut told = Vec::new();
            if let Some(reference) = &mut default {
                told.extend(self.resolve(at, reference, "default_backend"));
            }
            for rule in &mut rules {
                if let SwitchTarget::Static(reference) = &mut rule.target {
                    told.extend(self.resolve(at, reference, "use_backend"));
                }
            }
            let proxy = &mut self.config.proxies[at];
            (proxy.default_backend, proxy.use_backend) = (default, rules);
            self.report_all(told);
        }
    }

    /// Resolves the backend of a reference, or returns the error if the backend is unknown, the
    /// proxy itself, or has another mode. `from` is the index of the proxy with the reference.
    pub(crate) fn resolve(
        &self,
        from: usize,
        reference: &mut Reference,
        keyword: &str,
    ) -> Option<Diagnostic> {
        let frontend = &self.config.proxies[from];
        let Some(index) = self.config.backend(&reference.name) else {
            return Some(self.unknown_backend(frontend, reference, keyword));
        };
        let backend = self.config.proxy(index);
        if index.0 as usize == from {
            return Some(
                Diagnostic::error(
                    &codes::BACKEND_LOOP,
                    reference.span,
                    format!("'{keyword} {}' refers to its own section", reference.name),
                )
                .label("this is the current section")
                .help("remove the line: a `listen` section uses its own servers anyway"),
            );
        }
        let other = frontend.mode == Mode::Http && backend.mode == Mode::Tcp;
        if other || backend.mode == Mode::Log {
            return Some(wrong_mode(frontend, backend, reference, keyword));
        }
        reference.index = Some(index);
        None
    }

    fn unknown_backend(&self, from: &Proxy, reference: &Reference, keyword: &str) -> Diagnostic {
        let told = format!(
            "Proxy '{}': unable to find required {keyword}: '{}'",
            from.name, reference.name
        );
        let mut diagnostic = Diagnostic::error(&codes::UNKNOWN_BACKEND, reference.span, told)
            .label("not the name of a `backend` or `listen`");
        let frontend = self
            .config
            .proxies
            .iter()
            .find(|p| p.name == reference.name);
        if let Some(frontend) = frontend {
            diagnostic = diagnostic.with_label(frontend.span, "this is a frontend");
        }
        if !self.suggests() {
            return diagnostic;
        }
        let mut names: Vec<&str> = self.config.backends.keys().map(|name| &**name).collect();
        names.sort_unstable();
        diagnostic.did_you_mean(reference.span, suggest::nearest(&reference.name, names))
    }

    fn assign_logs(&mut self) {
        let config = &mut self.config;
        let global = &config.global;
        for proxy in config.proxies.iter_mut().filter(|p| p.log_global) {
            let own = std::mem::take(&mut proxy.logs);
            proxy.logs = global.logs.iter().cloned().chain(own).collect();
        }
    }
}

fn wrong_mode(
    frontend: &Proxy,
    backend: &Proxy,
    reference: &Reference,
    keyword: &str,
) -> Diagnostic {
    Diagnostic::error(
        &codes::WRONG_MODE,
        reference.span,
        format!(
            "{} {} '{}' cannot use {} {} '{}' ('{keyword}')",
            frontend.mode.name(),
            frontend.kind.name(),
            frontend.name,
            backend.mode.name(),
            backend.kind.name(),
            backend.name
        ),
    )
    .label("this backend is in 'mode tcp'")
    .with_label(frontend.span, "'mode http'")
    .with_label(backend.span, "'mode tcp'")
    .help("set the same 'mode' in both (the default is that of `defaults`, or tcp)")
}

/// Assigns IDs from 1 upwards to the listeners of a proxy without an ID. Returns errors for
/// duplicate IDs of the file.
fn number_within<'p>(all: impl Iterator<Item = (&'p mut u32, language::Span)>) -> Vec<Diagnostic> {
    let all: Vec<_> = all.collect();
    let mut told = Vec::new();
    let mut taken = HashSet::new();
    for (id, span) in all.iter().filter(|(id, _)| **id != 0) {
        if !taken.insert(**id) {
            let message = format!("duplicate listener id {id} in this proxy");
            told.push(Diagnostic::error(&codes::DUPLICATE_ID, *span, message).label("this one"));
        }
    }
    number_from(1, all.into_iter().map(|(id, _)| id));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_file_stay_and_others_fill_the_gaps() {
        let mut ids = [0, 2, 0, 7, 0];
        let span = language::Span::default();
        let told = number_within(ids.iter_mut().map(|id| (id, span)));
        assert!(told.is_empty());
        assert_eq!(ids, [1, 2, 3, 7, 5]);
        let mut ids = [5, 5];
        let told = number_within(ids.iter_mut().map(|id| (id, span)));
        assert_eq!(told.len(), 1);
    }
}
