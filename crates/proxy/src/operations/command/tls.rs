//! Certificates, CA files, CRL files and crt-lists (`… ssl cert`, `ca-file`, `crl-file`,
//! `crt-list`, `ocsp-response`). The store executes the changes and words the responses;
//! this module parses the commands. A change affects the process only: no file is
//! written.

use super::{Context, Reply, Session, Severity};
use keyword::family::bind_tls::sent_line;
use model::config::Config;
use std::sync::Arc;
use tls::store::{Store, StoreError};

/// What a command is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Certificate,
    Authorities,
    Revocations,
}

/// The table of commands has let nothing else pass.
fn kind(words: &[&str]) -> Kind {
    match words.get(2) {
        Some(&"ca-file") => Kind::Authorities,
        Some(&"crl-file") => Kind::Revocations,
        _ => Kind::Certificate,
    }
}

fn store(context: &Context) -> Arc<Store> {
    Arc::clone(&context.runtime.config().certificates)
}

/// What a change came to.
fn said(told: Result<String, StoreError>) -> Reply {
    match told {
        Ok(text) => Reply::message(Severity::Notice, text),
        Err(refused) => Reply::error(refused.0),
    }
}

/// A report of the store, or why there is none.
fn shown(told: Result<String, StoreError>) -> Reply {
    told.map_err(|refused| refused.0).into()
}

/// `new ssl …`
pub fn create(context: &Context, _: &Session, words: &[&str]) -> Reply {
    let (kind, store) = (kind(words), store(context));
    let Some(name) = words.get(3) else {
        return Reply::error(format!("'new ssl {}' expects a filename\n", words[2]));
    };
    said(match kind {
        Kind::Certificate => store.new_certificate(name),
        Kind::Authorities => store.new_authorities(name),
        Kind::Revocations => store.new_revocations(name),
    })
}

/// `set ssl …`
pub fn set(context: &Context, session: &Session, words: &[&str]) -> Reply {
    let (kind, store) = (kind(words), store(context));
    let (Some(name), Some(payload)) = (words.get(3), &session.payload) else {
        let what = match kind {
            Kind::Certificate => "a certificate as a payload",
            Kind::Authorities => "CAs as a payload",
            Kind::Revocations => "CRLs as a payload",
        };
        return Reply::error(format!(
            "'set ssl {} expects a filename and {what}\n",
            words[2]
        ));
    };
    let payload = payload.as_bytes();
    said(match kind {
        Kind::Certificate => store.set_certificate(name, payload),
        Kind::Authorities => store.set_authorities(name, payload),
        Kind::Revocations => store.set_revocations(name, payload),
    })
}

/// `commit ssl …`
pub fn commit(context: &Context, _: &Session, words: &[&str]) -> Reply {
    let kind = kind(words);
    let Some(name) = words.get(3) else {
        // Of a file of revoked certificates HAProxy says the same.
        let what = match kind {
            Kind::Certificate => "cert",
            Kind::Authorities | Kind::Revocations => "ca-file",
        };
        return Reply::error(format!("'commit ssl {what} expects a filename\n"));
    };
    // The newest configuration stays the newest for as long.
    let _held = context.runtime.hold_lists();
    let config = context.runtime.config();
    let store = &config.certificates;
    let committed = match kind {
        Kind::Certificate => store.commit_certificate(name),
        Kind::Authorities => store.commit_authorities(name),
        Kind::Revocations => store.commit_revocations(name),
    };
    if committed.is_ok() {
        renew(&config, name);
    }
    said(committed)
}

/// Connections to servers that were made with another file are not kept for
/// requests from now on.
fn renew(config: &Config, name: &str) {
    let servers = config.proxies.iter().flat_map(|proxy| &proxy.servers);
    for server in servers {
        let connector = server.options.tls.connector.as_ref();
        if connector.is_some_and(|connector| connector.uses(name)) {
            server.state.next_of_operator();
        }
    }
}

/// `abort ssl …`
pub fn abort(context: &Context, _: &Session, words: &[&str]) -> Reply {
    let (kind, store) = (kind(words), store(context));
    let Some(name) = words.get(3) else {
        return Reply::error(format!("'abort ssl {}' expects a filename\n", words[2]));
    };
    said(match kind {
        Kind::Certificate => store.abort_certificate(name),
        Kind::Authorities => store.abort_authorities(name),
        Kind::Revocations => store.abort_revocations(name),
    })
}

/// `del ssl …`
pub fn delete(context: &Context, _: &Session, words: &[&str]) -> Reply {
    let (kind, store) = (kind(words), store(context));
    let Some(name) = words.get(3) else {
        let what = match kind {
            Kind::Certificate => "certificate",
            Kind::Authorities => "CA file",
            Kind::Revocations => "CRL file",
        };
        return Reply::error(format!("'del ssl {}' expects a {what} name\n", words[2]));
    };
    said(match kind {
        Kind::Certificate => store.delete_certificate(name),
        Kind::Authorities => store.delete_authorities(name),
        Kind::Revocations => store.delete_revocations(name),
    })
}

/// `show ssl cert`, `ca-file`, `crl-file`
pub fn show(context: &Context, _: &Session, words: &[&str]) -> Reply {
    let (kind, store) = (kind(words), store(context));
    let Some(name) = words.get(3) else {
        return Reply::report(match kind {
            Kind::Certificate => store.show_certificates(),
            Kind::Authorities => store.show_authorities(),
            Kind::Revocations => store.show_revocations(),
        });
    };
    shown(match kind {
        Kind::Certificate => store.show_certificate(name),
        Kind::Authorities => store.show_authority(name),
        Kind::Revocations => store.show_revocation(name),
    })
}

/// `show ssl crt-list [-n] [<list>]`
pub fn show_lists(context: &Context, _: &Session, words: &[&str]) -> Reply {
    let store = store(context);
    match words.get(3..) {
        Some(["-n", name, ..]) => shown(store.show_list(name, true)),
        Some(["-n"]) => Reply::error("'show ssl crt-list -n' expects a filename or a directory\n"),
        Some([name, ..]) => shown(store.show_list(name, false)),
        _ => Reply::report(store.show_lists()),
    }
}

/// `add ssl crt-list <list> <certificate>`, or with a line as the payload.
pub fn add_to_list(context: &Context, session: &Session, words: &[&str]) -> Reply {
    let usage = "'add ssl crtlist' expects a filename and a certificate name\n";
    let Some(list) = words.get(3) else {
        return Reply::error(usage);
    };
    let _held = context.runtime.hold_lists();
    let store = store(context);
    let text = match (&session.payload, words.get(4)) {
        (Some(payload), _) => &***payload,
        (None, Some(certificate)) => {
            let options = Default::default();
            return said(store.add_to_list(list, certificate, (options, ""), Vec::new()));
        }
        (None, None) => return Reply::error(usage),
    };
    match sent_line(text, &store) {
        Ok(line) => {
            let options = (line.options, &*line.option_words);
            said(store.add_to_list(list, &line.certificate, options, line.filters))
        }
        Err(why) => Reply::error(format!("Can't edit the crt-list: {why}\n")),
    }
}

/// `del ssl crt-list <list> <certificate[:line]>`
pub fn delete_from_list(context: &Context, _: &Session, words: &[&str]) -> Reply {
    let _held = context.runtime.hold_lists();
    match words.get(3..) {
        Some([list, certificate, ..]) => said(store(context).delete_from_list(list, certificate)),
        _ => Reply::error("'del ssl crtlist' expects a filename and a certificate name\n"),
    }
}

/// `set ssl ocsp-response <response>`, or with it as the payload.
pub fn set_ocsp(context: &Context, session: &Session, words: &[&str]) -> Reply {
    let payload = session.payload.as_ref().map(|payload| &***payload);
    match payload.or(words.get(3).copied()) {
        Some(response) => said(store(context).set_ocsp(response.as_bytes())),
        None => Reply::error("'set ssl ocsp-response' expects response in base64 encoding.\n"),
    }
}

/// `show ssl ocsp-response [id]`
pub fn show_ocsp(context: &Context, _: &Session, words: &[&str]) -> Reply {
    match words.get(3) {
        Some(id) => shown(store(context).show_ocsp_of(id)),
        None => Reply::report(store(context).show_ocsp()),
    }
}

/// `show ssl providers`
pub fn providers(_: &Context, _: &mut Session, _: &[&str]) -> String {
    "Loaded providers : \n\t- aws-lc\n".to_owned()
}
