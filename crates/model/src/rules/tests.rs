//! Tests complete expressions, ACLs and conditions. The expected values of expressions are those
//! that HAProxy 2.6 printed.

use super::{PREDEFINED, Usage};
use crate::config::ProxyKind;
use crate::transaction::sample::{self, condition, evaluate, test};

const REQUEST: &[u8] = b"GET /a/b?x=1&y=2;z=3&x=4 HTTP/1.1\r\nHost: Ex.com:80\r\nA: b, c,,\"d,e\" ,\r\nA: f\r\nE: \r\n\
    Xip: 1.2.3.4:80, ::2, nope\r\nN: 5x, -7\r\nCookie: k=v; m=\"q\";k=w\r\n\r\n";

fn all(rows: &[(&str, &str)]) {
    let stream = sample::request(REQUEST);
    for (expression, expected) in rows {
        assert_eq!(
            evaluate(expression, &stream).unwrap_or_default(),
            *expected,
            "{expression}"
        );
    }
}

#[test]
fn fetches_of_requests_find_what_haproxy_finds() {
    all(&[
        ("method", "GET"),
        ("path", "/a/b"),
        ("pathq", "/a/b?x=1&y=2;z=3&x=4"),
        ("query", "x=1&y=2;z=3&x=4"),
        ("url", "/a/b?x=1&y=2;z=3&x=4"),
        ("base", "Ex.com:80/a/b"),
        ("baseq", "Ex.com:80/a/b?x=1&y=2;z=3&x=4"),
        ("base32", "3648902478"),
        ("url32", "836701671"),
        ("url_ip", ""),
        ("urlp(x)", "1"),
        ("urlp(y)", "2"),
        ("urlp(z)", "3"),
        ("urlp(y,;)", ""),
        ("urlp", "1"),
        ("urlp_val(x)", "1"),
        ("req.ver", "1.1"),
        ("http_first_req", "1"),
        ("req.proto_http", "1"),
        ("capture.req.uri", "/a/b?x=1&y=2;z=3&x=4"),
        ("capture.req.ver", "HTTP/1.1"),
        ("req.body_len", "0"),
        ("req.body_size", "0"),
        ("src", "198.51.100.7"),
        ("src,add(1)", "3325256712"),
        ("src,length", "12"),
        ("src,base64", "xjNkBw=="),
        ("dst_port", "80"),
        ("so_id", "1"),
        ("fe_name", "web"),
        ("ssl_fc", "0"),
    ]);
}

#[test]
fn headers_are_counted_at_their_commas_and_cookies_by_name() {
    all(&[
        ("hdr(a)", "f"),
        ("hdr(a,1)", "b"),
        ("hdr(a,2)", "c"),
        ("hdr(a,3)", ""),
        ("hdr(a,4)", "\"d,e\""),
        ("hdr(a,6)", "f"),
        ("hdr(a,-1)", "f"),
        ("hdr(a,-2)", ""),
        ("hdr(a,-3)", "\"d,e\""),
        ("hdr(a,-11)", ""),
        ("hdr(host,)", "Ex.com:80"),
        ("hdr( host )", ""),
        ("hdr_cnt(a)", "6"),
        ("hdr_cnt(e)", "1"),
        ("hdr_cnt(nope)", "0"),
        ("req.fhdr_cnt(a)", "2"),
        ("req.fhdr(a)", "f"),
        ("req.fhdr(a,1)", "b, c,,\"d,e\" ,"),
        ("req.hdr_names", "host,a,a,e,xip,n,cookie"),
        ("req.hdr_names(;)", "host;a;a;e;xip;n;cookie"),
        ("hdr_ip(xip)", ""),
        ("hdr_ip(xip,1)", "1.2.3.4"),
        ("hdr_ip(xip,2)", "::2"),
        ("hdr_val(n)", "-7"),
        ("hdr_val(n,1)", "5"),
        ("cook(k)", "w"),
        ("cook(m)", "\"q\""),
        ("cook_cnt(k)", "2"),
        ("cook_cnt", "3"),
        ("cook", "v"),
        ("cook_val(k)", "0"),
        ("cook(nope)", ""),
    ]);
}

#[test]
fn converters_of_text_do_what_haproxys_do() {
    all(&[
        ("str(f1_f2_f3__f5),field(5,_)", "f5"),
        ("str(f1_f2_f3__f5),field(2,_,0)", "f2_f3__f5"),
        ("str(f1_f2_f3__f5),field(2,_,2)", "f2_f3"),
        ("str(f1_f2_f3__f5),field(-2,_)", ""),
        ("str(f1_f2_f3__f5),field(-2,_,3)", "f2_f3_"),
        ("str(f1_f2_f3__f5),field(-3,_,0)", "f1_f2_f3"),
        ("str(f1_f2_f3__f5),field(9,_)", ""),
        ("str(__aa__bb__),field(3,_,9)", "aa__bb__"),
        ("str(__aa__bb__),field(-3,_,9)", "__aa__bb"),
        ("str(w1_w2_w3___w4),word(4,_)", "w4"),
        ("str(w1_w2_w3___w4),word(2,_,0)", "w2_w3___w4"),
        ("str(w1_w2_w3___w4),word(2,_,2)", "w2_w3"),
        ("str(w1_w2_w3___w4),word(3,_,2)", "w3___w4"),
        ("str(w1_w2_w3___w4),word(-2,_,3)", "w1_w2_w3"),
        ("str(w1_w2_w3___w4),word(-3,_,0)", "w1_w2"),
        ("str(__aa__bb__),word(2,_,0)", "bb__"),
        ("str(__aa__bb__),word(-1,_,5)", "__aa__bb"),
        ("str(__aa__bb__),word(1,_,2)", "aa__bb"),
        ("str(a.b-c),word(2,.-)", "b"),
        ("str(abc),bytes(1)", "bc"),
        ("str(abc),bytes(1,1)", "b"),
        ("str(abc),bytes(4)", ""),
        ("str(abc),bytes(txn.none)", ""),
        ("str(abc),bytes(1,txn.none)", ""),
        ("path,regsub(^/a,)", "/b"),
        ("path,regsub(\"(a)(/)\",\"\\2\\1\\0\")", "//aa/b"),
        ("path,regsub(/,-,g)", "-a-b"),
        ("str(aXbX),regsub(\"x\",\"<\\0>\",gi)", "a<X>b<X>"),
        ("str(a),concat(b,txn.none,c)", "abc"),
        ("str(a),concat(,,c)", "ac"),
        ("str(a),add_item(;,,b)", "a;b"),
        ("str(),add_item(;,,b)", "b"),
        ("str(xxabx),ltrim(x)", "abx"),
        ("str(abc),rtrim(cb)", "a"),
        ("str(\"a\\r\\nb\"),cut_crlf", "a"),
        ("str(A-Z),lower", "a-z"),
        ("int(12),length", "2"),
        ("bool(false),iif(a,b)", "b"),
        ("int(3),iif(a,b)", "a"),
        ("req.hdr(host),lower,host_only", "ex.com"),
    ]);
}

#[test]
fn numbers_stay_in_their_range() {
    all(&[
        ("int(7),mod(0)", "0"),
        ("int(7),div(0)", "9223372036854775807"),
        ("int(-7),div(2)", "-3"),
        ("int(-7),mod(3)", "-1"),
        ("int(9223372036854775807),add(1)", "9223372036854775807"),
        ("int(9223372036854775807),mul(2)", "9223372036854775807"),
        ("int(-9223372036854775807),sub(5)", "-9223372036854775808"),
        ("int(5),and(3)", "1"),
        ("int(5),or(3)", "7"),
        ("int(5),xor(3)", "6"),
        ("int(5),cpl", "-6"),
        ("int(5),neg", "-5"),
        ("int(5),not", "0"),
        ("int(5),even", "0"),
        ("int(5),odd", "1"),
        ("int(5),add(txn.none)", ""),
        ("str(12ab),add(1)", "13"),
        ("str(abc),add(1)", "1"),
        ("bool(true),add(1)", "2"),
    ]);
}

#[test]
fn encodings_are_those_of_haproxy() {
    all(&[
        ("str(\"a%41+b?c+d\"),url_dec", "aA+b?c d"),
        ("str(\"a%41+b?c+d\"),url_dec(1)", "aA b?c d"),
        ("str(\"%4\"),url_dec", ""),
        ("str(\"%zz\"),url_dec", ""),
        ("str(\"a b/c?d&~-_.\"),url_enc", "a%20b%2Fc%3Fd%26~-_."),
        ("str(hello),base64", "aGVsbG8="),
        ("str(aGVsbG8=),b64dec", "hello"),
        ("str(aGVsbG8),b64dec", ""),
        ("str(hello),ub64enc", "aGVsbG8"),
        ("str(_-4),ub64dec,hex", "FFEE"),
        ("int(5),hex", "0000000000000005"),
        ("method,hex", "474554"),
        ("int(5),base64", "AAAAAAAAAAU="),
        ("str(1F),hex2i", "31"),
        ("str(1z),hex2i", ""),
        ("bin(0102030405),be2dec(:,2)", "258:772:5"),
        ("bin(0102030405),be2dec(:,2,1)", "258:772"),
        ("bin(0102030405),be2hex(:,2)", "0102:0304:05"),
        ("bin(0102030405),be2hex", "0102030405"),
        ("int(16909060),htonl,hex", "01020304"),
        ("str(\"\\\"x\\\\y\"),json", "\\\"x\\\\y"),
        ("str(a/b),json", "a\\/b"),
        ("bin(61ff62),json", "a\\u00ffb"),
        ("bin(61ff62),json(utf8)", ""),
        ("bin(61ff62),json(utf8s)", "ab"),
    ]);
}

#[test]
fn times_and_addresses_are_written_as_haproxy_writes_them() {
    all(&[
        ("int(0),utime(%Y-%m-%d)", "1970-01-01"),
        ("int(0),utime(%c)", "Thu Jan  1 00:00:00 1970"),
        ("int(0),utime(%x %X %r)", "01/01/70 00:00:00 12:00:00 AM"),
        (
            "int(86399),utime(\"%d/%b/%Y:%H:%M:%S %z %a %j\")",
            "01/Jan/1970:23:59:59 +0000 Thu 001",
        ),
        ("int(0),utime(\"%s %% %k%l|%e\")", "0 %  012| 1"),
        ("int(0),http_date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("int(0),http_date(10)", "Thu, 01 Jan 1970 00:00:10 GMT"),
        (
            "int(12345),http_date(10,ms)",
            "Thu, 01 Jan 1970 00:00:12.355 GMT",
        ),
        ("str(10.0.0.1),ipmask(8)", "10.0.0.0"),
        ("int(256),ipmask(32)", "0.0.1.0"),
        ("ipv4(1.2.3.4),add(0)", "16909060"),
        ("ipv4(1.2.3.4),ipmask(255.255.0.0)", "1.2.0.0"),
        ("ipv6(2001:db8::1),ipmask(24,32)", "2001:db8::"),
        ("ipv6(2001:db8::1),ipmask(24)", ""),
        ("str([::1]:80),host_only", "[::1]"),
        ("str([::1]:80),port_only", "80"),
        ("str(a.b),port_only", "0"),
        ("str([::1]),host_only", "[::1]"),
        ("str(a:),host_only", "a"),
    ]);
}

#[test]
fn responses_have_their_own_headers() {
    let stream = sample::exchange(REQUEST, b"HTTP/1.0 404 Not Found\r\nServer: x\r\nSet-Cookie: s=1; Path=/\r\nContent-Length: 0\r\n\r\n");
    for (expression, expected) in [
        ("status", "404"),
        ("res.ver", "1.0"),
        ("res.hdr(server)", "x"),
        ("shdr(server)", "x"),
        ("res.cook(s)", "1"),
        ("scook_cnt", "1"),
        ("res.hdr_cnt(set-cookie)", "1"),
        ("res.hdr_val(content-length)", "0"),
    ] {
        assert_eq!(
            evaluate(expression, &stream).unwrap_or_default(),
            expected,
            "{expression}"
        );
    }
    let response = Usage::http_response(ProxyKind::Listen);
    let (rule, _) = condition(
        &["x hdr(server) x"],
        "if x { hdr(server) -m found } !{ hdr(host) -m found }",
        response,
    );
    assert!(rule.unwrap().test(&stream));
}

#[test]
fn acls_compare_as_haproxys() {
    let stream = sample::request(REQUEST);
    for (text, expected) in [
        ("path /a/b", true),
        ("path /A/B", false),
        ("path -i /A/B", true),
        ("path_beg /x /a", true),
        ("path_end /b", true),
        ("path_dir b", true),
        ("path_dir a/b", true),
        ("path_sub a/", true),
        ("path_reg ^/[a-z]/b$", true),
        ("path_reg -i ^/A", true),
        ("path_reg ^/(?!a)", false),
        ("path_len 4", true),
        ("path -m len gt 3", true),
        ("path_beg -m end b", true),
        ("path,length 4", true),
        ("hdr(a) c", true),
        ("hdr(a,1) c", false),
        ("hdr(a) -m found", true),
        ("hdr(nope) -m found", false),
        ("hdr(host) -i ex.com:80", true),
        ("hdr_dom(host) -i ex.com", true),
        ("hdr_beg(host),lower ex.com:80", true),
        ("hdr_cnt(a) gt 5", true),
        ("hdr_val(n) -7", true),
        ("hdr_ip(xip) 1.2.3.0/24", true),
        ("cook(k) v", true),
        ("cook(k) w", true),
        ("urlp(x) 4", true),
        ("method GET POST", true),
        ("method get", false),
        ("src 198.51.100.0/24", true),
        ("src 10.0.0.0/8 ::1", false),
        ("src -m reg ^198", true),
        ("src -m str 198.51.100.7", true),
        ("dst_port 80 443", true),
        ("dst_port lt 80", false),
        ("dst_port 1:100", true),
        ("dst_port 1:2 ge 80", true),
        ("always_true", true),
        ("always_true 0", true),
        ("always_false", false),
        ("int(0) -m bool", false),
        ("bin(4142) -m str AB", true),
        ("bin(4142) -m bin 4142", true),
        ("str(a) a", true),
        ("str(-a) -- -a", true),
        ("var(txn.none) -m found", false),
        ("req.ver 1.1", true),
        ("ssl_fc", false),
        ("path --", false),
    ] {
        assert_eq!(test(text, &stream), Some(expected), "{text}");
    }
}

#[test]
fn predefined_acls_are_all_there() {
    let stream = sample::request(REQUEST);
    let true_ones = [
        "HTTP",
        "HTTP_1.1",
        "HTTP_URL_SLASH",
        "METH_GET",
        "REQ_CONTENT",
        "TRUE",
        "WAIT_END",
    ];
    for (name, _) in PREDEFINED {
        let (parsed, told) = condition(&[], &format!("if {name}"), Usage::FRONT_HTTP_REQUEST);
        assert_eq!(
            parsed.unwrap().test(&stream),
            true_ones.contains(name),
            "{name}"
        );
        assert!(told.is_empty(), "{told:?}");
    }
}

#[test]
fn conditions_are_alternatives_of_conjunctions() {
    let stream = sample::request(REQUEST);
    let acls = [
        "t always_true",
        "f always_false",
        "either always_false",
        "either always_true",
    ];
    for (text, expected) in [
        ("if t", true),
        ("if f", false),
        ("unless f", true),
        ("unless t", false),
        ("if t f", false),
        ("if t f or t", true),
        ("if f || t t", true),
        ("if !f", true),
        ("if ! f", true),
        ("if !!t", true),
        ("if t !{ always_false } either", true),
        ("if { always_false } or !{ path /x }", true),
        ("if", false),
        ("unless", true),
        ("if f or", false),
        ("if t or", true),
    ] {
        let (parsed, _) = condition(&acls, text, Usage::FRONT_HTTP_REQUEST);
        assert_eq!(parsed.unwrap().test(&stream), expected, "{text}");
    }
}

#[test]
fn content_rules_wait_while_an_answer_may_change() {
    let rows: &[(&str, &[u8], bool, Option<bool>)] = &[
        ("req.len gt 0", b"", false, None),
        ("req.len gt 0", b"x", false, Some(true)),
        ("req.len gt 0", b"", true, Some(false)),
        ("req.ssl_hello_type 1", b"\x16\x03", false, None),
        ("req.ssl_hello_type 1", b"\x16\x03", true, Some(false)),
        ("req.payload(0,2) -m str SS", b"S", false, None),
        ("req.payload(0,2) -m str SS", b"SSH", false, Some(true)),
        ("path /x", b"", false, None),
        ("path /x", b"GET /x HTTP/1.1\r\n", false, None),
        (
            "path /x",
            b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
            false,
            Some(true),
        ),
        (
            "path /x",
            b"GET /y HTTP/1.1\r\nHost: a\r\n\r\n",
            false,
            Some(false),
        ),
        ("path /x", b"SSH-2.0-OpenSSH\r\n", false, Some(false)),
        ("req.proto_http", b"GET / HT", false, None),
        (
            "req.proto_http",
            b"GET / HTTP/1.1\r\n\r\n",
            false,
            Some(true),
        ),
        ("req.proto_http", b"SSH-2.0-OpenSSH\r\n", false, Some(false)),
        (
            "req.proto_http",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
            false,
            None,
        ),
        (
            "req.proto_http",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            false,
            Some(true),
        ),
        ("src 10.0.0.1", b"", false, Some(false)),
        ("wait_end", b"", false, None),
        ("wait_end", b"", true, Some(true)),
    ];
    for (text, bytes, complete, expected) in rows {
        assert_eq!(
            test(text, &sample::tcp(bytes, *complete)),
            *expected,
            "{text} {complete}"
        );
    }
    let (negated, _) = condition(&[], "if !{ req.len gt 0 }", Usage::FRONT_TCP_CONTENT);
    let negated = negated.unwrap();
    assert_eq!(negated.test_or_wait(&sample::tcp(b"", false)), None);
    assert_eq!(negated.test_or_wait(&sample::tcp(b"x", false)), Some(false));
}

#[test]
fn mistakes_are_told_where_they_stand() {
    let here = Usage::FRONT_HTTP_REQUEST;
    for (text, code, part) in [
        ("hdrx(a)", "E0401", "hdrx"),
        ("foo.bar", "E0401", "foo.bar"),
        ("str(a),lower,foo", "E0402", "foo"),
        ("path,", "E0403", ","),
        ("", "E0403", ""),
        ("req.hdr(a", "E0403", "(a"),
        ("req.hdr(\"a)", "E0403", "\""),
        ("req.hdr(a)b", "E0403", "b"),
        ("path x", "E0403", " x"),
        ("int(a)", "E0404", "a"),
        ("hdr(host,a)", "E0404", "a"),
        ("hdr(host,1,2)", "E0404", "2"),
        ("req.len(2)", "E0404", "2"),
        ("path,field(0,/)", "E0404", "field(0,/)"),
        ("path,field(1)", "E0404", "field(1)"),
        ("bool(yes)", "E0404", "yes"),
        ("ipv4(1.2.3)", "E0404", "1.2.3"),
        ("res.hdr(a)", "E0405", "res.hdr(a)"),
        ("bin(00),add(1)", "E0406", "add(1)"),
        ("always_true,ipmask(8)", "E0406", "ipmask(8)"),
        ("path,regsub(\"(\",x)", "E0411", "\"(\""),
        ("var(foo)", "E0416", "foo"),
        ("var(txn.f+)", "E0416", "txn.f+"),
        (
            "path,map(/nonexistent/x.map)",
            "E0111",
            "map(/nonexistent/x.map)",
        ),
        ("ssl_fc_unique_id", "E0103", "ssl_fc_unique_id"),
        ("path,jwt_decrypt_jwk(a)", "E0103", "jwt_decrypt_jwk"),
    ] {
        let error = sample::expression(text, here).map(|_| ()).unwrap_err();
        let span = error.primary.unwrap();
        assert_eq!(
            (error.code.id, &text[span.start as usize..span.end as usize]),
            (code, part),
            "{text}: {}",
            error.message
        );
    }
}

#[test]
fn mistakes_of_conditions_and_acls_have_their_codes() {
    for (acls, text, code) in [
        (&[][..], "if nosuch", "E0412"),
        (&[], "if { path /x", "E0414"),
        (&[], "when x", "E0414"),
        (&[], "if { }", "E0403"),
        (&[], "if { bin(00) x }", "E0407"),
        (&[], "if { src 10.0.0.0/33 }", "E0410"),
        (&[], "if { src -n foo.invalid }", "E0410"),
        (&[], "if { dst_port foo }", "E0410"),
        (&[], "if { dst_port 5:2 }", "E0410"),
        (&[], "if { path_reg ( }", "E0411"),
        (&[], "if { path -x x }", "E0409"),
        (&[], "if { path -m foo x }", "E0408"),
        (&[], "if { path -m }", "E0409"),
        (&[], "if { always_true -m ip 1 }", "E0406"),
        (&[], "if { path -f /nonexistent }", "E0111"),
        (&["1z* path x"], "if TRUE", "E0413"),
        (&["or path x"], "if TRUE", "E0413"),
        (&["a"], "if TRUE", "E0403"),
    ] {
        let (parsed, _) = condition(acls, text, Usage::FRONT_HTTP_REQUEST);
        assert_eq!(
            parsed.map(|_| ()).unwrap_err().code.id,
            code,
            "{acls:?} {text}"
        );
    }
}

#[test]
fn warnings_are_told_and_the_rule_works_on() {
    let response = Usage::http_response(ProxyKind::Frontend);
    for (acls, text, usage, expected) in [
        (
            &["a path /x"][..],
            "if a",
            response,
            "W0401 ACL 'a' will never match",
        ),
        (
            &[],
            "if { path /x }",
            response,
            "W0401 this test will never match",
        ),
        (&[], "if { path }", Usage::FRONT_HTTP_REQUEST, "W0402 "),
        (
            &["unused path /x"],
            "if TRUE",
            Usage::FRONT_HTTP_REQUEST,
            "W0111 ACL 'unused'",
        ),
        (&[], "if", Usage::FRONT_HTTP_REQUEST, "W0403 "),
    ] {
        let (parsed, told) = condition(acls, text, usage);
        assert!(parsed.is_ok());
        assert!(
            told.len() == 1 && told[0].starts_with(expected),
            "{text}: {told:?}"
        );
    }
    // At least one line of the ACL can match, so nothing is reported.
    let (_, told) = condition(&["a path /x", "a src 10.0.0.1"], "if a", response);
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn names_that_are_nearly_right_are_suggested() {
    let error = sample::expression("req.hrd(host)", Usage::FRONT_HTTP_REQUEST).unwrap_err();
    assert_eq!(error.help.as_deref(), Some("did you mean 'req.hdr'?"));
    let error = sample::expression("path,lowr", Usage::FRONT_HTTP_REQUEST).unwrap_err();
    assert_eq!(error.help.as_deref(), Some("did you mean 'lower'?"));
    let (parsed, _) = condition(
        &["is_static path_beg /s"],
        "if !is_statik",
        Usage::FRONT_HTTP_REQUEST,
    );
    assert_eq!(
        parsed
            .unwrap_err()
            .fix
            .clone()
            .map(|fix| fix.replacement)
            .as_deref(),
        Some("!is_static")
    );
}

/// Temporary file in its own directory, removed on drop.
struct TemporaryFile(std::path::PathBuf);

impl TemporaryFile {
    fn new(name: &str, text: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("evenkeel-rules-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        TemporaryFile(path)
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn maps_find_what_haproxys_find() {
    let stream = sample::request(REQUEST);
    let text = TemporaryFile::new("text.map", "# comment\na A\na/b AB value\n");
    let nets = TemporaryFile::new("nets.map", "198.51.100.0/24 big\n198.51.100.7 one\n");
    let numbers = TemporaryFile::new("numbers.map", "1:9 few\nlt never\n");
    let wrong = TemporaryFile::new("wrong.map", "a 1\nb x\n");
    let empty = TemporaryFile::new("empty.map", "a\n");
    for (expression, expected) in [
        (
            format!("str(a/b/c),map_beg({},def)", text.name()),
            "AB value",
        ),
        (format!("str(x),map_beg({},def)", text.name()), "def"),
        (format!("str(a),map({})", text.name()), "A"),
        (format!("str(x),map({})", text.name()), ""),
        (format!("src,map_ip({},no)", nets.name()), "one"),
        (
            format!(
                "str(x),map_str_int({},7)",
                numbers.name().replace("numbers", "wrong_not_there")
            ),
            "E0111",
        ),
        (format!("int(5),map_int({})", numbers.name()), "E0410"),
        (format!("str(a),map_str_int({},7)", wrong.name()), "E0417"),
        (format!("str(a),map({},def)", empty.name()), ""),
        (format!("str(b),map({},def)", empty.name()), "def"),
        (format!("str(a),map_str_int({})", empty.name()), "0"),
        (format!("str(a),map_ip({})", empty.name()), "E0410"),
        (format!("str(a),map_str_ip({})", empty.name()), "E0417"),
        (format!("str(a),map_str_int({},x)", numbers.name()), "E0417"),
    ] {
        match sample::expression(&expression, Usage::FRONT_HTTP_REQUEST) {
            Ok(parsed) => {
                let found = parsed
                    .evaluate(&stream)
                    .map(|v| String::from_utf8_lossy(&v.into_text()).into_owned());
                assert_eq!(found.unwrap_or_default(), expected, "{expression}");
            }
            Err(error) => assert_eq!(error.code.id, expected, "{expression}: {}", error.message),
        }
    }
}

#[test]
fn patterns_come_from_files_too() {
    let stream = sample::request(REQUEST);
    let list = TemporaryFile::new("list", "# none\n/x\n\n  /a/b\n");
    let nets = TemporaryFile::new("nets", "10.0.0.0/8\n198.51.100.0/24\n");
    let map = TemporaryFile::new("map", "/a/b value\n");
    let wrong = TemporaryFile::new("wrong", "10.0.0.0/8\nnonsense!\n");
    assert_eq!(
        test(&format!("path -f {}", list.name()), &stream),
        Some(true)
    );
    assert_eq!(
        test(&format!("path -f {} /y", list.name()), &stream),
        Some(true)
    );
    assert_eq!(
        test(&format!("path -M -f {}", map.name()), &stream),
        Some(true)
    );
    assert_eq!(
        test(&format!("src -n -f {}", nets.name()), &stream),
        Some(true)
    );
    let (parsed, _) = condition(
        &[],
        &format!("if {{ src -f {} }}", wrong.name()),
        Usage::FRONT_HTTP_REQUEST,
    );
    assert_eq!(parsed.map(|_| ()).unwrap_err().code.id, "E0410");
}
