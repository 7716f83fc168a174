//! Implements the converters that look up a proxy or server by a name that is known only at run
//! time, and the converter that names certificate errors.

use super::{ConverterBuild, ConverterRow, rows};
use crate::config::Server;
use crate::rules::argument::Arguments;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use std::borrow::Cow;

const fn number(apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(Type::Str, Type::Int, apply)
}

pub(super) static ROWS: &[ConverterRow] = rows! {
    "nbsrv", number(nbsrv), "acl served hdr(x-backend),nbsrv gt 0",
        "Number of usable servers of the backend with this name.";
    "srv_queue", number(srv_queue), "acl crowded req.cook(SRVID),srv_queue gt 10",
        "Number of streams that wait for the server with this name, `server` or `backend/server`.";
    "srv_is_up",
        ConverterBuild::new(Type::Str, Type::Bool, |_, v, s| Some(SampleValue::Bool(server(v, s)?.state.is_up()))),
        "acl there req.cook(SRVID),srv_is_up",
        "Tests whether the server with this name, `server` or `backend/server`, is up.";
    "fe_exists", ConverterBuild::new(Type::Str, Type::Bool, fe_exists), "acl known hdr(x-frontend),fe_exists",
        "Tests whether a frontend with this name exists.";
    "x509_v_err_str", ConverterBuild::new(Type::Int, Type::Str, x509), "acl example ssl_c_verify,x509_v_err_str -m found",
        "Returns the name of a certificate error number, as from `ssl_c_verify`: `X509_V_OK`, \
         `X509_V_ERR_CERT_HAS_EXPIRED`. A number without a name is not changed.";
};

fn named(value: SampleValue<'_>) -> Option<String> {
    String::from_utf8(value.into_text().into_owned()).ok()
}

fn nbsrv<'a>(_: &Arguments, value: SampleValue<'a>, stream: &ProxyStream) -> Sample<'a> {
    let backend = stream.config.backend(&named(value)?)?;
    let usable = stream.config.proxy(backend).state.usable_servers();
    Some(SampleValue::Int(usable.into()))
}

fn server<'a>(value: SampleValue<'_>, stream: &'a ProxyStream) -> Option<&'a Server> {
    let name = named(value)?;
    let (backend, name) = match name.split_once('/') {
        Some((backend, name)) => (stream.config.proxy(stream.config.backend(backend)?), name),
        None => (
            stream.backend().unwrap_or_else(|| stream.frontend()),
            &*name,
        ),
    };
    backend.servers.iter().find(|server| *server.name == *name)
}

fn srv_queue<'a>(_: &Arguments, value: SampleValue<'a>, stream: &ProxyStream) -> Sample<'a> {
    let waiting = server(value, stream)?.state.queue.waiting.current();
    Some(SampleValue::Int(waiting.into()))
}

fn fe_exists<'a>(_: &Arguments, value: SampleValue<'a>, stream: &ProxyStream) -> Sample<'a> {
    let name = named(value)?;
    let mut proxies = stream.config.iter().map(|(_, proxy)| proxy);
    let found = proxies.any(|proxy| proxy.kind.is_frontend() && *proxy.name == *name);
    Some(SampleValue::Bool(found))
}

fn x509<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let number = value.integer()?;
    let name = match number {
        0 => Some("X509_V_OK"),
        _ => tls::verify_error(number),
    };
    Some(match name {
        Some(name) => SampleValue::text(name.as_bytes()),
        None => SampleValue::Str(Cow::Owned(number.to_string().into_bytes())),
    })
}
