//! Builds one server at run time from the arguments of an operator's command instead of a file.
//! Files and names that its options need come from the current configuration, never from the
//! environment.

use super::{Loader, Section};
use crate::family::{Args, server};
use configuration::LoadOptions;
use configuration::outside::{Answers, Outside};
use language::{ConfigLine, ConfigWord, Environment, Severity, Span};
use model::config::{Config, ProxyIndex, ProxyKind, Server, ServerOptions};
use std::sync::Arc;

/// File name shown in diagnostics about the words.
const FILE: &str = "CLI";

/// Builds a server from the words of a command, of which the first is its name. The server starts
/// in maintenance unless `enabled` is given.
///
/// # Errors
///
/// Returns the errors in the words, one per line.
pub fn build(config: &Config, backend: ProxyIndex, words: &[Box<str>]) -> Result<Server, String> {
    let mut loader = loader(config);
    let mut draft = config.proxy(backend).clone();
    draft.servers.clear();
    draft.use_server.clear();
    draft.default_server = ServerOptions {
        disabled: true,
        ..ServerOptions::default()
    };
    loader.config.proxies = vec![draft];
    loader.section = Section::Proxy(ProxyIndex(0), ProxyKind::Backend);
    let line = line(&mut loader, "server", words);
    let mut args = Args::new(
        &line,
        1,
        "server",
        "server <name> <addr>[:<port>] [<option>…]",
        &super::codes::OF_ARGUMENTS,
    );
    if let Err(diagnostic) = server::added(&mut loader, &mut args) {
        loader.report(diagnostic);
    }
    // Removes `track` until the checks below are done: this draft does not contain the tracked
    // server.
    let mut built = loader.config.proxies[0].servers.pop();
    let track = built.as_mut().and_then(|one| one.options.track.take());
    loader.config.proxies[0].servers.extend(built);
    if loader.context.diagnostics.errors() == 0 {
        server::finish_servers(&mut loader);
    }
    if loader.context.diagnostics.errors() > 0 {
        return Err(diagnostics_text(&loader));
    }
    let built = loader.config.proxies[0].servers.pop();
    let mut built = built.ok_or_else(|| diagnostics_text(&loader))?;
    // Replaces the ID that `finish_servers` assigned among the servers of this draft, which has
    // only one.
    built.id = id(&line, built.id);
    built.options.track = track;
    // Makes checks use TLS only with `check-ssl`, even if the traffic uses TLS.
    built.options.tls.check_ssl.get_or_insert(false);
    Ok(built)
}

/// Returns a loader for a single line outside of a file, with the global settings and certificates
/// of a configuration. The loader cannot query the environment.
pub(super) fn loader(config: &Config) -> Loader {
    let mut loader = Loader::new(Environment::empty(), LoadOptions::default());
    loader.context.outside = Outside::recorded(Answers::default());
    loader.config.global = config.global.clone();
    loader.config.certificates = Arc::clone(&config.certificates);
    loader
}

fn id(line: &ConfigLine, numbered: u32) -> u32 {
    let given = line.words.iter().any(|word| word.is("id"));
    if given { numbered } else { 0 }
}

pub(super) fn line(loader: &mut Loader, keyword: &str, words: &[Box<str>]) -> ConfigLine {
    let mut text = String::from(keyword);
    let mut spans = vec![(0, text.len())];
    for word in words {
        text.push(' ');
        let start = text.len();
        text.push_str(word);
        spans.push((start, text.len()));
    }
    let bytes: Vec<Vec<u8>> = spans
        .iter()
        .map(|(start, end)| text.as_bytes()[*start..*end].to_vec())
        .collect();
    let file = loader.context.sources.add(FILE, text.into_bytes());
    let span = |(start, end): (usize, usize)| Span {
        file,
        start: start as u32,
        end: end as u32,
    };
    let words: Vec<ConfigWord> = bytes
        .into_iter()
        .zip(&spans)
        .map(|(bytes, at)| ConfigWord {
            bytes,
            span: span(*at),
        })
        .collect();
    let whole = spans.last().map_or((0, 0), |(_, end)| (0, *end));
    ConfigLine {
        words,
        span: span(whole),
        unset: Vec::new(),
    }
}

pub(super) fn diagnostics_text(loader: &Loader) -> String {
    let errors = loader
        .context
        .diagnostics
        .iter()
        .filter(|one| one.severity == Severity::Error);
    let lines: Vec<String> = errors
        .map(|one| {
            let mut text = one.message.trim_end_matches('.').to_owned();
            if let Some(help) = one
                .help
                .as_ref()
                .filter(|help| help.starts_with("did you mean"))
            {
                text = format!("{text}; {help}");
            } else if !text.ends_with('!') {
                text.push('.');
            }
            text
        })
        .collect();
    if lines.is_empty() {
        "invalid options.".to_owned()
    } else {
        lines.join("\n")
    }
}
