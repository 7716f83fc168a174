//! Checks logs at the end of loading: formats that do not fit the mode of their proxy, and formats
//! without a target. Assigns log profiles to targets.

use super::{Loader, codes};
use language::{Diagnostic, suggest};
use model::config::{LogProfile, Mode, Proxy};
use model::rules::{BuiltIn, action_codes, built_in};
use std::sync::Arc;

impl Loader {
    pub(super) fn find_log_profiles(&mut self) {
        let profiles: Vec<Arc<LogProfile>> = std::mem::take(&mut self.sections.log_profiles)
            .into_iter()
            .map(Arc::new)
            .collect();
        let config = &mut self.config;
        let of_proxies = config.proxies.iter_mut().flat_map(|proxy| &mut proxy.logs);
        let of_sections = config.log_forwards.iter_mut();
        let of_apps = config.fcgi_apps.iter_mut().flat_map(|app| &mut app.logs);
        let targets = config
            .global
            .logs
            .iter_mut()
            .chain(of_proxies)
            .chain(of_apps)
            .chain(of_sections.flat_map(|section| &mut section.logs));
        let mut told = Vec::new();
        for reference in targets.filter_map(|target| target.profile.as_mut()) {
            let found = profiles.iter().find(|known| known.name == reference.name);
            reference.profile = found.cloned();
            if found.is_none() {
                let names = profiles.iter().map(|known| &*known.name);
                let near = suggest::nearest(&reference.name, names);
                let message = format!("log-profile '{}' not found", reference.name);
                told.push(
                    Diagnostic::error(&codes::UNKNOWN_LOG_PROFILE, reference.span, message)
                        .label("no section has this name")
                        .did_you_mean(reference.span, near),
                );
            }
        }
        self.report_all(told);
    }

    pub(super) fn check_logs(&mut self) {
        let mut told = Vec::new();
        for proxy in self
            .config
            .proxies
            .iter_mut()
            .filter(|proxy| proxy.kind.is_frontend())
        {
            told.extend(check(proxy));
            told.extend(check_profiles(proxy));
        }
        self.report_all(told);
    }
}

/// Reports a log profile of a TCP proxy that uses data of requests.
fn check_profiles(proxy: &Proxy) -> Option<Diagnostic> {
    if proxy.mode != Mode::Tcp {
        return None;
    }
    let references = proxy.logs.iter().filter_map(|log| log.profile.as_ref());
    references.into_iter().find_map(|reference| {
        let profile = reference.profile.as_ref()?;
        let alias = profile.needs_http()?;
        let name = format!("{} '{}'", proxy.kind.name(), proxy.name);
        Some(
            Diagnostic::error(
                &codes::WRONG_MODE,
                reference.span,
                format!(
                    "log-profile '{}' has '%{alias}', which requires 'mode http'",
                    profile.name
                ),
            )
            .label(format!("used in {name}, which is in 'mode tcp'"))
            .with_label(profile.span, "the profile"),
        )
    })
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
                .help("use `option tcplog`"),
            );
        }
        if let Some(alias) = format.needs_http() {
            return Some(
                Diagnostic::error(
                    &codes::WRONG_MODE,
                    proxy.span,
                    format!("the log format of {name} has '%{alias}', which requires 'mode http'"),
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
            .help("add `log global` to it or to its `defaults`"),
        );
    }
    None
}
