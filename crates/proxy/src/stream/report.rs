//! Sends a statistics report to the client. A report may be long, so each piece is produced when
//! the client has read the previous one.

use super::send::{self, Completed, SendOutcome};
use super::session::Client;
use super::shape::BodyEnd;
use super::{ProxyResponse, ProxyStream, error_page};
use crate::stats::StatisticsReport;
use crate::stats::piece::{Piece, PieceSource};
use http::http1::ChunkHead;
use http::message::HttpVersion;
use mux::link::{PeerConnection, WriteFailure, write_data, write_pieces};
use reactor::yield_now;

/// Initial size of the buffer for pieces, bytes. Few pieces are longer.
const BUFFER_BYTES: usize = 16 * 1024;
/// Cost of a piece for the budget of the task: producing it takes as long as several requests.
const PIECE_COST: usize = 4_096;
const CHUNK_END: &[u8] = b"\r\n";
/// End of the last chunk, and the end of the body.
const LAST_CHUNK_END: &[u8] = b"\r\n0\r\n\r\n";

/// Sends a report. A short one has a length, as other responses. `may_keep`: the request allows
/// the connection to stay open.
pub(super) async fn send(
    client: &mut Client,
    stream: &mut ProxyStream,
    report: &mut StatisticsReport,
    may_keep: bool,
) -> SendOutcome {
    let mut piece = String::with_capacity(BUFFER_BYTES);
    while report.survey(&mut piece) {
        reactor::charge_budget(PIECE_COST);
        yield_now().await;
    }
    let Ok(head) = report.head() else {
        let page = error_page(stream, 500);
        return send::send(client, stream, page, may_keep).await;
    };
    let more = report.write(&mut Piece::new(&mut piece));
    if !more {
        let reply = ProxyResponse {
            head,
            body: piece.into_bytes().into(),
            close: false,
        };
        return send::send(client, stream, reply, may_keep).await;
    }
    stream.outcome.local = true;
    stream.response = head;
    let end = if client.link.is_http2() || stream.request.version() == HttpVersion::Http10 {
        BodyEnd::Close
    } else {
        BodyEnd::Chunks
    };
    let Ok(Completed { has_body, keeps }) = send::complete(client, stream, end, may_keep) else {
        client.link.abort_output();
        return SendOutcome::Failed;
    };
    let sent = if has_body {
        let chunked = end == BodyEnd::Chunks;
        stream_body(client, stream, report, piece, chunked).await
    } else {
        let limit = stream.client_ms();
        let (bytes, sent) = client.link.send_head(&stream.response, true, limit).await;
        stream.transfer.bytes_out += bytes;
        sent
    };
    if sent.is_err() {
        // Aborts the connection, so that the client does not take a part of the report for the
        // whole.
        client.link.abort_output();
    }
    send::outcome(stream, &sent, keeps)
}

async fn stream_body(
    client: &Client,
    stream: &mut ProxyStream,
    report: &mut StatisticsReport,
    mut piece: String,
    chunked: bool,
) -> Result<(), WriteFailure> {
    let limit = stream.client_ms();
    let mut front = Vec::new();
    match &client.link {
        PeerConnection::Http1(_) => {
            stream.response.write_http1(&mut front);
            stream.transfer.bytes_out += front.len() as u64;
        }
        PeerConnection::Http2(link) => {
            stream.transfer.bytes_out += stream.response.wire_len() as u64;
            link.send_head(&stream.response, false)
                .map_err(WriteFailure::Failed)?;
        }
    }
    let mut more = true;
    loop {
        let data = piece.as_bytes();
        match &client.link {
            PeerConnection::Http1(transport) => {
                let end = match (chunked && !data.is_empty(), more) {
                    (true, true) => CHUNK_END,
                    (true, false) => LAST_CHUNK_END,
                    (false, false) if chunked => &LAST_CHUNK_END[CHUNK_END.len()..],
                    (false, _) => b"",
                };
                if chunked && !data.is_empty() {
                    front.extend_from_slice(ChunkHead::new(data.len() as u64).as_bytes());
                }
                write_pieces(transport, [&front, data, end], more, limit).await?;
                front.clear();
            }
            PeerConnection::Http2(link) => write_data(link, data, !more, limit).await?,
        }
        stream.transfer.bytes_out += data.len() as u64;
        if !more {
            return Ok(());
        }
        reactor::charge_budget(PIECE_COST);
        yield_now().await;
        piece.clear();
        piece.shrink_to(BUFFER_BYTES);
        more = report.write(&mut Piece::new(&mut piece));
    }
}
