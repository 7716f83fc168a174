//! Begins and ends the sections of a file: checks the first line of each, and applies the effects
//! of its end.

use super::{Loader, codes};
use configuration::Sections;
use language::arguments::section_name;
use language::{ConfigLine, ConfigWord, Diagnostic, Span, suggest};
use model::config::{Proxy, ProxyIndex, ProxyKind};
use model::known::{self, instead};
use model::rules::AclTable;
use model::rules::action_codes;
use model::rules::draft::{Defaults, Section};
use model::state::ProxyState;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

pub const SECTIONS: Sections = Sections {
    names: known::SECTIONS,
    shared: &[("node", "global")],
    own_on: &["log-profile"],
    secrets: &[
        "password",
        "insecure-password",
        "auth",
        "dynamic-cookie-key",
        "agent-send",
    ],
    ..Sections::NONE
};

/// Returns the address on the first line of a section (a form of 1.x), and the index of the next
/// word: options of `bind` may follow the address.
fn legacy_address(line: &ConfigLine, kind: ProxyKind) -> (Option<&ConfigWord>, usize) {
    let address = line.word(2).filter(|w| kind.is_frontend() && !w.is("from"));
    match address {
        None => (None, 2),
        Some(_) if line.word(3).is_some_and(|w| w.is("from")) => (address, 3),
        Some(_) => (address, line.words.len()),
    }
}

/// Returns an unused name: `name` with a number appended, from 2 on.
fn free_name(name: &str, mut taken: impl FnMut(&str) -> bool) -> Box<str> {
    let mut number = 2u32;
    loop {
        let other = format!("{name}-{number}");
        if !taken(&other) {
            return other.into();
        }
        number = number.saturating_add(1);
    }
}

/// Returns the error for rules of a `defaults` section that the sections described by `by` cannot
/// inherit.
fn rules_not_inherited(defaults: &Defaults, span: Span, by: &str) -> Diagnostic {
    let name = &defaults.proxy.name;
    Diagnostic::error(
        &action_codes::RULE_IN_DEFAULTS,
        span,
        format!("the rules of the defaults section '{name}' cannot be inherited by {by}"),
    )
    .label("inherits them")
    .with_label(defaults.proxy.span, "has rules")
    .help("put the rules into the proxies, or into a `defaults` section of their own that only frontends, or only backends, name with `from`")
    .with_earlier_behaviour("the rules apply in each proxy that inherits and supports them")
}

impl Loader {
    pub(super) fn begin_section(&mut self, line: &ConfigLine) {
        self.order = Default::default();
        let word = &line.words[0];
        self.section = match word.str() {
            "global" => {
                self.no_more_words(line, 1);
                Section::Global
            }
            "defaults" => self.begin_defaults(line),
            "frontend" => self.begin_proxy(line, ProxyKind::Frontend),
            "backend" => self.begin_proxy(line, ProxyKind::Backend),
            "listen" => self.begin_proxy(line, ProxyKind::Listen),
            "peers" => {
                self.no_more_words(line, 2);
                crate::family::peers::begin(self, line)
            }
            "ring" => {
                self.surplus_words(line, 2);
                match crate::family::ring::begin(self, line) {
                    Some(at) => Section::Ring(at),
                    None => Section::Refused,
                }
            }
            "log-forward" => crate::family::log_forward::begin(self, line),
            "crt-store" => {
                self.no_more_words(line, 2);
                let begun = crate::family::crt_store::CrtStore::begin(line);
                let begun = begun.map(|store| self.tls.store = store);
                self.section_unless_refused(begun, Section::CrtStore)
            }
            "userlist" => {
                self.no_more_words(line, 2);
                let begun = crate::family::userlist::Userlists::begin(self, line);
                self.section_unless_refused(begun, Section::Userlist)
            }
            "http-errors" => {
                self.surplus_words(line, 2);
                let begun = crate::family::http_errors::ErrorGroups::begin(self, line);
                self.section_unless_refused(begun, Section::HttpErrors)
            }
            "healthcheck" => self.begin_health_check(line),
            "log-profile" => {
                self.no_more_words(line, 2);
                crate::family::log_profile::begin(self, line)
            }
            "fcgi-app" => crate::family::fcgi::begin(self, line),
            "mailers" => self.begin_mailers(line),
            "cache" => {
                self.no_more_words(line, 2);
                let begun = crate::family::cache::CacheDraft::begin(line);
                let begun = begun.map(|draft| self.sections.cache = Some(draft));
                self.section_unless_refused(begun, Section::Cache)
            }
            "resolvers" => {
                let begun = crate::family::resolvers::begin(self, line);
                self.section_unless_refused(begun, Section::Resolvers)
            }
            _ => self.begin_not_built(word),
        };
    }

    fn begin_not_built(&mut self, word: &language::ConfigWord) -> Section {
        let other = word.str();
        let name = known::SECTIONS
            .iter()
            .map(|(name, _)| *name)
            .find(|name| *name == other);
        self.report(
            Diagnostic::error(
                &codes::NOT_BUILT,
                word.span,
                format!("section '{other}' is not supported"),
            )
            .help(instead(other).unwrap_or(
                "remove the section and what refers to it, or keep these proxies on HAProxy for now",
            )),
        );
        name.map_or(Section::Refused, Section::NotBuilt)
    }

    fn section_unless_refused(
        &mut self,
        begun: Result<(), Diagnostic>,
        section: Section,
    ) -> Section {
        match begun {
            Ok(()) => section,
            Err(refused) => {
                self.report(refused);
                Section::Refused
            }
        }
    }

    /// Parses the name of a section. Reports a missing name, further words, and a name that another
    /// section of the kind has.
    pub(crate) fn parse_section_name<'l>(
        &mut self,
        line: &'l ConfigLine,
        all: impl Fn(&Self) -> Vec<(&str, Span)>,
    ) -> Option<&'l language::ConfigWord> {
        let keyword = line.words[0].text();
        let Some(name) = line.word(1) else {
            self.report(
                Diagnostic::error(
                    &codes::MISSING_ARGUMENT,
                    line.end(),
                    format!("'{keyword}' expects a name"),
                )
                .label("the name is missing"),
            );
            return None;
        };
        self.no_more_words(line, 2);
        let same = all(self).into_iter().find(|(other, _)| name.is(other));
        if let Some(first) = same.map(|(_, first)| first) {
            self.report(
                Diagnostic::error(
                    &codes::DUPLICATE_NAME,
                    name.span,
                    format!(
                        "there is a '{keyword}' section named '{}' already",
                        name.text()
                    ),
                )
                .name_taken_at(first),
            );
            return None;
        }
        Some(name)
    }

    fn begin_health_check(&mut self, line: &ConfigLine) -> Section {
        let named = self.parse_section_name(line, |loader| {
            let all = loader.sections.health_checks.iter();
            all.map(|one| (&*one.name, one.span)).collect()
        });
        let Some(name) = named else {
            return Section::Refused;
        };
        self.sections
            .health_checks
            .push(model::config::HealthCheck {
                name: name.text().into(),
                span: name.span,
                check: model::config::Check {
                    kind: model::config::CheckKind::Tcp,
                    ..Default::default()
                },
            });
        Section::HealthCheck(self.sections.health_checks.len() - 1)
    }

    fn begin_mailers(&mut self, line: &ConfigLine) -> Section {
        let named = self.parse_section_name(line, |loader| {
            let all = loader.sections.mailers.iter();
            all.map(|one| (&*one.name, one.span)).collect()
        });
        let Some(name) = named else {
            return Section::Refused;
        };
        self.sections
            .mailers
            .push(model::config::Mailers::new(&name.text(), name.span));
        Section::Mailers(self.sections.mailers.len() - 1)
    }

    pub(super) fn end_section(&mut self) {
        self.end_old_rules();
        let acls = std::mem::take(&mut self.acls);
        match self.section {
            Section::Defaults(index) => {
                self.report_all(acls.clone().seal());
                self.defaults[index].acls = acls;
            }
            Section::Proxy(..) | Section::FcgiApp(_) => {
                self.report_all(acls.seal());
            }
            Section::Cache => self.end_cache(),
            _ => {}
        }
        self.section = Section::None;
    }

    /// Warns of words after the name of a `defaults` or `backend`, which HAProxy ignores silently.
    fn surplus_words(&mut self, line: &ConfigLine, from: usize) {
        if let Some(extra) = line.word(from) {
            let keyword = line.words[0].text();
            self.report(
                Diagnostic::warning(
                    &codes::SURPLUS,
                    extra.span,
                    format!(
                        "'{}' after the name of the '{keyword}' section is ignored",
                        extra.text()
                    ),
                )
                .label("extra word"),
            );
        }
    }

    fn no_more_words(&mut self, line: &ConfigLine, from: usize) {
        if let Some(extra) = line.word(from) {
            self.report(
                Diagnostic::error(
                    &codes::TOO_MANY_ARGUMENTS,
                    extra.span,
                    format!(
                        "'{}' cannot handle unexpected argument '{}'",
                        line.words[0].text(),
                        extra.text()
                    ),
                )
                .label("extra word"),
            );
        }
    }

    fn begin_defaults(&mut self, line: &ConfigLine) -> Section {
        let mut at = 1;
        let mut proxy = Proxy::default();
        if let Some(name) = line.word(at).filter(|w| !w.is("from")) {
            proxy.name = name.text().into();
            proxy.span = name.span;
            at += 1;
        }
        let mut acls = AclTable::default();
        if line.word(at).is_some_and(|w| w.is("from")) {
            let Some(base) = self.named_defaults(line, at) else {
                return Section::Refused;
            };
            if self.defaults[base].has_rules() {
                let span = line.words[at].span.to(line.words[at + 1].span);
                let base = &self.defaults[base];
                let refused = rules_not_inherited(base, span, "another `defaults` section");
                self.report(refused);
            }
            let (name, span) = (std::mem::take(&mut proxy.name), proxy.span);
            proxy = Proxy {
                name,
                span,
                ..self.defaults[base].proxy.clone()
            };
            acls = self.defaults[base].acls.inherited();
            at += 2;
        }
        self.surplus_words(line, at);
        self.acls = acls;
        self.defaults.push(Defaults {
            proxy,
            ..Defaults::default()
        });
        Section::Defaults(self.defaults.len() - 1)
    }

    /// Returns the index of the `defaults` section that `from NAME` at this word refers to. Reports
    /// an unknown name.
    fn named_defaults(&mut self, line: &ConfigLine, at: usize) -> Option<usize> {
        let Some(name) = line.word(at + 1) else {
            self.report(
                Diagnostic::error(
                    &codes::MISSING_ARGUMENT,
                    line.end(),
                    "'from' expects the name of a defaults section",
                )
                .label("the name is missing"),
            );
            return None;
        };
        let found = self
            .defaults
            .iter()
            .rposition(|d| !d.proxy.name.is_empty() && *d.proxy.name == *name.text());
        if found.is_none() {
            let diagnostic = Diagnostic::error(
                &codes::UNKNOWN_DEFAULTS,
                name.span,
                format!("unknown defaults section '{}'", name.text()),
            )
            .label("no earlier `defaults` section has this name");
            let names = self.defaults.iter().map(|d| &*d.proxy.name);
            let near = suggest::nearest(&name.text(), names);
            let diagnostic = diagnostic.did_you_mean(name.span, near);
            self.report(diagnostic);
        }
        found
    }

    fn begin_proxy(&mut self, line: &ConfigLine, kind: ProxyKind) -> Section {
        let Some(name) = line.word(1) else {
            self.report(
                Diagnostic::error(
                    &codes::SECTION_NAME,
                    line.end(),
                    format!("'{}' expects a name", kind.name()),
                )
                .label("the name is missing"),
            );
            return Section::Refused;
        };
        if let Err(bad) = section_name(kind.name(), name, &codes::SECTION_NAME) {
            self.report(bad);
            return Section::Refused;
        }
        let (legacy_address, mut at) = legacy_address(line, kind);
        let mut base = self.defaults.len() - 1;
        if line.word(at).is_some_and(|w| w.is("from")) {
            let Some(named) = self.named_defaults(line, at) else {
                return Section::Refused;
            };
            base = named;
            at += 2;
        }
        self.inherit_rules(base, name.span, kind);
        if kind.is_frontend() {
            self.no_more_words(line, at);
        } else {
            self.surplus_words(line, at);
        }
        let text = self.proxy_name(name, kind);
        self.acls = self.defaults[base].acls.inherited();
        let index = ProxyIndex(self.config.proxies.len() as u32);
        let mut proxy = Proxy {
            span: name.span,
            state: Arc::new(ProxyState::new(&text)),
            name: text,
            kind,
            ..self.defaults[base].proxy.clone()
        };
        if let Some(page) = &mut proxy.stats {
            page.inherited = true;
        }
        self.duplicate_name(index, &proxy);
        self.refused.inherit(base, index);
        self.config.proxies.push(proxy);
        self.section = Section::Proxy(index, kind);
        if let Some(address) = legacy_address {
            self.legacy_bind(line, address);
        }
        Section::Proxy(index, kind)
    }

    /// Records that a proxy inherits the rules of a `defaults` section, and reports rules that it
    /// cannot inherit.
    fn inherit_rules(&mut self, base: usize, span: Span, kind: ProxyKind) {
        let defaults = &mut self.defaults[base];
        if !defaults.has_rules() {
            return;
        }
        let (front, back) = (kind.is_frontend(), kind.is_backend());
        defaults.has_frontend |= front;
        defaults.has_backend |= back;
        let by = match (front, back) {
            (true, true) => Some("a `listen` section"),
            (true, false) if defaults.has_rules_of_responses() => {
                Some("a frontend, which has no `tcp-response content` rules")
            }
            (false, true) if defaults.has_early_rules() => Some(
                "a backend, which has no `tcp-request connection` and `tcp-request session` rules",
            ),
            _ if defaults.has_frontend && defaults.has_backend => {
                Some("both frontends and backends")
            }
            _ => None,
        };
        if let Some(by) = by {
            let refused = rules_not_inherited(&self.defaults[base], span, by);
            self.report(refused);
        }
    }

    /// Returns the name of a proxy: that of its line, or another one for a duplicate in an old
    /// file, which HAProxy 1.x accepted.
    fn proxy_name(&mut self, word: &ConfigWord, kind: ProxyKind) -> Box<str> {
        let sides = [kind.is_frontend(), kind.is_backend()];
        let taken = |names: &[HashMap<Box<str>, ProxyIndex>; 2], name: &str| {
            let mut all = names.iter().zip(sides);
            all.any(|(names, side)| side && names.contains_key(name))
        };
        let text = word.text();
        if !taken(&self.names, &text) || !self.is_old_file() {
            return text.into();
        }
        let name = free_name(&text, |name| taken(&self.names, name));
        self.warn_of_duplicate(word, &name);
        name
    }

    /// Returns the name of a server, or another one for a duplicate in an old file.
    pub(crate) fn server_name(&mut self, word: &ConfigWord) -> Box<str> {
        let text = word.text();
        let taken = |proxy: &Proxy, name: &str| proxy.servers.iter().any(|s| *s.name == *name);
        // Looks for duplicates in old files only, because the comparison of each name with all
        // earlier ones is quadratic.
        if !self.is_old_file() || !taken(self.proxy(), &text) {
            return text.into();
        }
        let name = free_name(&text, |name| taken(self.proxy(), name));
        self.warn_of_duplicate(word, &name);
        name
    }

    fn warn_of_duplicate(&mut self, word: &ConfigWord, name: &str) {
        let told = format!(
            "duplicate name '{}'; this one is now called '{name}'",
            word.text()
        );
        self.report(
            Diagnostic::warning(&codes::LEGACY, word.span, told)
                .label("HAProxy no longer accepts this")
                .help(format!("write `{name}`"))
                .fix(word.span, name),
        );
    }

    fn duplicate_name(&mut self, index: ProxyIndex, new: &Proxy) {
        let sides = [new.kind.is_frontend(), new.kind.is_backend()];
        let mut clash = None;
        for (names, _) in self.names.iter_mut().zip(sides).filter(|(_, side)| *side) {
            match names.entry(new.name.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(index);
                }
                Entry::Occupied(entry) => clash = clash.or(Some(*entry.get())),
            }
        }
        if let Some(old) = clash {
            let old = self.config.proxy(old);
            let diagnostic = Diagnostic::error(
                &codes::DUPLICATE_NAME,
                new.span,
                format!(
                    "{} '{}' has the same name as {} '{}'",
                    new.kind.name(),
                    new.name,
                    old.kind.name(),
                    old.name
                ),
            )
            .name_taken_at(old.span);
            self.report(diagnostic);
        }
    }
}
