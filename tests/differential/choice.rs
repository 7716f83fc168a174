//! Compares with HAProxy the converters that select, compare and store.

use super::{Case, Family, Normal, Sample, case, sample};

pub static FAMILY: Family = Family {
    samples: SAMPLES,
    cases: CASES,
    refused: &[
        "http-request deny if { str(a),set-var(a) a }",
        "http-request deny if { str(a),set-var(txn.a,ifnothing) a }",
        "http-request deny if { str(a),secure_memcmp(a) }",
    ],
    ..Family::named("choice")
};

static SAMPLES: &[Sample] = &[
    sample("req.fhdr(accept-language),language(es;fr;en)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr\r\n"),
    sample("req.fhdr(accept-language),language(es;fr-BE;en,none)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr\r\n"),
    sample("req.fhdr(accept-language),language(es;fr;en)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr,en\r\n"),
    sample("req.fhdr(accept-language),language(es;fr-BE;en,none)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr,en\r\n"),
    sample("req.fhdr(accept-language),language(es;fr;en)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: en;q=0.5, fr;q=0.8\r\n"),
    sample("req.fhdr(accept-language),language(es;fr-BE;en,none)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: en;q=0.5, fr;q=0.8\r\n"),
    sample("req.fhdr(accept-language),language(es;fr;en)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr-BE\r\n"),
    sample("req.fhdr(accept-language),language(es;fr-BE;en,none)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr-BE\r\n"),
    sample("req.fhdr(accept-language),language(es;fr;en)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr-BE;q=0.9,en;q=1.0\r\n"),
    sample("req.fhdr(accept-language),language(es;fr-BE;en,none)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr-BE;q=0.9,en;q=1.0\r\n"),
    sample("req.fhdr(accept-language),language(es;fr;en)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: de\r\n"),
    sample("req.fhdr(accept-language),language(es;fr-BE;en,none)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: de\r\n"),
    sample("req.fhdr(accept-language),language(es;fr;en)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: de;q=1,*;q=0.1\r\n"),
    sample("req.fhdr(accept-language),language(es;fr-BE;en,none)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: de;q=1,*;q=0.1\r\n"),
    sample("req.fhdr(accept-language),language(es;fr;en)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr;q=0,en;q=0.1\r\n")
        .differs("language-zero"),
    sample("req.fhdr(accept-language),language(es;fr-BE;en,none)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr;q=0,en;q=0.1\r\n"),
    sample("req.fhdr(accept-language),language(es;fr;en)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: FR\r\n"),
    sample("req.fhdr(accept-language),language(es;fr-BE;en,none)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: FR\r\n"),
    sample("req.fhdr(accept-language),language(es;fr;en)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: es;q=0.3,fr;q=0.3\r\n"),
    sample("req.fhdr(accept-language),language(es;fr-BE;en,none)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: es;q=0.3,fr;q=0.3\r\n"),
    sample("req.fhdr(accept-language),language(es;fr;en)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: en-US,en;q=0.5\r\n"),
    sample("req.fhdr(accept-language),language(es;fr-BE;en,none)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: en-US,en;q=0.5\r\n"),
    sample("req.fhdr(accept-language),language(es;fr;en)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: en;q=x,fr;q=0.2\r\n"),
    sample("req.fhdr(accept-language),language(es;fr-BE;en,none)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: en;q=x,fr;q=0.2\r\n"),
    sample("req.fhdr(accept-language),language(es;fr;en)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr ; q=0.2 , es\r\n"),
    sample("req.fhdr(accept-language),language(es;fr-BE;en,none)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr ; q=0.2 , es\r\n"),
    sample("req.fhdr(accept-language),language(es;fr;en)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr;q=2\r\n"),
    sample("req.fhdr(accept-language),language(es;fr-BE;en,none)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr;q=2\r\n"),
    sample("req.fhdr(accept-language),language(es;fr;en)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr;level=1;q=0.5,es;q=0.4\r\n"),
    sample("req.fhdr(accept-language),language(es;fr-BE;en,none)")
        .asked("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: fr;level=1;q=0.5,es;q=0.4\r\n"),
    sample("str(a),secure_memcmp(txn.none)"),
    sample("var(txn.case),secure_memcmp(txn.case)"),
    sample("str(a),secure_memcmp(txn.case)"),
    sample("query,param(b)").newer("two"),
    sample("str(a=1&b&c=),param(b)").newer(""),
    sample("str(a=1;b=2),param(b,;)").newer("2"),
    sample("str(abc),reverse").newer("cba"),
    sample("str(www.example.org),reverse_dom").newer("org.example.www"),
    sample("bin(6101),has_ctl").newer("1"),
    sample("bin(0102),base2").newer("0000000100000010"),
    sample("bin(0102030405),le2dec(:,2)").newer("513:1027:5"),
    sample("str(hello),wt6"),
    sample("str(hello),wt6(1)"),
    sample("bin(ff80c3a4),wt6"),
    sample("str(),wt6"),
    sample("int(10),x509_v_err_str").newer("X509_V_ERR_CERT_HAS_EXPIRED"),
    sample("int(0),x509_v_err_str").newer("X509_V_OK"),
    sample("str(samples),nbsrv"),
    sample("str(none),nbsrv"),
    sample("str(samples/s1),srv_queue"),
    sample("str(s1),srv_queue"),
    sample("str(samples/none),srv_queue"),
    sample("str(samples/s1),srv_is_up").newer("1"),
    sample("str(samples),fe_exists").newer("1"),
    sample("str(none),fe_exists").newer("0"),
    sample("str(x),set-var(txn.a),concat(-,txn.a)"),
    sample("str(x),set-var(txn.b),unset-var(txn.b),concat(-,txn.b)"),
    sample("str(x),set-var(sess.a),concat(-,sess.a)"),
    sample("str(x),set-var(proc.a),concat(-,proc.a)"),
    sample("int(5),set-var(txn.n),add(txn.n)"),
    sample("str(x),set-var(txn.c,ifnotexists)"),
    sample("int(1700000000123),ms_utime(%Y-%m-%d\\ %H:%M:%S.%N)").newer("2023-11-14 22:13:20.123"),
    sample("int(1700000000123456),us_utime(%s.%6N)").newer("1700000000.123456"),
    sample("int(1700000000123),ms_ltime(%3N)").newer("123"),
    sample("int(1700000000123456),us_ltime(%3N)").newer("123"),
];

static CASES: &[Case] = &[
    case("what converters keep is there for the rules that follow")
        .covers(&[
            "converter set-var",
            "converter unset-var",
            "converter capture-req",
            "converter capture-res",
            "fetch capture.req.hdr",
            "fetch capture.res.hdr",
            "fetch var",
        ])
        .lines(
            "declare capture request len 4\n declare capture response len 3\n\
             http-request set-header x-one %[path,set-var(txn.one),capture-req(0)]\n\
             http-request set-header x-two %[var(txn.one),concat(-,txn.one)]\n\
             http-request set-header x-slot %[capture.req.hdr(0)]\n\
             http-request set-header x-none %[path,capture-req(7)]\n\
             http-request set-header x-three %[path,set-var(req.three),length]\n\
             http-request set-header x-four %[path,unset-var(txn.one),length]\n\
             http-request set-header x-five %[var(txn.one)]\n\
             http-request set-var(txn.n) int(3)\n\
             http-request set-header x-six %[int(2),set-var(txn.n,ifgt)]\n\
             http-request set-header x-seven %[var(txn.n)]\n\
             http-request set-header x-eight %[int(9),set-var(txn.n,ifgt,ifset)]%[var(txn.n)]\n\
             http-response set-header x-kept %[res.hdr(x-origin),capture-res(0)]\n\
             http-response set-header x-slot %[capture.res.hdr(0)]\n\
             http-response set-header x-req %[var(req.three)]\n\
             http-after-response set-header x-last %[str(a),set-var(res.a)]%[var(res.a)]\n\
             default_backend @CASE@\n",
        )
        .sections("backend @CASE@\n server s @SERVER@")
        .send(&[b"GET /path HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"])
        .normal(&[Normal::HeaderOrder]),
];

#[test]
fn choice() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
