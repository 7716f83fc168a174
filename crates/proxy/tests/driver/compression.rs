//! Tests the compression of bodies between client and server.

use crate::bed::{ProxyFixture, ScriptedOrigin, request_body};
use crate::peer2::{Peer2, PeerEvent};
use flate2::{Decompress, FlushDecompress};
use std::sync::Mutex;
use std::sync::mpsc;

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n";

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    Decompress::new_gzip(15)
        .decompress_vec(bytes, &mut out, FlushDecompress::Sync)
        .unwrap();
    out
}

#[test]
fn compressed_data_is_flushed_without_delay() {
    let (go, waits) = mpsc::channel::<()>();
    let waits = Mutex::new(waits);
    let origin = ScriptedOrigin::new(move |mut peer, _| {
        while peer.head().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n");
            waits.lock().unwrap().recv().unwrap();
            peer.send("5\r\nworld\r\n0\r\nX-Trailer: 1\r\n\r\n");
        }
    });
    let bed = ProxyFixture::new(&origin.behind("", "compression algo gzip"));
    let mut client = bed.client();
    for _ in 0..2 {
        client.send(GET);
        let head = client.head().unwrap().to_lowercase();
        assert!(head.contains("content-encoding: gzip"), "{head}");
        let mut coded = Vec::new();
        let chunk = |client: &mut crate::bed::Peer| {
            let size = client.until("\r\n");
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let bytes = client.exactly(size + 2);
            bytes[..size].to_vec()
        };
        coded.extend(chunk(&mut client));
        assert_eq!(gunzip(&coded), b"hello ");
        go.send(()).unwrap();
        loop {
            let size = client.until("\r\n");
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            if size == 0 {
                break;
            }
            coded.extend(&client.exactly(size + 2)[..size]);
        }
        assert!(
            client
                .until("\r\n\r\n")
                .to_lowercase()
                .contains("x-trailer: 1")
        );
        assert_eq!(gunzip(&coded), b"hello world");
    }
    bed.counts("back/BACKEND", "comp_rsp comp_in", "comp_rsp=2 comp_in=22");
}

#[test]
fn truncated_compressed_body_has_no_end() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        if peer.head().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf of it");
        }
    });
    let bed = ProxyFixture::new(&origin.behind("", "compression algo gzip"));
    let text = bed.ask(GET);
    assert!(text.contains("content-encoding: gzip"), "{text}");
    assert!(!text.ends_with("0\r\n\r\n"), "{text}");
    assert_eq!(bed.end(), "200 SD");
}

#[test]
fn a_request_is_compressed_where_the_direction_says_so() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        while let Some(head) = peer.head() {
            let body = request_body(&mut peer, &head);
            let head = head.to_lowercase();
            let coded = head.contains("content-encoding: gzip");
            assert_eq!(coded, head.contains("transfer-encoding: chunked"), "{head}");
            let plain = if coded { gunzip(&body) } else { body };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{coded} ",
                plain.len() + coded.to_string().len() + 1
            );
            peer.send(answer);
            peer.send(plain);
        }
    });
    let lines = "compression direction request\ncompression algo-req gzip\ncompression type-req text/\ncompression minsize-req 5";
    let bed = ProxyFixture::new(&origin.behind("", lines));
    let mut client = bed.client();
    let post = |kind: &str, body: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    assert_eq!(
        client.ask(&post("text/plain", "squeeze me")),
        "200 true squeeze me"
    );
    assert_eq!(client.ask(&post("text/plain", "no")), "200 false no");
    assert_eq!(
        client.ask(&post("image/png", "squeeze me")),
        "200 false squeeze me"
    );
    assert_eq!(
        client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        "200 false "
    );
}

#[test]
fn http2_client_gets_a_compressed_response() {
    let origin = ScriptedOrigin::fixed(
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nETag: \"x\"\r\n\r\nhello world",
    );
    let text = origin.behind("", "compression algo gzip");
    let bed = ProxyFixture::new(&text);
    let mut client = Peer2::client(bed.client());
    let stream = client.fields(
        0,
        ":method: GET\n:scheme: http\n:authority: h\n:path: /\naccept-encoding: gzip\n",
        true,
    );
    let mut coded = Vec::new();
    loop {
        match client.next() {
            PeerEvent::Fields(id, head, end) => {
                assert_eq!((id, end), (stream, false));
                assert!(head.contains("content-encoding: gzip"), "{head}");
                assert!(head.contains("etag: W/"), "{head}");
                assert!(!head.contains("content-length"), "{head}");
                assert!(!head.contains("transfer-encoding"), "{head}");
            }
            PeerEvent::Data(_, data, end) => {
                coded.extend(data);
                if end {
                    break;
                }
            }
            PeerEvent::Closed => panic!("closed"),
            _ => {}
        }
    }
    assert_eq!(gunzip(&coded), b"hello world");
}
