//! Compares with HAProxy the converters for digests, message authentication codes and ciphers.

use super::{Family, Sample, sample};

pub static FAMILY: Family = Family {
    samples: SAMPLES,
    refused: &[
        "http-request deny if { str(a),sha2(100),hex a }",
        "http-request deny if { str(a),digest(none),hex a }",
        "http-request deny if { str(a),hmac(sha256,-),hex a }",
        "http-request deny if { str(a),aes_gcm_dec(100,YQ==,YQ==,YQ==),hex a }",
    ],
    ..Family::named("cryptography")
};

static SAMPLES: &[Sample] = &[
    sample("str(hello),sha1,hex"),
    sample("str(),sha1,hex"),
    sample("int(5),sha1,hex"),
    sample("src,sha1,hex"),
    sample("str(hello),sha2,hex"),
    sample("str(hello),sha2(224),hex"),
    sample("str(hello),sha2(256),base64"),
    sample("str(hello),sha2(384),hex"),
    sample("str(hello),sha2(512),hex"),
    sample("str(hello),digest(md5),hex"),
    sample("str(hello),digest(MD5),hex"),
    sample("str(hello),digest(sha1),hex"),
    sample("str(hello),digest(SHA256),hex"),
    sample("str(hello),digest(sha224),hex"),
    sample("str(hello),digest(sha384),hex"),
    sample("str(hello),digest(sha512),hex"),
    sample("str(hello),digest(sha512-256),hex"),
    sample("str(hello),digest(sha3-256),hex"),
    sample("str(hello),hmac(sha256,c2VjcmV0),hex"),
    sample("str(hello),hmac(sha1,c2VjcmV0),hex"),
    sample("str(hello),hmac(md5,c2VjcmV0),hex"),
    sample("str(hello),hmac(sha512,c2VjcmV0),hex"),
    sample("str(hello),hmac(sha384,txn.none),hex"),
    sample("str(c2VjcmV0),set-var(txn.hmac_key),hmac(sha256,txn.hmac_key),hex"),
    sample("str(),hmac(sha256,c2VjcmV0),hex"),
    // A text that openssl encrypted.
    sample("str(MTIzNDU2Nzg5MDEy),set-var(txn.nonce),aes_gcm_dec(128,txn.nonce,Zm9vb2Zvb29mb29wZm9vbw==,AAAAAAAAAAAAAAAAAAAAAA==),hex"),
    sample("bin(00),aes_gcm_dec(128,MTIzNDU2Nzg5MDEy,Zm9vb2Zvb29mb29wZm9vbw==,AAAAAAAAAAAAAAAAAAAAAA==),hex"),
    sample("bin(00),aes_gcm_dec(256,MTIzNDU2Nzg5MDEy,Zm9vb2Zvb29mb29wZm9vbw==,AAAAAAAAAAAAAAAAAAAAAA==),hex"),
    sample("bin(AE342E99844EF0C443FDFF),aes_gcm_dec(128,MTIzNDU2Nzg5MDEy,MDEyMzQ1Njc4OWFiY2RlZg==,ucLCCMQ6gJcwc3lHSk7ppg==)"),
    sample("str(hello),aes_gcm_enc(128,MTIzNDU2Nzg5MDEy,MDEyMzQ1Njc4OWFiY2RlZg==,txn.tag),aes_gcm_dec(128,MTIzNDU2Nzg5MDEy,MDEyMzQ1Njc4OWFiY2RlZg==,txn.tag)")
        .newer("hello"),
    sample("str(hello),aes_cbc_enc(128,MDEyMzQ1Njc4OWFiY2RlZg==,MDEyMzQ1Njc4OWFiY2RlZg==),hex")
        .newer("30E7CBB71CD9D18812E3EE5C3F294563"),
    sample("bin(30E7CBB71CD9D18812E3EE5C3F294563),aes_cbc_dec(128,MDEyMzQ1Njc4OWFiY2RlZg==,MDEyMzQ1Njc4OWFiY2RlZg==)")
        .newer("hello"),
];

#[test]
fn cryptography() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
