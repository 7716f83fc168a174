//! Compares with HAProxy the fetches about the connections of a stream, PROXY headers, response
//! bodies, the rule that ended a list, and distcc; the converters xxh3 and when.

use super::{Case, Family, Normal, Sample, case, sample};

pub static FAMILY: Family = Family {
    samples: SAMPLES,
    cases: CASES,
    refused: &[
        "http-request deny if { fc_rtt(s) 1 }",
        "http-request deny if { res.body a }",
        "http-request deny if { distcc_param(DIS) 1 }",
        "http-request deny if { str(a),xxh3(x) 1 }",
    ],
    ..Family::named("ends")
};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nX-Kind: one\r\nContent-Type: text/plain\r\n";
const NUMBERS: &[Normal] = &[Normal::Numbers];

static SAMPLES: &[Sample] = &[
    sample("fc_rtt").normal(NUMBERS),
    sample("fc_rtt(ms)").normal(NUMBERS),
    sample("fc_rtt(us)").normal(NUMBERS),
    sample("fc_rttvar(us)").normal(NUMBERS),
    sample("fc_unacked"),
    sample("fc_sacked"),
    sample("fc_retrans"),
    sample("fc_fackets"),
    sample("fc_lost"),
    sample("fc_reordering"),
    sample("bc_http_major").answered(ANSWER),
    sample("req.hdrs_bin,hex"),
    sample("res.hdrs_bin,hex").answered(ANSWER),
    sample("res.body").answered(ANSWER),
    sample("res.body_len").answered(ANSWER),
    sample("res.body_size").answered(ANSWER),
    sample("last_rule_line"),
    sample("prio_class"),
    sample("prio_offset"),
    sample("cur_server_timeout").answered(ANSWER),
    sample("cur_client_timeout").newer("10000"),
    sample("cur_connect_timeout").newer("10000"),
    sample("cur_queue_timeout").newer("10000"),
    sample("cur_tarpit_timeout").newer("10000"),
    sample("last_rule_file"),
    sample("str(a),xxh3"),
    sample("str(a),xxh3(7)"),
    sample("str(ab),xxh3"),
    sample("str(ab),xxh3(7)"),
    sample("str(abc),xxh3"),
    sample("str(abc),xxh3(7)"),
    sample("str(abcd),xxh3"),
    sample("str(abcd),xxh3(7)"),
    sample("str(abcdefgh),xxh3"),
    sample("str(abcdefgh),xxh3(7)"),
    sample("str(abcdefghi),xxh3"),
    sample("str(abcdefghi),xxh3(7)"),
    sample("str(abcdefghijklmnop),xxh3"),
    sample("str(abcdefghijklmnop),xxh3(7)"),
    sample("str(abcdefghijklmnopq),xxh3"),
    sample("str(abcdefghijklmnopq),xxh3(7)"),
    sample("str(ahov29gnu18fmt07elsz6dkry5cjqx4),xxh3"),
    sample("str(ahov29gnu18fmt07elsz6dkry5cjqx4),xxh3(9876543210123)"),
    sample("str(ahov29gnu18fmt07elsz6dkry5cjqx4b),xxh3"),
    sample("str(ahov29gnu18fmt07elsz6dkry5cjqx4b),xxh3(9876543210123)"),
    sample("str(ahov29gnu18fmt07elsz6dkry5cjqx4bi),xxh3"),
    sample("str(ahov29gnu18fmt07elsz6dkry5cjqx4bi),xxh3(9876543210123)"),
    sample("str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dk),xxh3"),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dk),xxh3(9876543210123)",
    ),
    sample("str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkr),xxh3"),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkr),xxh3(9876543210123)",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt),xxh3",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt),xxh3(9876543210123)",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt0),xxh3",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt0),xxh3(9876543210123)",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov2),xxh3",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov2),xxh3(9876543210123)",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov29),xxh3",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov29),xxh3(9876543210123)",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov29gnu18fmt07elsz6elsz6dkry5cjqx4bipw3ahov29gnu18fmt07fmt07elsz6dkry5cjqx4),xxh3",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov29gnu18fmt07elsz6elsz6dkry5cjqx4bipw3ahov29gnu18fmt07fmt07elsz6dkry5cjqx4),xxh3(9876543210123)",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov29gnu18fmt07elsz6elsz6dkry5cjqx4bipw3ahov29gnu18fmt07fmt07elsz6dkry5cjqx4bipw3ahov29gnu18gnu18fmt07elsz6dkry5cjqx),xxh3",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov29gnu18fmt07elsz6elsz6dkry5cjqx4bipw3ahov29gnu18fmt07fmt07elsz6dkry5cjqx4bipw3ahov29gnu18gnu18fmt07elsz6dkry5cjqx),xxh3(9876543210123)",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov29gnu18fmt07elsz6elsz6dkry5cjqx4bipw3ahov29gnu18fmt07fmt07elsz6dkry5cjqx4bipw3ahov29gnu18gnu18fmt07elsz6dkry5cjqx4),xxh3",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov29gnu18fmt07elsz6elsz6dkry5cjqx4bipw3ahov29gnu18fmt07fmt07elsz6dkry5cjqx4bipw3ahov29gnu18gnu18fmt07elsz6dkry5cjqx4),xxh3(9876543210123)",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov29gnu18fmt07elsz6elsz6dkry5cjqx4bipw3ahov29gnu18fmt07fmt07elsz6dkry5cjqx4bipw3ahov29gnu18gnu18fmt07elsz6dkry5cjqx4bipw3ahov29hov29gnu18fmt07elsz6dkry5cjqx4bipw3aipw3ahov29gn),xxh3",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov29gnu18fmt07elsz6elsz6dkry5cjqx4bipw3ahov29gnu18fmt07fmt07elsz6dkry5cjqx4bipw3ahov29gnu18gnu18fmt07elsz6dkry5cjqx4bipw3ahov29hov29gnu18fmt07elsz6dkry5cjqx4bipw3aipw3ahov29gn),xxh3(9876543210123)",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov29gnu18fmt07elsz6elsz6dkry5cjqx4bipw3ahov29gnu18fmt07fmt07elsz6dkry5cjqx4bipw3ahov29gnu18gnu18fmt07elsz6dkry5cjqx4bipw3ahov29hov29gnu18fmt07elsz6dkry5cjqx4bipw3aipw3ahov29gnu18fmt07elsz6dkry5cjqx4bjqx4bipw3ahov29gnu18fmt07elsz6dkry5ckry5cjqx4bipw3ahov29gnu18fmt07elsz6dlsz6dkry5cjqx4bipw3ahov29gnu18fmt07emt07elsz6dkry5cjqx4bipw3ahov29gnu18fnu18fmt07elsz6dkry5cjqx4bipw3ahov29gov29gnu1),xxh3",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov29gnu18fmt07elsz6elsz6dkry5cjqx4bipw3ahov29gnu18fmt07fmt07elsz6dkry5cjqx4bipw3ahov29gnu18gnu18fmt07elsz6dkry5cjqx4bipw3ahov29hov29gnu18fmt07elsz6dkry5cjqx4bipw3aipw3ahov29gnu18fmt07elsz6dkry5cjqx4bjqx4bipw3ahov29gnu18fmt07elsz6dkry5ckry5cjqx4bipw3ahov29gnu18fmt07elsz6dlsz6dkry5cjqx4bipw3ahov29gnu18fmt07emt07elsz6dkry5cjqx4bipw3ahov29gnu18fnu18fmt07elsz6dkry5cjqx4bipw3ahov29gov29gnu1),xxh3(9876543210123)",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov29gnu18fmt07elsz6elsz6dkry5cjqx4bipw3ahov29gnu18fmt07fmt07elsz6dkry5cjqx4bipw3ahov29gnu18gnu18fmt07elsz6dkry5cjqx4bipw3ahov29hov29gnu18fmt07elsz6dkry5cjqx4bipw3aipw3ahov29gnu18fmt07elsz6dkry5cjqx4bjqx4bipw3ahov29gnu18fmt07elsz6dkry5ckry5cjqx4bipw3ahov29gnu18fmt07elsz6dlsz6dkry5cjqx4bipw3ahov29gnu18fmt07emt07elsz6dkry5cjqx4bipw3ahov29gnu18fnu18fmt07elsz6dkry5cjqx4bipw3ahov29gov29gnu18fmt07elsz6dkry5cjqx4bipw3ahpw3ahov29gnu18fmt07elsz6dkry5cjqx4biqx4bipw3ahov29gnu18fmt07elsz6dkry5cjry5cjqx4bipw3ahov29gnu18fmt07elsz6dksz6dkry5cjqx4bipw3ahov29gnu18fmt07elt07elsz6dkry5cjq),xxh3",
    ),
    sample(
        "str(ahov29gnu18fmt07elsz6dkry5cjqx4bipw3bipw3ahov29gnu18fmt07elsz6dkry5cjqx4cjqx4bipw3ahov29gnu18fmt07elsz6dkry5dkry5cjqx4bipw3ahov29gnu18fmt07elsz6elsz6dkry5cjqx4bipw3ahov29gnu18fmt07fmt07elsz6dkry5cjqx4bipw3ahov29gnu18gnu18fmt07elsz6dkry5cjqx4bipw3ahov29hov29gnu18fmt07elsz6dkry5cjqx4bipw3aipw3ahov29gnu18fmt07elsz6dkry5cjqx4bjqx4bipw3ahov29gnu18fmt07elsz6dkry5ckry5cjqx4bipw3ahov29gnu18fmt07elsz6dlsz6dkry5cjqx4bipw3ahov29gnu18fmt07emt07elsz6dkry5cjqx4bipw3ahov29gnu18fnu18fmt07elsz6dkry5cjqx4bipw3ahov29gov29gnu18fmt07elsz6dkry5cjqx4bipw3ahpw3ahov29gnu18fmt07elsz6dkry5cjqx4biqx4bipw3ahov29gnu18fmt07elsz6dkry5cjry5cjqx4bipw3ahov29gnu18fmt07elsz6dksz6dkry5cjqx4bipw3ahov29gnu18fmt07elt07elsz6dkry5cjq),xxh3(9876543210123)",
    ),
    sample("str(a),when(normal)").newer("a"),
    sample("server_status").answered(ANSWER).newer("200"),
    sample("bc_rtt(us)")
        .answered(ANSWER)
        .normal(NUMBERS)
        .newer("9"),
    sample("bc_rttvar(us)")
        .answered(ANSWER)
        .normal(NUMBERS)
        .newer("9"),
    sample("bc_reused").answered(ANSWER).newer("0"),
    sample("fc_nb_streams").newer("1"),
    sample("bc_nb_streams").answered(ANSWER).newer("1"),
    sample("fc_settings_streams_limit").newer("1"),
    sample("bc_settings_streams_limit")
        .answered(ANSWER)
        .newer("1"),
    sample("fc_glitches").newer("0"),
    sample("bc_glitches").answered(ANSWER).newer("0"),
    sample("fs.id").newer("0"),
    sample("bs.id").answered(ANSWER).newer("0"),
    sample("fs.aborted").newer("0"),
    sample("bs.aborted").answered(ANSWER).newer("0"),
];

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Rules that wait for the body of a response, and show what they find of it in a header.
const WAITED: &str = "http-response wait-for-body time 5s\n\
    http-response set-header x-body [%[res.body,length]][%[res.body_len]][%[res.body_size]][%[res.body,bytes(0,12)]]\n default_backend @CASE@\n";
const SERVER: &str = "backend @CASE@\n server s @SERVER@";

static CASES: &[Case] = &[
    case("a body that is waited for")
        .covers(&["http-response action wait-for-body"])
        .lines(WAITED)
        .sections(SERVER)
        .server_says(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world")
        .send(&[GET, b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"])
        .normal(&[Normal::HeaderOrder]),
    case("chunks that are waited for")
        .lines(WAITED)
        .sections(SERVER)
        .server_says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
        .send(&[GET])
        .normal(&[Normal::HeaderOrder]),
    case("an answer without a body is not waited for")
        .lines(WAITED)
        .sections(SERVER)
        .server_says(b"HTTP/1.1 204 No Content\r\n\r\n")
        .send(&[GET])
        .normal(&[Normal::HeaderOrder]),
    case("a body that does not come")
        .lines(
            "http-response wait-for-body time 200ms\n http-response set-header x-body %[res.body]\n default_backend @CASE@\n",
        )
        .sections(SERVER)
        .server_says(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello")
        .send(&[GET])
        .normal(&[Normal::HeaderOrder]),
    case("a part of a body that is waited for")
        .lines(
            "http-response wait-for-body time 5s at-least 4\n http-response set-header x-body %[res.body_len,div(4)]\n default_backend @CASE@\n",
        )
        .sections("backend @CASE@\n http-response wait-for-body time 5s at-least 2\n http-response set-header x-first 1\n server s @SERVER@")
        .server_says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        .send(&[GET])
        .normal(&[Normal::HeaderOrder]),
    case("the rule that ended a list")
        .covers(&["fetch last_rule_line", "fetch last_rule_file"])
        .lines(
            "http-request deny if { path /deny }\n http-request allow if { path /allow }\n\
             http-request redirect location /x if { path /redirect }\n http-after-response set-header x-rule %[last_rule_line,add(0)]\n\
             default_backend @CASE@\n",
        )
        .sections(SERVER)
        .send(&[
            GET,
            b"GET /deny HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            b"GET /allow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        ])
        .normal(&[Normal::HeaderOrder]),
    case("fields of a PROXY header")
        .covers(&["fetch fc_pp_authority", "fetch fc_pp_unique_id"])
        .bind("accept-proxy")
        .lines(
            "http-request return status 200 content-type text/plain lf-string [%[fc_pp_authority]][%[fc_pp_unique_id]][%[src]][%[fc_rcvd_proxy]]\n",
        )
        .send(&[
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x20\xc0\0\x02\x01\xc0\0\x02\x02\0\x50\0\x51\x02\0\x08shop.org\x05\0\x06uniqueGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 80 81\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        ])
        .normal(&[Normal::HeaderOrder]),
    case("fields of a PROXY header by their type")
        .covers(&["fetch fc_pp_tlv"])
        .bind("accept-proxy")
        .lines("http-request return status 200 content-type text/plain lf-string [%[fc_pp_tlv(AUTHORITY)]][%[fc_pp_tlv(5)]][%[fc_pp_tlv(224)]]\n")
        .send(&[])
        .newer(""),
    case("the time limit of a tunnel")
        .covers(&["fetch cur_tunnel_timeout"])
        .lines("default_backend @CASE@\n")
        .sections("backend @CASE@\n timeout tunnel 7s\n http-response set-header x-limit %[cur_tunnel_timeout]\n server s @SERVER@")
        .send(&[GET])
        .normal(&[Normal::HeaderOrder]),
    case("a message of distcc")
        .covers(&["fetch distcc_param", "fetch distcc_body"])
        .lines(
            "mode tcp\n tcp-request inspect-delay 5s\n\
             tcp-request content set-var(sess.a) distcc_param(DIST) if WAIT_END\n\
             tcp-request content set-var(sess.b) distcc_body(ARGV) if WAIT_END\n\
             tcp-request content set-var(sess.c) distcc_body(ARGV,2) if WAIT_END\n\
             tcp-request content set-var(sess.d) distcc_param(DOTI) if WAIT_END\n\
             tcp-request content set-var(sess.e) distcc_body(DOTI) if WAIT_END\n\
             tcp-request content set-var(sess.f) distcc_param(NONE) if WAIT_END\n\
             tcp-request content accept if WAIT_END\n\
             unique-id-format [%[var(sess.a)]][%[var(sess.b)]][%[var(sess.c)]][%[var(sess.d)]][%[var(sess.e)]][%[var(sess.f)]]\n default_backend @CASE@\n",
        )
        .sections("backend @CASE@\n mode tcp\n server s @ECHO@ send-proxy-v2 proxy-v2-options unique-id")
        .send(&[
            b"DIST00000001ARGC00000002ARGV00000002ccARGV00000003a.cDOTI00000004int ",
            b"GET / HTTP/1.0\r\n\r\n",
        ])
        .half_close()
        .normal(&[Normal::ProxyPorts]),
    case("bytes of an answer")
        .covers(&["fetch res.len", "fetch res.payload", "fetch res.payload_lv"])
        .lines("mode tcp\n default_backend @CASE@\n")
        .sections(
            "backend @CASE@\n mode tcp\n tcp-response inspect-delay 5s\n\
             tcp-response content reject if { res.payload(0,2) -m str no }\n\
             tcp-response content accept if { res.len ge 4 } { res.payload_lv(0,1) -m str abc }\n\
             tcp-response content reject\n server s @ECHO@",
        )
        .send(&[b"\x03abc", b"nothing", b"\x03abd", b"other"])
        .half_close(),
];

#[test]
fn ends() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
