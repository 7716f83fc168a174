//! Implements the commands about certificates, CA files, CRL files and crt-lists (`… ssl cert`,
//! `ca-file`, `crl-file`, `crt-list`, `ocsp-response`). This module parses a command; the
//! certificate store executes the change and words the reply. No file is written. The next
//! process repeats the commands ([`tls_orders::repeat`]).

use super::{CommandReply, Context, Session, Severity, ticket_keys};
use crate::tls_orders::{self, TlsFileKind, kind};
use std::sync::Arc;
use tls::store::{Store, StoreError};

fn store(context: &Context) -> Arc<Store> {
    Arc::clone(&context.runtime.config().certificates)
}

fn said(told: Result<String, StoreError>) -> CommandReply {
    match told {
        Ok(text) => CommandReply::message(Severity::Notice, text),
        Err(refused) => CommandReply::error(refused.0),
    }
}

/// Converts a report of the certificate store, or the reason why there is none, to a reply.
fn shown(told: Result<String, StoreError>) -> CommandReply {
    told.map_err(|refused| refused.0).into()
}

fn outcome(
    context: &Context,
    session: &Session,
    words: &[&str],
    change: tls_orders::StoreChange,
) -> Result<String, StoreError> {
    // While this is held, no other configuration is installed.
    let _held = context.runtime.hold_lists();
    let payload = session.payload.as_ref().map(|payload| &***payload);
    tls_orders::recorded(&context.runtime.config(), words, payload, change)
}

fn changed(
    context: &Context,
    session: &Session,
    words: &[&str],
    change: tls_orders::StoreChange,
) -> CommandReply {
    said(outcome(context, session, words, change))
}

pub fn create(context: &Context, session: &Session, words: &[&str]) -> CommandReply {
    changed(context, session, words, tls_orders::create)
}

pub fn set(context: &Context, session: &Session, words: &[&str]) -> CommandReply {
    changed(context, session, words, tls_orders::set)
}

pub fn commit(context: &Context, session: &Session, words: &[&str]) -> CommandReply {
    changed(context, session, words, tls_orders::commit)
}

pub fn abort(context: &Context, session: &Session, words: &[&str]) -> CommandReply {
    changed(context, session, words, tls_orders::abort)
}

pub fn delete(context: &Context, session: &Session, words: &[&str]) -> CommandReply {
    changed(context, session, words, tls_orders::delete)
}

/// `show ssl cert`, `ca-file`, `crl-file`
pub fn show(context: &Context, _: &Session, words: &[&str]) -> CommandReply {
    let (kind, store) = (kind(words), store(context));
    let Some(name) = words.get(3) else {
        return CommandReply::report(match kind {
            TlsFileKind::Certificate => store.show_certificates(),
            TlsFileKind::Authorities => store.show_authorities(),
            TlsFileKind::Revocations => store.show_revocations(),
        });
    };
    shown(match kind {
        TlsFileKind::Certificate => store.show_certificate(name),
        TlsFileKind::Authorities => store.show_authority(name),
        TlsFileKind::Revocations => store.show_revocation(name),
    })
}

/// `show ssl crt-list [-n] [<list>]`
pub fn show_lists(context: &Context, _: &Session, words: &[&str]) -> CommandReply {
    let store = store(context);
    match words.get(3..) {
        Some(["-n", name, ..]) => shown(store.show_list(name, true)),
        Some(["-n"]) => {
            CommandReply::error("'show ssl crt-list -n' expects a filename or a directory\n")
        }
        Some([name, ..]) => shown(store.show_list(name, false)),
        _ => CommandReply::report(store.show_lists()),
    }
}

/// `add ssl crt-list <list> <certificate>`, or with a line as the payload.
pub fn add_to_list(context: &Context, session: &Session, words: &[&str]) -> CommandReply {
    changed(context, session, words, tls_orders::add_to_list)
}

/// `del ssl crt-list <list> <certificate[:line]>`
pub fn delete_from_list(context: &Context, session: &Session, words: &[&str]) -> CommandReply {
    changed(context, session, words, tls_orders::delete_from_list)
}

/// `set ssl ocsp-response <response>`, or with it as the payload.
pub fn set_ocsp(context: &Context, session: &Session, words: &[&str]) -> CommandReply {
    changed(context, session, words, tls_orders::set_ocsp)
}

/// `set ssl tls-key [id|file] <key>`
pub fn set_ticket_key(context: &Context, session: &Session, words: &[&str]) -> CommandReply {
    let mut words = words.to_vec();
    // A file may have another number in the next process, so its name is recorded.
    let found = words
        .get(3)
        .and_then(|word| ticket_keys::named(context, word));
    let name = found.map(|(_, name, _)| name);
    if let (Some(word), Some(name)) = (words.get_mut(3), &name) {
        *word = name;
    }
    match outcome(context, session, &words, tls_orders::set_ticket_key) {
        Ok(text) => CommandReply::message(Severity::Info, text),
        Err(refused) => CommandReply::error(refused.0),
    }
}

pub fn show_ocsp(context: &Context, _: &Session, words: &[&str]) -> CommandReply {
    match words.get(3) {
        Some(id) => shown(store(context).show_ocsp_of(id)),
        None => CommandReply::report(store(context).show_ocsp()),
    }
}

/// Executes `show ssl providers` for an operator.
pub fn providers(_: &Context, _: &mut Session, _: &[&str]) -> String {
    "Loaded providers : \n\t- aws-lc\n".to_owned()
}
