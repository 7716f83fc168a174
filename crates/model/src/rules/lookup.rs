//! Looks up the proxies and servers that expressions name, when the whole file is read, because
//! they may be defined later.

use super::argument::ArgumentKind;
use super::codes;
use crate::config::{Config, Proxy};
use crate::rules::draft::{ConfigDraft, Section};
use language::{Diagnostic, Span, suggest};

/// Name in an expression that must be a proxy or a server.
#[derive(Clone, Debug)]
pub struct Lookup {
    pub span: Span,
    pub kind: ArgumentKind,
    /// Backend of a server; None is the section's own.
    pub backend: Option<Box<str>>,
    pub name: Box<str>,
    /// Section that contains the expression.
    pub from: Section,
}

impl ConfigDraft {
    /// Reports names that do not exist, and registers the servers that expressions name, which
    /// operators cannot remove.
    pub fn check_lookups(&mut self) {
        for lookup in std::mem::take(&mut self.lookups) {
            if let Some(diagnostic) = check(&self.config, &lookup) {
                self.report(diagnostic);
            } else if let (ArgumentKind::Server, Some(backend)) =
                (lookup.kind, backend_of(self, &lookup))
            {
                self.config.named_servers.push((backend, lookup.name));
            }
        }
    }
}

fn backend_of(loader: &ConfigDraft, lookup: &Lookup) -> Option<Box<str>> {
    match (&lookup.backend, lookup.from) {
        (Some(name), _) => Some(name.clone()),
        (None, Section::Proxy(index, _)) => Some(loader.config.proxy(index).name.clone()),
        (None, _) => None,
    }
}

fn check(config: &Config, lookup: &Lookup) -> Option<Diagnostic> {
    match lookup.kind {
        ArgumentKind::Frontend => proxy(config, lookup, "frontend", &lookup.name, |p| {
            p.kind.is_frontend()
        })
        .err(),
        ArgumentKind::Backend => proxy(config, lookup, "backend", &lookup.name, |p| {
            p.kind.is_backend()
        })
        .err(),
        ArgumentKind::Server => server(config, lookup),
        ArgumentKind::Table => table(config, lookup),
        _ => None,
    }
}

fn unknown<'n>(
    span: Span,
    what: &str,
    name: &str,
    names: impl Iterator<Item = &'n str>,
) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        &codes::UNKNOWN_PROXY,
        span,
        format!("unable to find {what} '{name}'"),
    )
    .label("no backend has this name");
    diagnostic.suggest(suggest::nearest(name, names))
}

fn proxy<'c>(
    config: &'c Config,
    lookup: &Lookup,
    what: &str,
    name: &str,
    is: fn(&Proxy) -> bool,
) -> Result<&'c Proxy, Diagnostic> {
    let mut known = config.proxies.iter().filter(|proxy| is(proxy));
    let names = config
        .proxies
        .iter()
        .filter(|proxy| is(proxy))
        .map(|proxy| &*proxy.name);
    known
        .find(|proxy| *proxy.name == *name)
        .ok_or_else(|| unknown(lookup.span, what, name, names))
}

fn table(config: &Config, lookup: &Lookup) -> Option<Diagnostic> {
    let tables = &config.tables;
    if tables.by_name(&lookup.name).is_some() {
        return None;
    }
    let name = &lookup.name;
    let refused =
        |told: String| Diagnostic::error(&crate::tables::codes::UNKNOWN_TABLE, lookup.span, told);
    if config.proxies.iter().any(|proxy| proxy.name == *name) {
        let told = refused(format!(
            "'{name}' has no stick-table, which this line needs"
        ));
        return Some(told.help(format!(
            "add a `stick-table` line to '{name}', or name a proxy that has one"
        )));
    }
    let told = refused(format!("unable to find stick-table '{name}'"))
        .label("no proxy of this name has a table");
    let names = tables.all.iter().map(|table| &*table.name);
    Some(told.suggest(suggest::nearest(&lookup.name, names)))
}

fn server(config: &Config, lookup: &Lookup) -> Option<Diagnostic> {
    let backend = match (&lookup.backend, lookup.from) {
        (Some(name), _) => match proxy(config, lookup, "backend", name, |p| p.kind.is_backend()) {
            Ok(backend) => backend,
            Err(diagnostic) => return Some(diagnostic),
        },
        (None, Section::Proxy(index, _)) => config.proxy(index),
        (None, Section::Defaults(_)) => {
            let name = &lookup.name;
            let told = format!(
                "the server '{name}' needs the name of its backend in a 'defaults' section"
            );
            let told = Diagnostic::error(&codes::UNKNOWN_PROXY, lookup.span, told)
                .label("the backend is missing")
                .help(format!("write `BACKEND/{name}`"))
                .with_earlier_behaviour(
                    "the server of that name in each proxy that inherits the line",
                );
            return Some(told);
        }
        (None, _) => return None,
    };
    let names = backend.servers.iter().map(|server| &*server.name);
    if names.clone().any(|name| *name == *lookup.name) {
        return None;
    }
    Some(unknown(
        lookup.span,
        &format!("a server of '{}' named", backend.name),
        &lookup.name,
        names,
    ))
}
