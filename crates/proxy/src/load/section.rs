//! Sections: where the loader is, and what their first and last lines do.

use super::{Defaults, Loader, codes};
use crate::config::{Proxy, ProxyIndex, ProxyKind};
use crate::keyword::known::SECTIONS;
use crate::rules::AclTable;
use crate::state::ProxyState;
use language::{Diagnostic, Line, suggest};
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// Where the loader is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    /// Before the first section.
    None,
    /// `global`.
    Global,
    /// A `defaults`: its place in the loader's list.
    Defaults(usize),
    /// A frontend, backend or listen, and which of them.
    Proxy(ProxyIndex, ProxyKind),
    /// A `crt-store`: the loader knows which.
    CrtStore,
    /// A `cache`: the loader has its draft.
    Cache,
    /// A section that is known and not built, and was told: its lines are
    /// checked for unknown words only.
    NotBuilt(&'static str),
    /// A section whose first line was refused: its lines are passed over, for
    /// what they would say is not known.
    Refused,
}

impl Section {
    /// The name under which keywords say that they are legal; None where
    /// lines are not looked at.
    pub fn place(self) -> Option<&'static str> {
        match self {
            Section::Global => Some("global"),
            Section::Defaults(_) => Some("defaults"),
            Section::Proxy(_, kind) => Some(kind.name()),
            Section::CrtStore => Some("crt-store"),
            Section::Cache => Some("cache"),
            Section::NotBuilt(name) => Some(name),
            Section::None | Section::Refused => None,
        }
    }
}

/// The words that begin a section.
pub fn section_names() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|(name, _)| *name)
}

/// Whether a word begins a section.
pub fn is_section(word: &str) -> bool {
    SECTIONS.iter().any(|(name, _)| *name == word)
}

/// What HAProxy has for a proxy before any line is read.
pub(super) fn built_in_defaults() -> Proxy {
    Proxy::default()
}

impl Loader {
    /// The first line of a section.
    pub(super) fn begin_section(&mut self, line: &Line) {
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
            "crt-store" => {
                self.no_more_words(line, 2);
                match crate::keyword::crt_store::CrtStore::begin(line) {
                    Ok(store) => {
                        self.crt_store = store;
                        Section::CrtStore
                    }
                    Err(refused) => {
                        self.tell(*refused);
                        Section::Refused
                    }
                }
            }
            "cache" => {
                self.no_more_words(line, 2);
                match crate::keyword::cache::Draft::begin(line) {
                    Ok(draft) => {
                        self.cache = Some(draft);
                        Section::Cache
                    }
                    Err(refused) => {
                        self.tell(*refused);
                        Section::Refused
                    }
                }
            }
            other => {
                let name = SECTIONS
                    .iter()
                    .map(|(name, _)| *name)
                    .find(|name| *name == other);
                self.tell(
                    Diagnostic::error(
                        &codes::NOT_BUILT,
                        word.span,
                        format!("section '{other}' is known, but not built yet"),
                    )
                    .label("Evenkeel does not do this yet")
                    .help("remove the section and what refers to it, or keep these proxies on HAProxy for now"),
                );
                name.map_or(Section::Refused, Section::NotBuilt)
            }
        };
    }

    /// What is to be done when a section's last line was read.
    pub(super) fn end_section(&mut self) {
        let acls = std::mem::take(&mut self.acls);
        match self.section {
            Section::Defaults(index) => {
                for diagnostic in acls.clone().seal() {
                    self.tell(diagnostic);
                }
                self.defaults[index].acls = acls;
            }
            Section::Proxy(..) => {
                for diagnostic in acls.seal() {
                    self.tell(diagnostic);
                }
            }
            Section::Cache => self.end_cache(),
            _ => {}
        }
        self.section = Section::None;
    }

    /// Words behind the name of a `defaults` or `backend`, which HAProxy passes
    /// over without a word.
    fn surplus_words(&mut self, line: &Line, from: usize) {
        if let Some(extra) = line.word(from) {
            let keyword = line.words[0].text();
            self.tell(
                Diagnostic::warning(
                    &codes::SURPLUS,
                    extra.span,
                    format!(
                        "'{}' is ignored behind the name of the '{keyword}' section",
                        extra.text()
                    ),
                )
                .label("one word too many"),
            );
        }
    }

    fn no_more_words(&mut self, line: &Line, from: usize) {
        if let Some(extra) = line.word(from) {
            self.tell(
                Diagnostic::error(
                    &codes::TOO_MANY_ARGUMENTS,
                    extra.span,
                    format!(
                        "'{}' cannot handle unexpected argument '{}'",
                        line.words[0].text(),
                        extra.text()
                    ),
                )
                .label("one word too many"),
            );
        }
    }

    fn begin_defaults(&mut self, line: &Line) -> Section {
        let mut at = 1;
        let mut proxy = built_in_defaults();
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
            acls: AclTable::default(),
        });
        Section::Defaults(self.defaults.len() - 1)
    }

    /// The `defaults` section that `from NAME` (at this word) names.
    fn named_defaults(&mut self, line: &Line, at: usize) -> Option<usize> {
        let Some(name) = line.word(at + 1) else {
            self.tell(
                Diagnostic::error(
                    &codes::MISSING_ARGUMENT,
                    line.end(),
                    "'from' expects the name of a defaults section",
                )
                .label("a name is missing here"),
            );
            return None;
        };
        let found = self
            .defaults
            .iter()
            .rposition(|d| !d.proxy.name.is_empty() && *d.proxy.name == *name.text());
        if found.is_none() {
            let mut diagnostic = Diagnostic::error(
                &codes::UNKNOWN_DEFAULTS,
                name.span,
                format!("unknown defaults section '{}'", name.text()),
            )
            .label("no `defaults` of that name stands before this line");
            let text = name.text();
            if let Some(near) =
                suggest::nearest(&text, self.defaults.iter().map(|d| &*d.proxy.name))
            {
                diagnostic = diagnostic
                    .help(format!("did you mean '{near}'?"))
                    .fix(name.span, near);
            }
            self.tell(diagnostic);
        }
        found
    }

    fn begin_proxy(&mut self, line: &Line, kind: ProxyKind) -> Section {
        let Some(name) = line.word(1) else {
            self.tell(
                Diagnostic::error(
                    &codes::SECTION_NAME,
                    line.end(),
                    format!("'{}' expects a name", kind.name()),
                )
                .label("a name is missing here"),
            );
            return Section::Refused;
        };
        let bad = |b: &&u8| !(b.is_ascii_alphanumeric() || b"._-:".contains(b));
        if let Some(bad) = name.bytes.iter().find(bad) {
            self.tell(
                Diagnostic::error(
                    &codes::SECTION_NAME,
                    name.span,
                    format!(
                        "character '{}' is not permitted in '{}' name '{}'",
                        char::from(*bad),
                        kind.name(),
                        name.text()
                    ),
                )
                .label("letters, digits, `.`, `_`, `-` and `:` are"),
            );
            return Section::Refused;
        }
        let mut at = 2;
        let legacy_address = line
            .word(at)
            .filter(|w| kind.is_frontend() && !w.is("from"));
        at += usize::from(legacy_address.is_some());
        let mut base = self.defaults.len() - 1;
        if line.word(at).is_some_and(|w| w.is("from")) {
            let Some(named) = self.named_defaults(line, at) else {
                return Section::Refused;
            };
            base = named;
            at += 2;
        }
        if kind.is_frontend() {
            self.no_more_words(line, at);
        } else {
            self.surplus_words(line, at);
        }
        self.acls = self.defaults[base].acls.inherited();
        let index = ProxyIndex(self.config.proxies.len() as u32);
        let mut proxy = Proxy {
            span: name.span,
            name: name.text().into(),
            kind,
            state: Arc::new(ProxyState::new(&name.text())),
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
            .label("this name is taken")
            .also(old.span, "first used here");
            self.tell(diagnostic);
        }
    }
}
