//! Implements the fetches of the random bytes and keys of TLS, for operators who must decrypt their
//! own captured traffic. Keys have values only if `tune.ssl.keylog` is on.

use super::tls::{client, server};
use super::{FetchBuild, FetchRow};
use crate::rules::argument::Arguments;
use crate::rules::codes;
use crate::rules::draft::ConfigDraft;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use language::arguments::Built;
use language::{Diagnostic, Span};
use std::borrow::Cow;
use tls::{Clear, Info};

const fn front(one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Bin, Needs::Nothing, one)
}

const fn back(one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Bin, Needs::Server, one)
}

const fn key(one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Str, Needs::Nothing, one).prepare(warn_without_log)
}

const fn server_key(one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Str, Needs::Server, one).prepare(warn_without_log)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "ssl_fc_client_random", front(|_, s| random(client(s), |c| &c.client_random)), "acl some ssl_fc_client_random -m found",
        "The 32 random bytes of the ClientHello. They identify the session in key logs.";
    "ssl_fc_server_random", front(|_, s| random(client(s), |c| &c.server_random)), "acl some ssl_fc_server_random -m found",
        "The 32 random bytes of the proxy's ServerHello.";
    "ssl_fc_session_id", front(|_, s| session_id(client(s))), "acl some ssl_fc_session_id -m found",
        "The TLS session id of the client's connection. TLS 1.3 clients get a different one for each connection.";
    "ssl_fc_session_key", front(|_, s| master(client(s))).prepare(warn_without_log), "acl some ssl_fc_session_key -m found",
        "The master secret of a TLS 1.2 session on the client's connection; requires `tune.ssl.keylog`. For TLS 1.3 \
         see `ssl_fc_client_traffic_secret_0`.";
    "ssl_bc_client_random", back(|_, s| random(server(s), |c| &c.client_random)), "acl some ssl_bc_client_random -m found",
        "The 32 random bytes of the proxy's ClientHello.";
    "ssl_bc_server_random", back(|_, s| random(server(s), |c| &c.server_random)), "acl some ssl_bc_server_random -m found",
        "The 32 random bytes of the server's ServerHello.";
    "ssl_bc_session_id", back(|_, s| session_id(server(s))), "acl some ssl_bc_session_id -m found",
        "The TLS session id of the server connection.";
    "ssl_bc_session_key", back(|_, s| master(server(s))).prepare(warn_without_log), "acl some ssl_bc_session_key -m found",
        "The master secret of a TLS 1.2 session on the server connection; requires `tune.ssl.keylog`.";
    "ssl_fc_client_early_traffic_secret", key(|_, s| secret(client(s), "CLIENT_EARLY_TRAFFIC_SECRET")),
        "acl some ssl_fc_client_early_traffic_secret -m found",
        "The TLS 1.3 early traffic secret of the client's connection, in hexadecimal; requires `tune.ssl.keylog`.";
    "ssl_fc_client_handshake_traffic_secret", key(|_, s| secret(client(s), "CLIENT_HANDSHAKE_TRAFFIC_SECRET")),
        "acl some ssl_fc_client_handshake_traffic_secret -m found",
        "The client's TLS 1.3 handshake traffic secret, in hexadecimal; requires `tune.ssl.keylog`.";
    "ssl_fc_server_handshake_traffic_secret", key(|_, s| secret(client(s), "SERVER_HANDSHAKE_TRAFFIC_SECRET")),
        "acl some ssl_fc_server_handshake_traffic_secret -m found",
        "The proxy's TLS 1.3 handshake traffic secret with the client, in hexadecimal; requires `tune.ssl.keylog`.";
    "ssl_fc_client_traffic_secret_0", key(|_, s| secret(client(s), "CLIENT_TRAFFIC_SECRET_0")),
        "acl some ssl_fc_client_traffic_secret_0 -m found",
        "The TLS 1.3 traffic secret for data from the client, in hexadecimal; requires `tune.ssl.keylog`.";
    "ssl_fc_server_traffic_secret_0", key(|_, s| secret(client(s), "SERVER_TRAFFIC_SECRET_0")),
        "acl some ssl_fc_server_traffic_secret_0 -m found",
        "The TLS 1.3 traffic secret for data to the client, in hexadecimal; requires `tune.ssl.keylog`.";
    "ssl_fc_exporter_secret", key(|_, s| secret(client(s), "EXPORTER_SECRET")), "acl some ssl_fc_exporter_secret -m found",
        "The TLS 1.3 exporter secret of the client's connection, in hexadecimal; requires `tune.ssl.keylog`.";
    "ssl_fc_early_exporter_secret", key(|_, s| secret(client(s), "EARLY_EXPORTER_SECRET")), "acl some ssl_fc_early_exporter_secret -m found",
        "The same for early data.";
    "ssl_bc_client_early_traffic_secret", server_key(|_, s| secret(server(s), "CLIENT_EARLY_TRAFFIC_SECRET")), "acl example ssl_bc_client_early_traffic_secret -m found",
        "The TLS 1.3 early traffic secret of the server connection, in hexadecimal; requires `tune.ssl.keylog`.";
    "ssl_bc_client_handshake_traffic_secret", server_key(|_, s| secret(server(s), "CLIENT_HANDSHAKE_TRAFFIC_SECRET")), "acl example ssl_bc_client_handshake_traffic_secret -m found",
        "The proxy's TLS 1.3 handshake traffic secret with the server, in hexadecimal; requires `tune.ssl.keylog`.";
    "ssl_bc_server_handshake_traffic_secret", server_key(|_, s| secret(server(s), "SERVER_HANDSHAKE_TRAFFIC_SECRET")), "acl example ssl_bc_server_handshake_traffic_secret -m found",
        "The server's TLS 1.3 handshake traffic secret, in hexadecimal; requires `tune.ssl.keylog`.";
    "ssl_bc_client_traffic_secret_0", server_key(|_, s| secret(server(s), "CLIENT_TRAFFIC_SECRET_0")), "acl example ssl_bc_client_traffic_secret_0 -m found",
        "The TLS 1.3 traffic secret for data to the server, in hexadecimal; requires `tune.ssl.keylog`.";
    "ssl_bc_server_traffic_secret_0", server_key(|_, s| secret(server(s), "SERVER_TRAFFIC_SECRET_0")), "acl example ssl_bc_server_traffic_secret_0 -m found",
        "The TLS 1.3 traffic secret for data from the server, in hexadecimal; requires `tune.ssl.keylog`.";
    "ssl_bc_exporter_secret", server_key(|_, s| secret(server(s), "EXPORTER_SECRET")), "acl example ssl_bc_exporter_secret -m found",
        "The TLS 1.3 exporter secret of the server connection, in hexadecimal; requires `tune.ssl.keylog`.";
    "ssl_bc_early_exporter_secret", server_key(|_, s| secret(server(s), "EARLY_EXPORTER_SECRET")), "acl example ssl_bc_early_exporter_secret -m found",
        "The TLS 1.3 early exporter secret of the server connection, in hexadecimal; requires `tune.ssl.keylog`.";
};

/// Warns about a fetch of keys if the configuration does not keep any.
fn warn_without_log(loader: &mut ConfigDraft, _: &mut Arguments, span: Span) -> Built {
    if !loader.config.global.tls.key_log {
        let message = "TLS session keys are not kept, so this never has a value";
        let warning = Diagnostic::warning(&codes::KEYS_NOT_KEPT, span, message);
        let warning = warning.help("`tune.ssl.keylog on` in `global` keeps them");
        loader
            .context
            .diagnostics
            .push(&loader.context.sources, warning);
    }
    Ok(())
}

fn random<'a>(
    info: Option<&'a Info>,
    which: impl Fn(&'a Clear) -> &'a Option<[u8; 32]>,
) -> Sample<'a> {
    let found = which(info?.clear.as_deref()?).as_ref()?;
    Some(SampleValue::bytes(found))
}

fn session_id(info: Option<&Info>) -> Sample<'_> {
    let id = info?.clear.as_deref()?.session_id.as_deref()?;
    (!id.is_empty()).then_some(SampleValue::bytes(id))
}

fn master(info: Option<&Info>) -> Sample<'_> {
    info?
        .secrets
        .as_deref()?
        .get("CLIENT_RANDOM")
        .map(SampleValue::bytes)
}

fn secret<'a>(info: Option<&'a Info>, label: &str) -> Sample<'a> {
    let secret = info?.secrets.as_deref()?.get(label)?;
    let text = tls::describe::hex(secret, false);
    Some(SampleValue::Str(Cow::Owned(text.into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::super::tls::tests::{all_give, info, stream};
    use super::*;
    use tls::keylog::Secrets;

    #[test]
    fn random_bytes_and_keys_are_told_where_they_are_known() {
        let mut secrets = Secrets::default();
        secrets.store_secret("CLIENT_RANDOM", &[0xab, 1]);
        secrets.store_secret("CLIENT_TRAFFIC_SECRET_0", &[0xcd, 2]);
        let known = Info {
            clear: Some(Box::new(Clear {
                client_random: Some([1; 32]),
                server_random: Some([2; 32]),
                session_id: Some([3, 4].into()),
            })),
            secrets: Some(Box::new(secrets)),
            ..info()
        };
        all_give(
            &stream(Some(known.clone()), Some(known)),
            &[
                ("ssl_fc_client_random,hex", Some(&"01".repeat(32))),
                ("ssl_bc_server_random,hex", Some(&"02".repeat(32))),
                ("ssl_fc_session_id,hex", Some("0304")),
                ("ssl_bc_session_key,hex", Some("AB01")),
                ("ssl_fc_client_traffic_secret_0", Some("cd02")),
                ("ssl_fc_exporter_secret", None),
            ],
        );
        all_give(
            &stream(Some(info()), None),
            &[
                ("ssl_fc_client_random", None),
                ("ssl_fc_session_id", None),
                ("ssl_fc_session_key", None),
                ("ssl_bc_client_random", None),
            ],
        );
    }
}
