//! Implements the fetches of a stream's two connections: TCP statistics, HTTP version and reuse of
//! the connections, and their HTTP/2 streams, stream limits and protocol errors.

use super::{FetchBuild, FetchRow, boolean, int, number};
use crate::rules::argument::{ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::{ConnectionSide, ProxyStream};
use language::Span;
use language::arguments::Built;
use reactor::PacketFacts;

const fn packets(one: super::One) -> FetchBuild {
    number(Needs::Nothing, one).prepare(ask_client_socket)
}

const fn time(needs: Needs, prepare: super::Prepare, one: super::One) -> FetchBuild {
    number(needs, one)
        .takes(&[ArgumentKind::Text], 0)
        .prepare(prepare)
}

const fn client(output: Type, one: super::One) -> FetchBuild {
    FetchBuild::new(output, Needs::Nothing, one).prepare(ask_client)
}

const fn server(output: Type, one: super::One) -> FetchBuild {
    FetchBuild::new(output, Needs::Server, one).prepare(ask_server)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "fc_rtt[(<unit>)]", time(Needs::Nothing, client_time, |a, s| unit(a, client_packets(s)?.rtt_us)), "acl far fc_rtt gt 200",
        "The round-trip time to the client as measured by the kernel, in milliseconds or in the unit `ms` or `us`. No \
         value if the client does not use TCP.";
    "fc_rttvar[(<unit>)]", time(Needs::Nothing, client_time, |a, s| unit(a, client_packets(s)?.rtt_variance_us)), "acl shaky fc_rttvar gt 100",
        "The variance of the round-trip time to the client, in milliseconds or in the unit `ms` or `us`.";
    "fc_unacked", packets(|_, s| int(client_packets(s)?.unacked)), "acl waits fc_unacked gt 10",
        "Number of unacknowledged segments sent to the client.";
    "fc_sacked", packets(|_, s| int(client_packets(s)?.sacked)), "acl gaps fc_sacked gt 0",
        "Number of segments that the client acknowledged out of order.";
    "fc_retrans", packets(|_, s| int(client_packets(s)?.retransmitted)), "acl lossy fc_retrans gt 0",
        "Number of segments to the client that are being retransmitted.";
    "fc_fackets", packets(|_, s| int(client_packets(s)?.fackets)), "acl gaps fc_fackets gt 0",
        "The kernel's count of segments up to the last one that was acknowledged out of order; current kernels leave \
         it 0.";
    "fc_lost", packets(|_, s| int(client_packets(s)?.lost)), "acl lossy fc_lost gt 0",
        "Number of segments to the client that the kernel considers lost.";
    "fc_reordering", packets(|_, s| int(client_packets(s)?.reordering)), "acl mixed fc_reordering gt 3",
        "The kernel's reordering metric of the client's connection.";
    "bc_rtt[(<unit>)]", time(Needs::Server, server_time, |a, s| unit(a, server_packets(s)?.rtt_us)), "acl example bc_rtt -m found",
        "The round-trip time to the server as measured by the kernel, in milliseconds or in the unit `ms` or `us`.";
    "bc_rttvar[(<unit>)]", time(Needs::Server, server_time, |a, s| unit(a, server_packets(s)?.rtt_variance_us)), "acl example bc_rttvar -m found",
        "The variance of the round-trip time to the server, in milliseconds or in the unit `ms` or `us`.";
    "bc_http_major", server(Type::Int, server_http), "acl example bc_http_major 2",
        "The major HTTP version of the server connection: 1 or 2. No value before it is established, or for other \
         protocols.";
    "bc_reused",
        server(Type::Bool, |_, s| boolean(s.links.server_end()?.carried > 0)),
        "acl example bc_reused",
        "True if the server connection carried earlier requests.";
    "fc_nb_streams", client(Type::Int, |_, s| streams(s, ConnectionSide::Client)), "acl many fc_nb_streams gt 50",
        "Number of concurrent streams of the client's connection: always 1 except for HTTP/2.";
    "bc_nb_streams", server(Type::Int, |_, s| streams(s, ConnectionSide::Server)), "acl example bc_nb_streams gt 50",
        "Number of concurrent streams of the server connection: always 1 except for HTTP/2.";
    "fc_settings_streams_limit", client(Type::Int, |_, s| streams_max(s, ConnectionSide::Client)), "acl wide fc_settings_streams_limit gt 1",
        "Maximum number of concurrent streams of the client's connection: 1 except for HTTP/2, where \
         `tune.h2.fe.max-concurrent-streams` sets it.";
    "bc_settings_streams_limit", server(Type::Int, |_, s| streams_max(s, ConnectionSide::Server)), "acl example bc_settings_streams_limit gt 1",
        "Maximum number of concurrent streams of the server connection: 1 except for HTTP/2, where it is the lower \
         one of the server's limit and `tune.h2.be.max-concurrent-streams`.";
    "fc_glitches", client(Type::Int, |_, s| glitches(s, ConnectionSide::Client)), "acl faulty fc_glitches gt 10",
        "Number of HTTP/2 protocol errors of the client that ended a stream but not the connection: malformed \
         requests, wrong body lengths. 0 for HTTP/1. `tune.h2.fe.glitches-threshold` limits it, and `glitch_cnt` of \
         stick tables counts over all connections of a client.";
    "bc_glitches", server(Type::Int, |_, s| glitches(s, ConnectionSide::Server)), "acl example bc_glitches gt 10",
        "The same for the server connection.";
    "fs.id", client(Type::Int, |_, s| id(s, ConnectionSide::Client)), "acl first fs.id 1",
        "The id of the client's HTTP/2 stream; 0 for other connections.";
    "bs.id", server(Type::Int, |_, s| id(s, ConnectionSide::Server)), "acl example bs.id 1",
        "The id of the server's HTTP/2 stream; 0 for other connections.";
    "fs.aborted", client(Type::Bool, |_, s| boolean(s.is_aborted_by(ConnectionSide::Client))), "acl example fs.aborted",
        "True if the client aborted the stream. Useful in logs.";
    "bs.aborted", server(Type::Bool, |_, s| boolean(s.is_aborted_by(ConnectionSide::Server))), "acl example bs.aborted",
        "True if the server aborted the stream. Useful in logs.";
    "fs.rst_code", client(Type::Int, |_, s| reset_code(s, ConnectionSide::Client)), "acl cancelled fs.rst_code 8",
        "The error code with which the client reset its HTTP/2 stream (8: cancelled); no value without a reset.";
    "bs.rst_code", server(Type::Int, |_, s| reset_code(s, ConnectionSide::Server)), "acl example bs.rst_code 8",
        "The error code with which the server reset its HTTP/2 stream; no value without a reset.";
};

fn ask_client_socket(loader: &mut ConfigDraft, _: &mut Arguments, _: Span) -> Built {
    loader.config.global.recording.client_socket = true;
    Ok(())
}

fn ask_client(loader: &mut ConfigDraft, _: &mut Arguments, _: Span) -> Built {
    loader.config.global.recording.client_end = true;
    Ok(())
}

fn ask_server(loader: &mut ConfigDraft, _: &mut Arguments, _: Span) -> Built {
    loader.config.global.recording.server_end = true;
    Ok(())
}

fn check_unit(arguments: &Arguments, span: Span) -> Built {
    match arguments.text(0) {
        None | Some(b"ms" | b"us") => Ok(()),
        Some(_) => Err(bad_argument(span, "the unit is `ms` or `us`".into())),
    }
}

fn client_time(loader: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    loader.config.global.recording.client_socket = true;
    check_unit(arguments, span)
}

fn server_time(loader: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    loader.config.global.recording.server_end = true;
    check_unit(arguments, span)
}

fn client_packets(stream: &ProxyStream) -> Option<PacketFacts> {
    stream.session.socket()?.packets()
}

fn server_packets(stream: &ProxyStream) -> Option<PacketFacts> {
    stream.links.server_end()?.socket?.packets()
}

fn unit<'a>(arguments: &Arguments, microseconds: u32) -> Sample<'a> {
    int(match arguments.text(0) {
        Some(b"us") => microseconds,
        _ => microseconds / 1000,
    })
}

fn server_http<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    stream.links.server_end().filter(|_| stream.http)?;
    int(1 + u32::from(stream.links.watched(ConnectionSide::Server).is_some()))
}

fn is_there(stream: &ProxyStream, end: ConnectionSide) -> bool {
    end == ConnectionSide::Client || stream.links.server_end().is_some()
}

fn streams<'a>(stream: &ProxyStream, end: ConnectionSide) -> Sample<'a> {
    match stream.links.watched(end) {
        Some(watched) => int(watched.streams()?),
        None => is_there(stream, end).then_some(SampleValue::Int(1)),
    }
}

fn streams_max<'a>(stream: &ProxyStream, end: ConnectionSide) -> Sample<'a> {
    let Some(watched) = stream.links.watched(end) else {
        return is_there(stream, end).then_some(SampleValue::Int(1));
    };
    let tuned = &stream.config.global.tune.http2;
    let side = match end {
        ConnectionSide::Client => &tuned.client,
        ConnectionSide::Server => &tuned.server,
    };
    let ours = side
        .concurrent_streams_max
        .unwrap_or(tuned.concurrent_streams_max);
    int(match end {
        ConnectionSide::Client => ours,
        ConnectionSide::Server => ours.min(watched.streams_max_of_peer().unwrap_or(u32::MAX)),
    })
}

fn glitches<'a>(stream: &ProxyStream, end: ConnectionSide) -> Sample<'a> {
    match stream.links.watched(end) {
        Some(watched) => int(watched.stream_faults()?),
        None => is_there(stream, end).then_some(SampleValue::Int(0)),
    }
}

fn id<'a>(stream: &ProxyStream, end: ConnectionSide) -> Sample<'a> {
    match stream.links.watched(end) {
        Some(watched) => int(watched.id()),
        None => is_there(stream, end).then_some(SampleValue::Int(0)),
    }
}

fn reset_code<'a>(stream: &ProxyStream, end: ConnectionSide) -> Sample<'a> {
    int(stream.links.watched(end)?.reset_code()?)
}

#[cfg(test)]
mod tests {
    use crate::transaction::sample;

    #[test]
    fn without_a_connection_there_is_nothing_to_tell() {
        let stream = sample::request(b"GET / HTTP/1.1\r\n\r\n");
        for fetch in ["fc_rtt", "fc_lost", "fs.rst_code"] {
            assert_eq!(sample::evaluate(fetch, &stream), None, "{fetch}");
        }
        for (fetch, value) in [
            ("fc_nb_streams", "1"),
            ("fc_glitches", "0"),
            ("fs.id", "0"),
            ("fs.aborted", "0"),
        ] {
            let found = sample::evaluate(fetch, &stream);
            assert_eq!(found.as_deref(), Some(value), "{fetch}");
        }
    }

    #[test]
    fn units_are_milliseconds_and_microseconds() {
        let usage = crate::rules::Usage::LOG;
        assert!(sample::expression("fc_rtt(us)", usage).is_ok());
        assert!(sample::expression("fc_rtt(s)", usage).is_err());
    }
}
