//! Compares with HAProxy the converters for JSON and JSON web tokens.

use super::{Family, Sample, sample};

pub static FAMILY: Family = Family {
    files: &[("rsa.pem", RSA), ("ec.pem", EC)],
    samples: SAMPLES,
    refused: &[
        "http-request deny if { str(a),json_query(a) a }",
        "http-request deny if { str(a),json_query($.a,float) a }",
        "http-request deny if { str(a),jwt_verify(XX256,a) 1 }",
    ],
    ..Family::named("json")
};

const RSA: &str = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA5wjxmgY2aDehiCO+2NJb\n156oHoU+SkvuCJDKzf+wVfgh4X2jUPbqKIJGfZzatNQ66ySQnFWnm15pYn67WYdH\nDutut8A6k9oAiXA6PchGWDrn6PZOm1x2kRNG8wR/C7oIT4i+koh3Sdj2T5+VWr1c\ngYjd0WcnyHA6t72ybrxes9pNfMiIpavS63PsSF/88CuU8PAi1fr1IjcPOtqtFwo+\nFShPQu+mWGby0llsNCZrbPcNq1tqt5roT4b9csXd6MAX8fIBmKabf8cCFgbUNyWS\nxPTY/nWGlLIMy52QAGOP9trAjxG+RSztmKCNOnAeVU54UHHo/f3qgpQfhkKmWEFB\nAwIDAQAB\n-----END PUBLIC KEY-----\n";
const EC: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8Nh7eWedJ7IA5J8eClIl/FKQJoup\nnH6mj4z+5TMd93DaHLBgoKODjsahj+fMeklvOVzYGOke8FdP8OC+eSriLw==\n-----END PUBLIC KEY-----\n";

/// Returns a sample whose request has a header with JSON.
const fn of(expression: &'static str) -> Sample {
    sample(expression).asked(concat!(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Json: ",
        "{\"a\":{\"b\":[1,{\"c.d\":\"x\\n\\u00e4\"},-2.5]},\"t\":true,\"f\":false,\"n\":null,\"s\":\"12\",\"i\":42,\"e\":\"\",\"k\":[1, 2],\"o\":{\"p\":1},\"big\":12345678901234567890,\"fl\":1.50,\"ex\":1e3}",
        "\r\n"
    ))
}

/// Returns a sample whose request has headers with JSON web tokens of each kind.
const fn token(expression: &'static str) -> Sample {
    sample(expression).asked(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Hs: eyJhbGciOiAiSFMyNTYiLCAidHlwIjogIkpXVCJ9.eyJpc3MiOiAibWUiLCAiZXhwIjogMTcwMDAwMDAwMCwgIm9rIjogdHJ1ZSwgInBpIjogMy41LCAibGlzdCI6IFsxLCAiYiJdLCAibyI6IHsiYS5iIjogImMifX0.MxFV68RlS5wL1Du9xBAHgEI1cUUL-OX4-tpZF9dXdN0\r\nX-Hs5: eyJhbGciOiAiSFM1MTIiLCAidHlwIjogIkpXVCJ9.eyJpc3MiOiAibWUiLCAiZXhwIjogMTcwMDAwMDAwMCwgIm9rIjogdHJ1ZSwgInBpIjogMy41LCAibGlzdCI6IFsxLCAiYiJdLCAibyI6IHsiYS5iIjogImMifX0.zRVInqopPYXCqhQhstzBWCEYs8NKjM2hgvCzeDtN7RFq6Vbf9-f0vUDDQviLBjyvWkmOYPowXwIFD49Y6dcLzQ\r\nX-Rs: eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCJ9.eyJhIjogMX0.yzxJhpaW5SnjwPl24eOisZQQ4T6apNeRXegCfFa4ZNC0LkR1LW3qNmyvRSV6uDflF-55d7NzafQS4VRG1uFnfagb9jOBwo0djA5uNPpsk1kqqzNKa5uc-3t4d6xfsrkyCjnv2QPcvj6iB1fJ6b4NPXG3bqqL5JSaaQkys4lU_ubGXFhthfA2JqnBgT_nne56HrgV4vYxF6oGaZzq03PoaO1kVqyrcyH9R94ivSUCdYc5kbzTcXjkS1KziMCApIHDZD0ql_ibM_heWE7xwEGLDeMKUgvIXTNBb0IuqhByGRo7glOZHNjgmXLGa9Wfzw2x5JWCVIo3abLq4qeouUneNA\r\nX-Es: eyJhbGciOiAiRVMyNTYiLCAidHlwIjogIkpXVCJ9.eyJhIjogMX0.4fASxUZWCoe0nSjsvAwogQDA8q88KUIAXnn48wDz06uhLXr4ahsIJ9znqZg-RUQYKVw4D6EoHVm3iwC-H-DGFQ\r\nX-None: eyJhbGciOiAibm9uZSIsICJ0eXAiOiAiSldUIn0.eyJhIjogMX0.\r\n\
         X-Short: a.b\r\nX-Bad: a.b.c\r\nX-Long: a.b.c.d\r\n"
    )
}

static SAMPLES: &[Sample] = &[
    of("req.fhdr(x-json),json_query($.i)"),
    of("req.fhdr(x-json),json_query($.i,int)"),
    of("req.fhdr(x-json),json_query($.s)"),
    of("req.fhdr(x-json),json_query($.s,int)"),
    of("req.fhdr(x-json),json_query($.t)"),
    of("req.fhdr(x-json),json_query($.f)"),
    of("req.fhdr(x-json),json_query($.n)"),
    of("req.fhdr(x-json),json_query($.e)"),
    of("req.fhdr(x-json),json_query($.k)").newer("[1, 2]"),
    of("req.fhdr(x-json),json_query($.k[1])"),
    of("req.fhdr(x-json),json_query($.k[2])"),
    of("req.fhdr(x-json),json_query($.o)"),
    of("req.fhdr(x-json),json_query($.o.p)"),
    of("req.fhdr(x-json),json_query($.big)").differs("json-query-numbers"),
    of("req.fhdr(x-json),json_query($.big,int)"),
    of("req.fhdr(x-json),json_query($.fl)").differs("json-query-numbers"),
    of("req.fhdr(x-json),json_query($.fl,int)"),
    of("req.fhdr(x-json),json_query($.ex)").differs("json-query-numbers"),
    of("req.fhdr(x-json),json_query($.a.b[0])"),
    of("req.fhdr(x-json),json_query($.a.b[1].c\\\\.d)").differs("json-query-unicode"),
    of("req.fhdr(x-json),json_query($.a.b[2])"),
    of("req.fhdr(x-json),json_query($.none)"),
    of("req.fhdr(x-json),json_query($.a.none)"),
    of("req.fhdr(x-json),json_query($)"),
    of("req.fhdr(x-json),json_query($.t,int)"),
    of("req.fhdr(x-json),json_query($.k,int)"),
    of("req.fhdr(x-json),json_query($.a)"),
    sample("str(),json_query($.a)"),
    sample("str(nonsense),json_query($.a)"),
    token("req.hdr(x-hs),jwt_verify(HS256,secret)"),
    token("req.hdr(x-hs),jwt_verify(HS256,wrong)"),
    token("req.hdr(x-hs),jwt_verify(HS512,secret)"),
    token("req.hdr(x-hs5),jwt_verify(HS512,secret)"),
    token("req.hdr(x-hs),jwt_verify(HS384,secret)"),
    token("req.hdr(x-rs),jwt_verify(RS256,@DIR@/rsa.pem)"),
    token("req.hdr(x-rs),jwt_verify(RS384,@DIR@/rsa.pem)"),
    token("req.hdr(x-rs),jwt_verify(RS256,@DIR@/ec.pem)"),
    token("req.hdr(x-es),jwt_verify(ES256,@DIR@/ec.pem)"),
    token("req.hdr(x-es),jwt_verify(ES256,@DIR@/rsa.pem)"),
    token("req.hdr(x-hs),jwt_verify(RS256,@DIR@/rsa.pem)"),
    token("req.hdr(x-none),jwt_verify(none,\"\")"),
    token("req.hdr(x-hs),jwt_verify(none,x)"),
    token("req.hdr(x-short),jwt_verify(HS256,secret)"),
    token("req.hdr(x-bad),jwt_verify(HS256,secret)"),
    token("req.hdr(x-long),jwt_verify(HS256,secret)"),
    token("req.hdr(x-rs),jwt_verify(PS256,@DIR@/rsa.pem)").newer("0"),
    token("req.hdr(x-hs),jwt_header_query").differs("jwt-query-whole"),
    token("req.hdr(x-hs),jwt_payload_query").differs("jwt-query-whole"),
    token("req.hdr(x-hs),jwt_header_query($.alg)"),
    token("req.hdr(x-hs),jwt_payload_query($.iss)"),
    token("req.hdr(x-hs),jwt_payload_query($.exp,int),add(1)"),
    token("req.hdr(x-hs),jwt_payload_query($.ok)"),
    token("req.hdr(x-hs),jwt_payload_query($.list)").newer("[1, \"b\"]"),
    token("req.hdr(x-bad),jwt_payload_query($.list)"),
    token("req.hdr(x-bad),jwt_payload_query"),
    token("req.hdr(x-short),jwt_payload_query"),
    token("req.hdr(x-short),jwt_header_query"),
    token("req.hdr(x-long),jwt_header_query"),
    token("req.hdr(x-hs),jwt_header_query($.alg),set-var(txn.alg),jwt_verify(txn.alg,secret)"),
];

#[test]
fn json_and_tokens() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
