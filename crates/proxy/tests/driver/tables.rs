//! Tests stick tables from the view of clients and operators: tracked values affect the next
//! request, clients stay with their servers, and a reload keeps the entries.

use crate::bed::{ProxyFixture, against_haproxy, settle, soon};
use crate::sessions::Operator;

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

#[test]
fn client_above_the_rate_is_refused() {
    let bed = ProxyFixture::new(
        "frontend www\n bind 127.0.0.1:{0}\n stick-table type ip size 100 expire 1m store http_req_rate(1h),http_err_cnt\n \
         http-request track-sc0 src\n http-request deny deny_status 429 if { sc_http_req_rate(0) gt 2 }\n \
         http-request return status 200 hdr x-errors %[src_http_err_cnt]\n",
    );
    let statuses: Vec<_> = (0..4).map(|_| bed.ask(GET)).collect();
    let statuses: Vec<&str> = statuses.iter().map(|answer| status(answer)).collect();
    assert_eq!(statuses, ["200", "200", "429", "429"]);
}

#[test]
fn connections_without_a_request_are_errors_and_slow_ones_are_not() {
    let bed = ProxyFixture::new(
        "frontend www\n bind 127.0.0.1:{0}\n timeout http-request 50ms\n \
         stick-table type ip size 100 expire 1m store http_req_cnt,http_err_cnt\n \
         tcp-request connection track-sc0 src\n \
         http-request return status 200 hdr x-seen %[sc0_http_req_cnt]-%[sc0_http_err_cnt]\n",
    );
    let seen = || {
        let answer = bed.ask(GET);
        let (_, seen) = answer.split_once("x-seen: ").expect("the header");
        seen.lines().next().unwrap_or_default().to_owned()
    };
    // A port scan: connections that are closed at once.
    drop(bed.client());
    assert_eq!(bed.end(), "400 CR");
    drop(bed.client());
    assert_eq!(bed.end(), "400 CR");
    assert_eq!(seen(), "3-2");
    // A browser opens connections that it may not use.
    let mut idle = bed.client();
    idle.rest();
    assert_eq!(seen(), "5-2");
    let mut slow = bed.client();
    slow.send("GET /x HTTP/1.1\r\n");
    assert!(slow.rest().starts_with("HTTP/1.1 408 "));
    assert_eq!(seen(), "7-2");
    let mut cut = bed.client();
    cut.send("GET /x HT");
    drop(cut);
    soon("the truncated request is counted", || {
        seen().ends_with("-3")
    });
}

#[test]
fn connection_tracking_works_with_a_proxy_header() {
    let bed = ProxyFixture::new(
        "frontend www\n bind 127.0.0.1:{0} accept-proxy\n \
         stick-table type ip size 100 expire 1m store http_req_cnt,conn_cur\n \
         tcp-request connection track-sc0 src\n \
         http-request return status 200 hdr x-seen %[sc0_tracked]-%[sc0_http_req_cnt]-%[sc0_conn_cur]\n",
    );
    let request = format!("PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n{GET}");
    for n in 1..3 {
        let answer = bed.ask(&request);
        assert!(answer.contains(&format!("x-seen: 1-{n}-1")), "{answer}");
    }
}

#[test]
fn connections_are_counted_while_they_last() {
    let bed = ProxyFixture::new(
        "frontend www\n bind 127.0.0.1:{0}\n stick-table type ip size 100 expire 1m store conn_cur,conn_cnt,sess_cnt\n \
         tcp-request connection track-sc0 src\n tcp-request connection reject if { sc0_conn_cur gt 2 }\n \
         http-request return status 200 hdr x-seen %[sc0_conn_cur]-%[sc_conn_cnt(0)]-%[src_sess_cnt]-%[sc0_trackers]-%[sc0_tracked]\n",
    );
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut one = bed.client();
    one.send(request.as_bytes());
    assert!(one.until("\r\n\r\n").contains("x-seen: 1-1-1-1-1"));
    let mut two = bed.client();
    two.send(request.as_bytes());
    assert!(two.until("\r\n\r\n").contains("x-seen: 2-2-2-2-1"));
    let mut three = bed.client();
    // The connection may be refused before anything was sent.
    three.try_send(request.as_bytes());
    assert_eq!(three.rest(), "");
    drop(one);
    soon("a place is free", || {
        let mut next = bed.client();
        next.try_send(GET.as_bytes()) && status(&next.rest()) == "200"
    });
}

#[test]
fn rules_of_content_wait_for_the_key_that_they_track() {
    let bed = ProxyFixture::new(
        "listen site\n bind 127.0.0.1:{1}\n http-request return status 200\n\
         listen www\n bind 127.0.0.1:{0}\n mode tcp\n stick-table type string size 100\n \
         tcp-request inspect-delay 60s\n tcp-request content track-sc0 url\n \
         tcp-request content reject if { sc0_tracked }\n server s 127.0.0.1:{1}\n",
    );
    let mut client = bed.client();
    settle();
    client.send(GET.as_bytes());
    assert_eq!(client.rest(), "");
}

/// Creates two servers that return their names, and a backend that balances between them.
fn sticky(rules: &str, options: &str) -> ProxyFixture {
    ProxyFixture::new(&format!(
        "listen one\n bind 127.0.0.1:{{1}}\n http-request return status 200 hdr x-server one hdr set-cookie id=first\n\
         listen two\n bind 127.0.0.1:{{2}}\n http-request return status 200 hdr x-server two hdr set-cookie id=second\n\
         listen www\n bind 127.0.0.1:{{0}}\n balance roundrobin\n stick-table type string size 100 expire 1m\n {rules}\n \
         server one 127.0.0.1:{{1}} {options}\n server two 127.0.0.1:{{2}}\n"
    ))
}

fn server_of(bed: &ProxyFixture, header: &str) -> String {
    let answer = bed.ask(&format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{header}\r\nConnection: close\r\n\r\n"
    ));
    let mut lines = answer
        .lines()
        .filter_map(|line| line.strip_prefix("x-server: "));
    lines.next().unwrap_or(&answer).to_owned()
}

#[test]
fn stick_key_keeps_its_server() {
    let bed = sticky("stick on req.hdr(user)", "");
    let first = server_of(&bed, "User: a");
    for other in 0..5 {
        server_of(&bed, &format!("User: other{other}"));
        assert_eq!(server_of(&bed, "User: a"), first);
    }
    let free: Vec<String> = (0..4).map(|_| server_of(&bed, "X: y")).collect();
    assert!(free.contains(&"one".to_owned()) && free.contains(&"two".to_owned()));
}

#[test]
fn response_can_store_the_stick_key() {
    let bed = sticky(
        "stick match req.cook(id)\n stick store-response res.cook(id)",
        "",
    );
    for _ in 0..2 {
        server_of(&bed, "X: y");
    }
    for _ in 0..3 {
        assert_eq!(server_of(&bed, "Cookie: id=first"), "one");
        assert_eq!(server_of(&bed, "Cookie: id=second"), "two");
    }
}

#[test]
fn non_stick_server_gets_no_persistence() {
    let bed = sticky("stick on req.hdr(user)", "non-stick");
    let servers: Vec<String> = (0..4).map(|_| server_of(&bed, "User: a")).collect();
    // From the first response of the second server on, all requests go to it.
    assert_eq!(servers[2..], ["two", "two"]);
}

#[test]
fn reload_keeps_stick_tables() {
    if against_haproxy() {
        return;
    }
    let text = |store: &str, size: u32| {
        format!(
            "frontend www\n bind 127.0.0.1:{{0}}\n stick-table type ip size {size} expire 1m store {store}\n \
             http-request track-sc0 src\n http-request return status 200 hdr x-seen %[sc0_http_req_cnt]\n"
        )
    };
    let mut bed = ProxyFixture::new(&text("http_req_cnt", 100));
    let seen = |bed: &ProxyFixture| {
        let answer = bed.ask(GET);
        let mut lines = answer
            .lines()
            .filter_map(|line| line.strip_prefix("x-seen: "));
        lines.next().unwrap_or(&answer).to_owned()
    };
    assert_eq!(seen(&bed), "1");
    bed.change(&text("http_req_cnt", 100));
    assert_eq!(seen(&bed), "2");
    // The new configuration has another size and other data; the entries are taken over.
    bed.change(&text("gpc0,http_req_cnt,conn_rate(10s)", 5000));
    assert_eq!(seen(&bed), "3");
    let operator = Operator::new(&mut bed);
    let shown = operator.ask("show table www");
    let shown: Vec<&str> = shown.lines().collect();
    assert_eq!(shown[0], "# table: www, type: ip, size:5000, used:1");
    assert!(shown[1].contains(": key=127.0.0.1 use="), "{shown:?}");
    assert!(
        shown[1].ends_with(" conn_rate(10000)=1 http_req_cnt=3"),
        "{shown:?}"
    );
}

#[test]
fn run_time_table_changes_affect_rules() {
    if against_haproxy() {
        return;
    }
    let mut bed = ProxyFixture::new(
        "frontend www\n bind 127.0.0.1:{0}\n stick-table type ip size 100 expire 1m store gpc0,http_req_cnt\n \
         http-request deny if { src_get_gpc0 gt 0 }\n http-request track-sc0 src\n http-request return status 200\n",
    );
    let operator = Operator::new(&mut bed);
    let rows = [
        ("set table www key 127.0.0.1 data.gpc0 1", "\n"),
        (
            "set table www key 127.0.0.1 data.gpc1 1",
            "Data type not stored in this table\n\n",
        ),
        (
            "set table www",
            "Required arguments: <table> key <key> [data.<store_data_type> <value>]*\n\n",
        ),
        ("set table none key 1", "No such table\n\n"),
        (
            "show table www data.gpc0",
            "Filter entry #1: Require and operator among \"eq\", \"ne\", \"le\", \"ge\", \"lt\", \"gt\"\n\n",
        ),
        (
            "show table www data.foo eq 1",
            "Filter entry #1: Unknown data type\n\n",
        ),
        ("show table www key", "Key value expected\n\n"),
    ];
    for (command, answer) in rows {
        assert_eq!(operator.ask(command), answer, "{command}");
    }
    assert_eq!(status(&bed.ask(GET)), "403");
    assert_eq!(operator.ask("clear table www data.gpc0 gt 0"), "\n");
    assert_eq!(status(&bed.ask(GET)), "200");
}
