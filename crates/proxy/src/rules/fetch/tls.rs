//! Fetches of the client's TLS. There is no TLS yet, so a connection never has
//! any: files that ask whether it does are answered, not refused.

use super::{FetchBuild, FetchRow};
use crate::rules::argument::Arguments;
use crate::rules::usage::Needs;
use crate::rules::value::{Type, Value};
use crate::stream::Stream;

const fn truth(one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Bool, Needs::Nothing, one)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "ssl_fc", truth(no), "acl encrypted ssl_fc",
        "True when the client's connection came in over TLS. It never does before Evenkeel does TLS itself.";
    "ssl_fc_has_crt", truth(no), "acl certified ssl_fc_has_crt",
        "True when the client sent a certificate on this connection.";
    "ssl_fc_has_sni", truth(no), "acl named ssl_fc_has_sni",
        "True when the client named a server in its TLS handshake.";
    "ssl_fc_is_resumed", truth(no), "acl again ssl_fc_is_resumed",
        "True when the TLS session was resumed.";
    "ssl_c_used", truth(no), "acl certified ssl_c_used",
        "True when the TLS session has a certificate of the client, also one of an earlier connection.";
    "ssl_bc", FetchBuild::new(Type::Bool, Needs::Server, no), "acl inner_tls ssl_bc",
        "True when the server's connection is over TLS.";
};

fn no<'a>(_: &'a Arguments, _: &'a Stream) -> Option<Value<'a>> {
    Some(Value::Bool(false))
}
