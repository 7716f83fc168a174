//! `show info`: the process, with the fields of HAProxy that mean something
//! here, under its names and numbers. What Evenkeel does not know is left out.

use super::{Context, Session};
use crate::config::TlsDefaults;
use crate::stats::column::Tags;
use crate::stats::export::{json_field, plain, type_name};
use crate::stats::process::{NAME, Process, VERSION};
use crate::stats::row::Value;
use std::fmt::Write;

/// The place of a field that HAProxy does not have: none of its own ever is there.
const OWN_PLACE: usize = 1000;

struct Field {
    place: usize,
    name: &'static str,
    tags: Tags,
    value: Value<'static>,
    meaning: &'static str,
}

const fn tags(letters: &'static str) -> Tags {
    Tags(letters)
}

fn clip(n: u64) -> Value<'static> {
    Value::U32(u32::try_from(n).unwrap_or(u32::MAX))
}

#[rustfmt::skip]
fn fields(p: &Process, limits: (u32, u32), tls: &TlsDefaults, float: bool) -> Vec<Field> {
    let (connection_limit, session_limit) = limits;
    let text = |text: &str| Value::from(text.to_owned());
    let field = |place, name, letters, value, meaning| Field { place, name, tags: tags(letters), value, meaning };
    let uptime = match float {
        true => text(&format!("{}.{:03}", p.uptime_ms / 1000, p.uptime_ms % 1000)),
        false => clip(p.uptime_ms / 1000),
    };
    let mut fields = vec![
        field(0, "Name", "POS", text(NAME), "name of the product"),
        field(1, "Version", "POS", text(VERSION), "version of the product"),
        field(3, "Nbthread", "CGS", Value::U32(p.threads), "threads of the data plane"),
        field(4, "Nbproc", "CGS", Value::U32(1), "processes that serve, always 1"),
        field(5, "Process_num", "KGP", Value::U32(1), "number of the process, always 1"),
        field(6, "Pid", "SGP", Value::U32(p.pid), "number of the process for the system"),
        field(7, "Uptime", "MDP", text(&p.uptime()), "how long it serves"),
        field(8, "Uptime_sec", "MDP", uptime, "how long it serves, seconds"),
        field(13, "Ulimit-n", "CLP", clip(p.files_max), "descriptors that it may have"),
        field(15, "Maxconn", "CLP", Value::U32(p.connections_max), "connections of clients that it may have"),
        field(17, "CurrConns", "MGP", Value::U32(p.connections), "connections of clients now"),
        field(18, "CumConns", "MCP", clip(p.connections_total), "connections of clients since the start"),
        field(19, "CumReq", "MCP", clip(p.requests_total), "requests since the start"),
        field(20, "MaxSslConns", "MMP", Value::U32(tls.connections_max.unwrap_or(0)), "TLS connections that it may have, 0 for any number"),
        field(21, "CurrSslConns", "MGP", Value::U32(p.tls_connections.0), "TLS connections now, of clients and with servers"),
        field(22, "CumSslConns", "MCP", clip(p.tls_connections.1), "TLS connections since the start"),
        field(26, "ConnRate", "MRP", clip(p.connection_rate.0), "connections over the last second"),
        field(27, "ConnRateLimit", "CLP", Value::U32(connection_limit), "limit of ConnRate"),
        field(28, "MaxConnRate", "MMP", clip(p.connection_rate.1), "most connections in a second"),
        field(29, "SessRate", "MRP", clip(p.session_rate.0), "sessions over the last second"),
        field(30, "SessRateLimit", "CLP", Value::U32(session_limit), "limit of SessRate"),
        field(31, "MaxSessRate", "MRP", clip(p.session_rate.1), "most sessions in a second"),
        field(32, "SslRate", "MRP", clip(p.tls_rate.0), "clients' TLS handshakes over the last second"),
        field(33, "SslRateLimit", "CLP", Value::U32(tls.rate_max.unwrap_or(0)), "limit of SslRate"),
        field(34, "MaxSslRate", "MMP", clip(p.tls_rate.1), "most TLS handshakes in a second"),
        field(35, "SslFrontendKeyRate", "MGP", clip(p.tls_client_keys.0), "clients' handshakes over the last second that resumed no session"),
        field(36, "SslFrontendMaxKeyRate", "MMP", clip(p.tls_client_keys.1), "most of them in a second"),
        field(37, "SslFrontendSessionReuse_pct", "MGP", clip(p.tls_resumed_percent), "percent of the clients' handshakes over the last second that resumed a session"),
        field(38, "SslBackendKeyRate", "MRP", clip(p.tls_server_keys.0), "handshakes with servers over the last second that resumed no session"),
        field(39, "SslBackendMaxKeyRate", "MMP", clip(p.tls_server_keys.1), "most of them in a second"),
        field(40, "SslCacheLookups", "MCP", clip(p.tls_lookups.0), "sessions that were looked for in the store"),
        field(41, "SslCacheMisses", "MCP", clip(p.tls_lookups.1), "sessions that were not in the store"),
        field(50, "node", "COS", text(&p.node), "name of the node"),
    ];
    if let Some(description) = &p.description {
        fields.push(field(51, "description", "COS", text(description), "description of the node"));
    }
    fields.extend([
        field(52, "Stopping", "MGP", Value::U32(p.stopping.into()), "1 while it only finishes what it has"),
        field(55, "Listeners", "MGP", Value::U32(p.listeners), "listeners of frontends"),
        field(58, "DroppedLogs", "MGP", clip(p.logs_dropped), "log lines that were dropped"),
        field(61, "TotalBytesOut", "MGP", Value::U64(p.bytes_out), "bytes sent to clients since the start"),
        field(66, "Build info", "POS", text(VERSION), "what was built"),
        field(70, "Start_time_sec", "MDP", clip(p.started_s), "when it began to serve, seconds since 1970"),
    ]);
    if let Some(configuration) = &p.configuration {
        fields.push(field(OWN_PLACE, "Configuration", "COS", text(configuration), "version of the cluster's configuration, with its author and reason"));
    }
    fields
}

/// The command.
pub fn show(context: &Context, _: &mut Session, words: &[&str]) -> String {
    let flag = |name: &str| words.iter().skip(2).any(|word| *word == name);
    let config = context.runtime.config();
    let global = &config.global;
    let limits = (
        global.connection_rate_max.unwrap_or(0),
        global.session_rate_max.unwrap_or(0),
    );
    let fields = fields(
        &Process::now(context.runtime, &config),
        limits,
        &global.tls,
        flag("float"),
    );
    let mut out = String::new();
    if flag("json") {
        for (n, field) in fields.iter().enumerate() {
            out.push_str(if n == 0 { "[{" } else { ",{" });
            json_field(&mut out, field.place, field.name, field.tags, &field.value);
        }
        out.push_str("]\n");
        return out;
    }
    for field in &fields {
        // Writing to a string cannot fail.
        let _ = match flag("typed") {
            true => write!(
                out,
                "{}.{}.1:{}:{}:",
                field.place,
                field.name,
                field.tags.0,
                type_name(&field.value)
            ),
            false => write!(out, "{}: ", field.name),
        };
        plain(&mut out, &field.value);
        if flag("desc") {
            let _ = write!(out, ":\"{}\"", field.meaning);
        }
        out.push('\n');
    }
    out
}
