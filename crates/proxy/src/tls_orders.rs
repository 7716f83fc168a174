//! Carries out an operator's commands about certificates and other TLS files (`new`, `set`,
//! `commit`, `del ssl …`) on a configuration. The certificate store records each command that took
//! effect, [`crate::carry`] passes the commands to the next process, and [`repeat`] repeats them
//! there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyword::family::bind_tls::sent_line;
use model::config::Config;
use std::collections::{BTreeSet, HashMap};
use tls::store::{StoreError, StoreOrder};
use zeroize::Zeroizing;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TlsFileKind {
    Certificate,
    Authorities,
    Revocations,
}

/// Returns the kind of file that a command is about. The table of commands accepts no other words.
pub fn kind(words: &[&str]) -> TlsFileKind {
    match words.get(2) {
        Some(&"ca-file") => TlsFileKind::Authorities,
        Some(&"crl-file") => TlsFileKind::Revocations,
        _ => TlsFileKind::Certificate,
    }
}

/// Function that executes a command: it gets the configuration, the words of the command and the
/// payload.
pub type StoreChange = fn(&Config, &[&str], Option<&str>) -> Result<String, StoreError>;

fn refused<T>(words: impl Into<String>) -> Result<T, StoreError> {
    Err(StoreError(words.into()))
}

/// Executes a command and records it for the next process ([`crate::carry`]).
pub fn recorded(
    config: &Config,
    words: &[&str],
    payload: Option<&str>,
    change: StoreChange,
) -> Result<String, StoreError> {
    let order = config.certificates.order(words, payload);
    let mut told = change(config, words, payload)?;
    if !config.certificates.ordered(order) {
        told.push_str("Too many changes: this one ends with the process.\n");
    }
    Ok(told)
}

/// Repeats the commands that operators gave to an earlier process. A command about a file that has
/// changed since is dropped: the file takes precedence.
pub fn repeat(config: &Config, orders: &[StoreOrder]) {
    let mut subjects: HashMap<(&str, &str), bool> = HashMap::new();
    for order in orders {
        let words: Vec<&str> = order.words.iter().map(|word| &**word).collect();
        let [verb, _, kind, ..] = words[..] else {
            continue;
        };
        let holds = subjects
            .entry((kind, &order.subject))
            .or_insert_with(|| config.certificates.is_subject_unchanged(order));
        let change: StoreChange = match (verb, kind) {
            _ if !*holds => continue,
            ("new", _) => create,
            ("set", "ocsp-response") => set_ocsp,
            ("set", "tls-key") => set_ticket_key,
            ("set", _) => set,
            ("commit", _) => commit,
            ("add", _) => add_to_list,
            ("del", "crt-list") => delete_from_list,
            ("del", _) => delete,
            _ => continue,
        };
        let payload = order.payload.as_ref().map(|payload| payload.as_str());
        // Ignores a failure: the command may need a second file whose content was dropped.
        let _ = recorded(config, &words, payload, change);
    }
}

/// Lists what operators changed in the files of a configuration, for a reload, which reads the
/// files again and drops these changes.
pub fn replaced_by_files(config: &Config) -> Vec<String> {
    let orders = config.certificates.orders();
    let names = orders.iter().filter_map(|order| {
        let kind = match order.words.get(2)?.as_ref() {
            "cert" => "certificate",
            "ca-file" => "CA file",
            "crl-file" => "CRL file",
            "crt-list" => "crt-list",
            "tls-key" => "ticket key file",
            _ => return None,
        };
        Some((kind, &*order.subject))
    });
    let names: BTreeSet<(&str, &str)> = names.collect();
    let lines = names.into_iter().map(|(kind, name)| {
        format!("{kind} '{name}' was changed at run time; the reload loads the file")
    });
    lines.collect()
}

pub fn create(config: &Config, words: &[&str], _: Option<&str>) -> Result<String, StoreError> {
    let store = &config.certificates;
    let Some(name) = words.get(3) else {
        return refused(format!("'new ssl {}' expects a filename\n", words[2]));
    };
    match kind(words) {
        TlsFileKind::Certificate => store.new_certificate(name),
        TlsFileKind::Authorities => store.new_authorities(name),
        TlsFileKind::Revocations => store.new_revocations(name),
    }
}

pub fn set(config: &Config, words: &[&str], payload: Option<&str>) -> Result<String, StoreError> {
    let (kind, store) = (kind(words), &config.certificates);
    let (Some(name), Some(payload)) = (words.get(3), payload) else {
        let what = match kind {
            TlsFileKind::Certificate => "a certificate as a payload",
            TlsFileKind::Authorities => "CAs as a payload",
            TlsFileKind::Revocations => "CRLs as a payload",
        };
        return refused(format!(
            "'set ssl {} expects a filename and {what}\n",
            words[2]
        ));
    };
    let payload = payload.as_bytes();
    match kind {
        TlsFileKind::Certificate => store.set_certificate(name, payload),
        TlsFileKind::Authorities => store.set_authorities(name, payload),
        TlsFileKind::Revocations => store.set_revocations(name, payload),
    }
}

pub fn commit(config: &Config, words: &[&str], _: Option<&str>) -> Result<String, StoreError> {
    let (kind, store) = (kind(words), &config.certificates);
    let Some(name) = words.get(3) else {
        // Uses the wording for a CA file also for a CRL file, as HAProxy does.
        let what = match kind {
            TlsFileKind::Certificate => "cert",
            TlsFileKind::Authorities | TlsFileKind::Revocations => "ca-file",
        };
        return refused(format!("'commit ssl {what} expects a filename\n"));
    };
    let committed = match kind {
        TlsFileKind::Certificate => store.commit_certificate(name),
        TlsFileKind::Authorities => store.commit_authorities(name),
        TlsFileKind::Revocations => store.commit_revocations(name),
    };
    if committed.is_ok() {
        renew(config, name);
    }
    committed
}

pub fn abort(config: &Config, words: &[&str], _: Option<&str>) -> Result<String, StoreError> {
    let store = &config.certificates;
    let Some(name) = words.get(3) else {
        return refused(format!("'abort ssl {}' expects a filename\n", words[2]));
    };
    match kind(words) {
        TlsFileKind::Certificate => store.abort_certificate(name),
        TlsFileKind::Authorities => store.abort_authorities(name),
        TlsFileKind::Revocations => store.abort_revocations(name),
    }
}

pub fn delete(config: &Config, words: &[&str], _: Option<&str>) -> Result<String, StoreError> {
    let (kind, store) = (kind(words), &config.certificates);
    let Some(name) = words.get(3) else {
        let what = match kind {
            TlsFileKind::Certificate => "certificate",
            TlsFileKind::Authorities => "CA file",
            TlsFileKind::Revocations => "CRL file",
        };
        return refused(format!("'del ssl {}' expects a {what} name\n", words[2]));
    };
    match kind {
        TlsFileKind::Certificate => store.delete_certificate(name),
        TlsFileKind::Authorities => store.delete_authorities(name),
        TlsFileKind::Revocations => store.delete_revocations(name),
    }
}

pub fn add_to_list(
    config: &Config,
    words: &[&str],
    payload: Option<&str>,
) -> Result<String, StoreError> {
    let usage = "'add ssl crtlist' expects a filename and a certificate name\n";
    let Some(list) = words.get(3) else {
        return refused(usage);
    };
    let store = &config.certificates;
    let text = match (payload, words.get(4)) {
        (Some(payload), _) => payload,
        (None, Some(certificate)) => {
            let options = Default::default();
            return store.add_to_list(list, certificate, options, "", Vec::new());
        }
        (None, None) => return refused(usage),
    };
    match sent_line(text, store) {
        Ok(line) => {
            let words = &line.option_words;
            store.add_to_list(list, &line.certificate, line.options, words, line.filters)
        }
        Err(why) => refused(format!("Can't edit the crt-list: {why}\n")),
    }
}

pub fn delete_from_list(
    config: &Config,
    words: &[&str],
    _: Option<&str>,
) -> Result<String, StoreError> {
    match words.get(3..) {
        Some([list, certificate, ..]) => config.certificates.delete_from_list(list, certificate),
        _ => refused("'del ssl crtlist' expects a filename and a certificate name\n"),
    }
}

pub fn set_ocsp(
    config: &Config,
    words: &[&str],
    payload: Option<&str>,
) -> Result<String, StoreError> {
    match payload.or(words.get(3).copied()) {
        Some(response) => config.certificates.set_ocsp(response.as_bytes()),
        None => refused("'set ssl ocsp-response' expects response in base64 encoding.\n"),
    }
}

fn renew(config: &Config, name: &str) {
    let servers = config.proxies.iter().flat_map(|proxy| &proxy.servers);
    for server in servers {
        let connector = server.options.tls.connector.as_ref();
        if connector.is_some_and(|connector| connector.uses(name)) {
            server.state.next_of_operator();
        }
    }
}

pub fn set_ticket_key(
    config: &Config,
    words: &[&str],
    payload: Option<&str>,
) -> Result<String, StoreError> {
    let refused = |words: &str| Err(StoreError(words.to_owned()));
    let (Some(file), Some(key)) = (words.get(3), words.get(4).copied().or(payload)) else {
        return refused(
            "'set ssl tls-key' expects a filename and the new TLS key in base64 encoding.\n",
        );
    };
    let mut files = config.certificates.ticket_keys().into_iter();
    let Some((_, keys)) = files.find(|(name, _)| **name == **file) else {
        return refused("'set ssl tls-key' unable to locate referenced filename\n");
    };
    let Ok(key) = STANDARD.decode(key).map(Zeroizing::new) else {
        return refused("'set ssl tls-key' received invalid base64 encoded TLS key.\n");
    };
    if keys.push(&key) {
        Ok("TLS ticket key updated!\n".to_owned())
    } else {
        refused("'set ssl tls-key' received a key of wrong size.\n")
    }
}
