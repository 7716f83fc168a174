//! Tests successful requests and responses: persistent connections, pipelining, bodies.

use crate::bed::{ProxyFixture, ScriptedOrigin, request_body};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn kept_alive_requests_share_a_connection_on_both_sides() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    for _ in 0..5 {
        assert_eq!(client.ask(GET), "200 0: GET /a ");
    }
    assert_eq!(origin.accepted(), 1);
    for ended in bed.ended(5) {
        assert_eq!(ended.brief(), "200 --");
    }
}

#[test]
fn http_1_0_client_is_closed_without_keep_alive() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind("", ""));
    assert!(bed.ask("GET /a HTTP/1.0\r\n\r\n").ends_with("GET /a "));
    let mut client = bed.client();
    client.send("GET /b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let answer = client.answer();
    assert!(
        answer
            .head
            .to_lowercase()
            .contains("connection: keep-alive"),
        "{}",
        answer.head
    );
    client.send("GET /c HTTP/1.0\r\n\r\n");
    assert!(client.rest().ends_with("GET /c "));
}

#[test]
fn pipelined_requests_get_responses_in_order() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    client.send(
        "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
         POST /3 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n\
         GET /4 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    );
    for wanted in ["GET /1 ", "POST /2 abc", "POST /3 def", "GET /4 "] {
        let body = String::from_utf8(client.answer().body).unwrap();
        assert!(body.ends_with(wanted), "{body}");
    }
    assert_eq!(client.ends(), "FIN");
}

#[test]
fn messages_that_arrive_byte_by_byte_pass_whole() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        while let Some(head) = peer.head() {
            let body = request_body(&mut peer, &head);
            peer.dribble(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
                body.len()
            ));
            peer.dribble(&body);
            peer.dribble("\r\n0\r\nX-T: t\r\n\r\n");
        }
    });
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    for request in [
        "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\nabcdefg",
        "POST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n3\r\nefg\r\n0\r\n\r\n",
    ] {
        client.dribble(request);
        assert_eq!(client.answer().body, b"abcdefg");
    }
}

#[test]
fn a_head_may_be_split_at_every_byte() {
    let origin = ScriptedOrigin::echo();
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut client = bed.client();
    let request = "POST /s HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nX-Y: z\r\n\r\nok";
    for at in 1..request.len() {
        client.send(&request[..at]);
        std::thread::yield_now();
        client.send(&request[at..]);
        assert_eq!(client.answer().body, b"0: POST /s ok");
    }
}
