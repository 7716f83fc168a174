//! Compares with HAProxy the fetches about TLS: of connections that end here, with `openssl
//! s_client` as the client, and of forwarded ones, with recorded ClientHellos.

use super::{Case, Family, Normal, case};

pub static FAMILY: Family = Family {
    global: "tune.ssl.capture-buffer-size 256\n tune.ssl.keylog on\n ssl-default-bind-options ssl-min-ver TLSv1.2",
    certificates: true,
    cases: CASES,
    refused: &[
        "http-request deny if { ssl_fc_cipherlist_bin(x) -m found }",
        "http-request deny if { ssl_c_s_dn(CN,x) -m found }",
        "http-request deny if { ssl_c_s_dn(CN,1,rfc1) -m found }",
    ],
    ..Family::named("tls")
};

/// A hello of OpenSSL 3 for `shop.example.com`, with ALPN.
const HELLO: &[u8] = b"\x16\x03\x01\x01\x4f\x01\x00\x01\x4b\x03\x03\xb6\xd9\xb0\x83\x7d\x04\xbe\x1c\x6b\xf2\xef\xeb\xd1\
    \xe5\x4a\xdd\x6b\x3d\xe4\xdb\x5c\xfe\xd4\x1e\xd9\xfa\x85\x3d\xd3\x12\x02\xd6\x20\x4b\x35\x9f\x72\
    \x46\xee\x63\x0c\x93\xa3\x14\xa1\x35\x93\xa3\x97\x00\xbe\x66\x4f\x9c\x74\x59\xcd\x55\x4d\xd7\xbb\
    \xfb\x90\x24\xe7\x00\x3e\x13\x02\x13\x03\x13\x01\xc0\x2c\xc0\x30\x00\x9f\xcc\xa9\xcc\xa8\xcc\xaa\
    \xc0\x2b\xc0\x2f\x00\x9e\xc0\x24\xc0\x28\x00\x6b\xc0\x23\xc0\x27\x00\x67\xc0\x0a\xc0\x14\x00\x39\
    \xc0\x09\xc0\x13\x00\x33\x00\x9d\x00\x9c\x00\x3d\x00\x3c\x00\x35\x00\x2f\x00\xff\x01\x00\x00\xc4\
    \x00\x00\x00\x15\x00\x13\x00\x00\x10\x73\x68\x6f\x70\x2e\x65\x78\x61\x6d\x70\x6c\x65\x2e\x63\x6f\
    \x6d\x00\x0b\x00\x04\x03\x00\x01\x02\x00\x0a\x00\x16\x00\x14\x00\x1d\x00\x17\x00\x1e\x00\x19\x00\
    \x18\x01\x00\x01\x01\x01\x02\x01\x03\x01\x04\x00\x23\x00\x00\x00\x10\x00\x0e\x00\x0c\x02\x68\x32\
    \x08\x68\x74\x74\x70\x2f\x31\x2e\x31\x00\x16\x00\x00\x00\x17\x00\x00\x00\x0d\x00\x2a\x00\x28\x04\
    \x03\x05\x03\x06\x03\x08\x07\x08\x08\x08\x09\x08\x0a\x08\x0b\x08\x04\x08\x05\x08\x06\x04\x01\x05\
    \x01\x06\x01\x03\x03\x03\x01\x03\x02\x04\x02\x05\x02\x06\x02\x00\x2b\x00\x09\x08\x03\x04\x03\x03\
    \x03\x02\x03\x01\x00\x2d\x00\x02\x01\x01\x00\x33\x00\x26\x00\x24\x00\x1d\x00\x20\xc6\x0c\x8a\x12\
    \x1f\xd1\xbc\x08\x3f\x11\x0d\x70\x6e\x25\x52\x96\x0d\xb1\x5d\x5f\xff\x73\x03\xcb\xd3\x41\xa4\x49\
    \xc1\x3f\x8b\x14";
/// A ClientHello for TLS 1.2 only, without a name, a ticket or curves.
const OLD_HELLO: &[u8] = b"\x16\x03\x01\x00\x67\x01\x00\x00\x63\x03\x03\xf5\x69\x11\x0e\xc7\xa7\xea\xb3\x27\xf4\xca\x18\xfd\
    \x3e\x90\x22\x4b\x25\x9a\xf9\x4b\x5a\x25\xe1\x87\x40\xa0\xa4\x2b\xad\x80\xc0\x00\x00\x04\x00\x2f\
    \x00\xff\x01\x00\x00\x36\x00\x16\x00\x00\x00\x17\x00\x00\x00\x0d\x00\x2a\x00\x28\x04\x03\x05\x03\
    \x06\x03\x08\x07\x08\x08\x08\x09\x08\x0a\x08\x0b\x08\x04\x08\x05\x08\x06\x04\x01\x05\x01\x06\x01\
    \x03\x03\x03\x01\x03\x02\x04\x02\x05\x02\x06\x02";

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n";

/// The negotiated values, and the offer of the client.
const AGREED: &str = "http-request return status 200 content-type text/plain lf-string \
    [%[ssl_fc]][%[ssl_fc_protocol]][%[ssl_fc_cipher]][%[ssl_fc_alg_keysize]][%[ssl_fc_use_keysize]][%[ssl_fc_alpn]][%[ssl_fc_npn]]\
    [%[ssl_fc_sni]][%[ssl_fc_has_sni]][%[ssl_fc_has_crt]][%[ssl_fc_is_resumed]][%[ssl_fc_has_early]][%[ssl_fc_err]][%[ssl_fc_err_str]]\
    [%[fc_err]][%[fc_err_str]]\
    [%[ssl_fc_client_random,hex,length]][%[ssl_fc_server_random,hex,length]]\
    [%[ssl_fc_protocol_hello_id]][%[ssl_fc_cipherlist_bin,hex]][%[ssl_fc_cipherlist_bin(1),hex]][%[ssl_fc_cipherlist_hex]]\
    [%[ssl_fc_cipherlist_str]][%[ssl_fc_cipherlist_xxh]][%[ssl_fc_extlist_bin,hex]][%[ssl_fc_eclist_bin(1),hex]][%[ssl_fc_ecformats_bin,hex]]\n";

const COVERS_AGREED: &[&str] = &[
    "fetch ssl_fc",
    "fetch ssl_fc_protocol",
    "fetch ssl_fc_cipher",
    "fetch ssl_fc_alg_keysize",
    "fetch ssl_fc_use_keysize",
    "fetch ssl_fc_alpn",
    "fetch ssl_fc_npn",
    "fetch ssl_fc_sni",
    "fetch ssl_fc_has_sni",
    "fetch ssl_fc_has_crt",
    "fetch ssl_fc_is_resumed",
    "fetch ssl_fc_has_early",
    "fetch ssl_fc_err",
    "fetch ssl_fc_err_str",
    "fetch ssl_fc_client_random",
    "fetch ssl_fc_server_random",
    "fetch ssl_fc_protocol_hello_id",
    "fetch ssl_fc_cipherlist_bin",
    "fetch ssl_fc_cipherlist_hex",
    "fetch ssl_fc_cipherlist_str",
    "fetch ssl_fc_cipherlist_xxh",
    "fetch ssl_fc_extlist_bin",
    "fetch ssl_fc_eclist_bin",
    "fetch ssl_fc_ecformats_bin",
];

/// The contents of certificates, and the result of verifying the client's.
const CERTIFICATES: &str = "http-request return status 200 content-type text/plain lf-string \
    [%[ssl_c_used]][%[ssl_c_verify]][%[ssl_c_err]][%[ssl_c_ca_err]][%[ssl_c_ca_err_depth]][%[ssl_fc_has_crt]]\
    [%[ssl_c_version]][%[ssl_c_key_alg]][%[ssl_c_sig_alg]][%[ssl_c_notbefore]][%[ssl_c_notafter]][%[ssl_c_serial,hex]][%[ssl_c_sha1,hex]]\
    [%[ssl_c_der,hex]][%[ssl_c_chain_der,hex]][%[ssl_c_s_dn]][%[ssl_c_s_dn(CN)]][%[ssl_c_s_dn(O,-1)]][%[ssl_c_s_dn(,0,rfc2253)]][%[ssl_c_i_dn]]\
    [%[ssl_f_version]][%[ssl_f_key_alg]][%[ssl_f_sig_alg]][%[ssl_f_notbefore]][%[ssl_f_notafter]][%[ssl_f_serial,hex]][%[ssl_f_sha1,hex]]\
    [%[ssl_f_der,hex]][%[ssl_f_s_dn]][%[ssl_f_i_dn]][%[ssl_f_i_dn(CN)]]\n";

const COVERS_CERTIFICATES: &[&str] = &[
    "fetch ssl_c_used",
    "fetch ssl_c_verify",
    "fetch ssl_c_err",
    "fetch ssl_c_ca_err",
    "fetch ssl_c_ca_err_depth",
    "fetch ssl_c_version",
    "fetch ssl_c_key_alg",
    "fetch ssl_c_sig_alg",
    "fetch ssl_c_notbefore",
    "fetch ssl_c_notafter",
    "fetch ssl_c_serial",
    "fetch ssl_c_sha1",
    "fetch ssl_c_der",
    "fetch ssl_c_chain_der",
    "fetch ssl_c_s_dn",
    "fetch ssl_c_i_dn",
    "fetch ssl_f_version",
    "fetch ssl_f_key_alg",
    "fetch ssl_f_sig_alg",
    "fetch ssl_f_notbefore",
    "fetch ssl_f_notafter",
    "fetch ssl_f_serial",
    "fetch ssl_f_sha1",
    "fetch ssl_f_der",
    "fetch ssl_f_s_dn",
    "fetch ssl_f_i_dn",
];

/// Rules that write the fields of a ClientHello into the unique ID of the PROXY header, which the
/// server sends back.
const HELLO_RULES: &str = "mode tcp\n tcp-request inspect-delay 5s\n\
    tcp-request content set-var(sess.a) req.ssl_sni if WAIT_END\n\
    tcp-request content set-var(sess.b) req.ssl_alpn if WAIT_END\n\
    tcp-request content set-var(sess.c) req.ssl_ver if WAIT_END\n\
    tcp-request content set-var(sess.d) req.ssl_hello_type if WAIT_END\n\
    tcp-request content set-var(sess.e) req.ssl_ec_ext if WAIT_END\n\
    tcp-request content set-var(sess.f) req.ssl_st_ext if WAIT_END\n\
    tcp-request content set-var(sess.h) req.payload_lv(43,1),hex if WAIT_END\n\
    tcp-request content set-var(sess.i) req.payload(0,3),hex if WAIT_END\n\
    tcp-request content set-var(sess.j) req_ssl_sni if WAIT_END\n\
    tcp-request content set-var(sess.k) req_ssl_ver if WAIT_END\n\
    tcp-request content set-var(sess.l) req_ssl_hello_type if WAIT_END\n\
    tcp-request content accept if WAIT_END\n\
    unique-id-format [%[var(sess.a)]][%[var(sess.b)]][%[var(sess.c)]][%[var(sess.d)]][%[var(sess.e)]][%[var(sess.f)]]\
    [%[var(sess.h),length]][%[var(sess.i)]][%[var(sess.j),length]][%[var(sess.k)]][%[var(sess.l)]]\n default_backend @CASE@\n";
const ECHO: &str =
    "backend @CASE@\n mode tcp\n server s @ECHO@ send-proxy-v2 proxy-v2-options unique-id";

/// Rules about a ClientHello in a response: the server sends the client's bytes back.
const ANSWER: &str = "backend @CASE@\n mode tcp\n tcp-response inspect-delay 5s\n\
    tcp-response content accept if { res.ssl_hello_type 1 } { rep_ssl_hello_type 1 } { res.payload(0,1) -m bin 16 }\n\
    tcp-response content reject\n server s @ECHO@";

static CASES: &[Case] = &[
    case("agreed on in TLS 1.3")
        .covers(COVERS_AGREED)
        .bind("ssl crt @DIR@/site.pem alpn h2,http/1.1")
        .lines(AGREED)
        .tls(&["-servername", "site.test", "-alpn", "http/1.1", "-ciphersuites", "TLS_AES_128_GCM_SHA256"])
        .send(&[REQUEST])
        .normal(&[Normal::HeaderOrder]),
    case("agreed on in TLS 1.2 without a name")
        .bind("ssl crt @DIR@/site.pem")
        .lines(AGREED)
        .tls(&["-noservername", "-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"])
        .send(&[REQUEST])
        .normal(&[Normal::HeaderOrder]),
    case("a session's id in TLS 1.3")
        .covers(&["fetch ssl_fc_session_id"])
        .bind("ssl crt @DIR@/site.pem")
        .lines("http-request return status 200 content-type text/plain lf-string [%[ssl_fc_session_id,hex,length]]\n")
        .tls(&["-servername", "site.test", "-tls1_3"])
        .send(&[REQUEST])
        .normal(&[Normal::HeaderOrder]),
    case("keys of TLS 1.3")
        .covers(&[
            "fetch ssl_fc_client_handshake_traffic_secret", "fetch ssl_fc_server_handshake_traffic_secret", "fetch ssl_fc_client_traffic_secret_0", "fetch ssl_fc_server_traffic_secret_0", "fetch ssl_fc_exporter_secret", "fetch ssl_fc_early_exporter_secret", "fetch ssl_fc_client_early_traffic_secret"
        ])
        .bind("ssl crt @DIR@/site.pem")
        .lines(
            "http-request return status 200 content-type text/plain lf-string [%[ssl_fc_client_handshake_traffic_secret,length]][%[ssl_fc_server_handshake_traffic_secret,length]][%[ssl_fc_client_traffic_secret_0,length]][%[ssl_fc_server_traffic_secret_0,length]][%[ssl_fc_exporter_secret,length]][%[ssl_fc_early_exporter_secret,length]][%[ssl_fc_client_early_traffic_secret,length]]\n",
        )
        .tls(&["-servername", "site.test", "-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"])
        .send(&[REQUEST])
        .normal(&[Normal::HeaderOrder]),
    case("keys of TLS 1.2")
        .covers(&["fetch ssl_fc_session_key"])
        .bind("ssl crt @DIR@/site.pem")
        .lines("http-request return status 200 content-type text/plain lf-string [%[ssl_fc_session_key,hex,length]]\n")
        .tls(&["-servername", "site.test", "-tls1_2"])
        .send(&[REQUEST])
        .normal(&[Normal::HeaderOrder]),
    case("without TLS")
        .lines(AGREED)
        .send(&[REQUEST])
        .normal(&[Normal::HeaderOrder]),
    case("a certificate of the client")
        .covers(COVERS_CERTIFICATES)
        .bind("ssl crt @DIR@/site.pem ca-file @DIR@/ca.pem verify optional")
        .lines(CERTIFICATES)
        .tls(&["-servername", "site.test", "-cert", "@DIR@/client.pem", "-key", "@DIR@/client.pem"])
        .send(&[REQUEST])
        .normal(&[Normal::HeaderOrder]),
    case("no certificate of the client")
        .bind("ssl crt @DIR@/site.pem ca-file @DIR@/ca.pem verify optional")
        .lines(CERTIFICATES)
        .tls(&["-servername", "site.test"])
        .send(&[REQUEST])
        .normal(&[Normal::HeaderOrder]),
    case("a certificate of nobody that is known")
        .bind("ssl crt @DIR@/site.pem ca-file @DIR@/other.pem verify optional crt-ignore-err all ca-ignore-err all")
        .lines(CERTIFICATES)
        .tls(&["-servername", "site.test", "-cert", "@DIR@/client.pem", "-key", "@DIR@/client.pem"])
        .send(&[REQUEST])
        .normal(&[Normal::HeaderOrder]),
    case("a server's side")
        .covers(&[
            "fetch ssl_bc", "fetch ssl_bc_protocol", "fetch ssl_bc_alg_keysize", "fetch ssl_bc_use_keysize", "fetch ssl_bc_alpn",
            "fetch ssl_bc_npn", "fetch ssl_bc_is_resumed", "fetch ssl_bc_err", "fetch ssl_bc_err_str", "fetch ssl_bc_cipher",
            "fetch ssl_bc_client_random", "fetch ssl_bc_server_random",
            "fetch ssl_s_version", "fetch ssl_s_key_alg", "fetch ssl_s_sig_alg", "fetch ssl_s_notbefore", "fetch ssl_s_notafter",
            "fetch ssl_s_serial", "fetch ssl_s_sha1", "fetch ssl_s_der", "fetch ssl_s_chain_der", "fetch ssl_s_s_dn", "fetch ssl_s_i_dn",
        ])
        .lines(
            "default_backend @CASE@\n\
             http-after-response set-header x-agreed [%[ssl_bc]][%[ssl_bc_protocol]][%[ssl_bc_cipher]][%[ssl_bc_alg_keysize]][%[ssl_bc_use_keysize]]\
             [%[ssl_bc_alpn]][%[ssl_bc_npn]][%[ssl_bc_is_resumed]][%[ssl_bc_err]][%[ssl_bc_err_str]]\
             [%[ssl_bc_client_random,hex,length]][%[ssl_bc_server_random,hex,length]]\n\
             http-after-response set-header x-shown [%[ssl_s_version]][%[ssl_s_key_alg]][%[ssl_s_sig_alg]][%[ssl_s_notbefore]][%[ssl_s_notafter]]\
             [%[ssl_s_serial,hex]][%[ssl_s_sha1,hex]][%[ssl_s_der,hex]][%[ssl_s_chain_der,hex]][%[ssl_s_s_dn]][%[ssl_s_i_dn(CN)]]\n",
        )
        .sections(
            "backend @CASE@\n server s unix@@DIR@/inner ssl verify none alpn http/1.1 ciphersuites TLS_AES_128_GCM_SHA256 \
             ssl-min-ver TLSv1.3\nfrontend @CASE@-inner\n bind unix@@DIR@/inner ssl crt @DIR@/site.pem alpn http/1.1\n http-request return status 200",
        )
        .send(&[REQUEST])
        .normal(&[Normal::HeaderOrder]),
    case("what haproxy of later versions knows of both sides")
        .covers(&[
            "fetch ssl_fc_curve", "fetch ssl_fc_early_rcvd", "fetch ssl_fc_supported_versions_bin", "fetch ssl_fc_sigalgs_bin",
            "fetch ssl_bc_curve", "fetch ssl_bc_sni", "fetch ssl_bc_session_id", "fetch ssl_bc_session_key",
            "fetch ssl_bc_client_early_traffic_secret", "fetch ssl_bc_client_handshake_traffic_secret", "fetch ssl_bc_server_handshake_traffic_secret", "fetch ssl_bc_client_traffic_secret_0", "fetch ssl_bc_server_traffic_secret_0", "fetch ssl_bc_exporter_secret", "fetch ssl_bc_early_exporter_secret"
        ])
        .bind("ssl crt @DIR@/site.pem")
        .lines(
            "default_backend @CASE@\n\
             http-after-response set-header x-a [%[ssl_fc_curve]][%[ssl_fc_early_rcvd]][%[ssl_fc_supported_versions_bin(1),hex]][%[ssl_fc_sigalgs_bin,hex,bytes(0,8)]]\n\
             http-after-response set-header x-b [%[ssl_bc_curve]][%[ssl_bc_sni]][%[ssl_bc_session_id,hex,length]][%[ssl_bc_session_key,hex,length]]\n\
             http-after-response set-header x-c [%[ssl_bc_client_early_traffic_secret,length]][%[ssl_bc_client_handshake_traffic_secret,length]][%[ssl_bc_server_handshake_traffic_secret,length]][%[ssl_bc_client_traffic_secret_0,length]][%[ssl_bc_server_traffic_secret_0,length]][%[ssl_bc_exporter_secret,length]][%[ssl_bc_early_exporter_secret,length]]\n",
        )
        .sections(
            "backend @CASE@\n server s unix@@DIR@/newer ssl verify none sni str(site.test) ssl-min-ver TLSv1.3 curves X25519\n\
             frontend @CASE@-inner\n bind unix@@DIR@/newer ssl crt @DIR@/site.pem\n http-request return status 200",
        )
        .tls(&["-servername", "site.test", "-tls1_3", "-groups", "P-256"])
        .send(&[REQUEST])
        .normal(&[Normal::HeaderOrder])
        .newer(
            "<client>HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\nx-a: [secp256r1][0][0304][04030503]\r\n\
             x-b: [x25519][site.test][64][]\r\nx-c: [][96][96][96][96][96][]\r\n\r\n",
        ),
    case("a hello that passes")
        .covers(&[
            "fetch req.ssl_sni", "fetch req.ssl_alpn", "fetch req.ssl_ver", "fetch req.ssl_hello_type", "fetch req.ssl_ec_ext",
            "fetch req.ssl_st_ext", "fetch req_ssl_sni", "fetch req_ssl_ver", "fetch req_ssl_hello_type",
        ])
        .lines(HELLO_RULES)
        .sections(ECHO)
        .send(&[HELLO, OLD_HELLO])
        .half_close()
        .normal(&[Normal::ProxyPorts]),
    case("lists of a hello")
        .covers(&[
            "fetch req.ssl_cipherlist",
            "fetch req.ssl_sigalgs",
            "fetch req.ssl_supported_groups",
            "fetch req.ssl_keyshare_groups",
        ])
        .lines(
            "mode tcp\n tcp-request inspect-delay 5s\n\
             tcp-request content reject if { req.ssl_cipherlist,hex -m beg 13021303 } { req.ssl_sigalgs,hex -m beg 04030503 } \
             { req.ssl_supported_groups,hex 001D0017001E0019001801000101010201030104 } { req.ssl_keyshare_groups,hex 001D }\n\
             default_backend @CASE@\n",
        )
        .sections(ECHO)
        .send(&[HELLO])
        .half_close()
        .newer("<client>"),
    case("a hello in pieces")
        .lines(HELLO_RULES)
        .sections(ECHO)
        .send(&[HELLO, OLD_HELLO])
        .pieces(40)
        .half_close()
        .normal(&[Normal::ProxyPorts]),
    case("no hello")
        .lines(HELLO_RULES)
        .sections(ECHO)
        .send(&[
            b"GET / HTTP/1.0\r\n\r\n",
            b"\x15\x03\x01\x00\x02\x01\x00",
            b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
            b"\x16\x03\x01\x01",
        ])
        .half_close()
        .normal(&[Normal::ProxyPorts]),
    case("a hello for an answer")
        .covers(&["fetch res.ssl_hello_type", "fetch rep_ssl_hello_type", "fetch res.payload"])
        .lines("mode tcp\n default_backend @CASE@\n")
        .sections(ANSWER)
        .send(&[HELLO, b"\x15\x03\x01\x00\x02\x01\x00"])
        .half_close(),
];

#[test]
fn tls() {
    lab::skip_unless_installed!("haproxy");
    lab::skip_unless_installed!("openssl");
    super::run::compare(&FAMILY);
}
