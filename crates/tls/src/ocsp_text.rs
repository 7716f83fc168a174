//! Describes OCSP responses as text in OpenSSL's format for operators. Fields that do not concern
//! the certificate (nonces, the responder's own certificate) are left out.

use super::der::{
    BIT_STRING, Der, Element, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, SEQUENCE,
};
use super::describe::{self, hex};
use super::ocsp::{OcspStatus, Response};
use std::fmt::Write;

const SET: u8 = 0x31;
/// Second context-specific tag of a constructed element.
const CONTEXT_1: u8 = 0xa1;
const CONTEXT_2: u8 = 0xa2;
const SHA1: &[u8] = b"\x2b\x0e\x03\x02\x1a";
const SIGNATURE_COLUMNS: usize = 18;

fn inside<'a>(der: &mut Der<'a>, tag: u8) -> Option<Der<'a>> {
    der.take(tag).as_ref().map(Element::inside)
}

/// Returns the fields of a CertID: algorithm, both hashes, and the serial number.
fn fields(id: &[u8]) -> Option<[&[u8]; 4]> {
    let mut fields = inside(&mut Der(id), SEQUENCE)?;
    let algorithm = inside(&mut fields, SEQUENCE)?.take(OID)?.content;
    let name = fields.take(OCTET_STRING)?.content;
    let key = fields.take(OCTET_STRING)?.content;
    Some([algorithm, name, key, fields.take(INTEGER)?.content])
}

pub fn identifier(id: &[u8], out: &mut String) {
    if let Some([_, name, key, serial]) = fields(id) {
        let _ = writeln!(out, " Certificate ID:");
        let _ = writeln!(out, "   Issuer Name Hash: {}", hex(name, true));
        let _ = writeln!(out, "   Issuer Key Hash: {}", hex(key, true));
        let _ = writeln!(out, "   Serial Number: {}", describe::serial(serial));
    }
}

/// The envelope of a response: responder, time and signature.
struct Around<'a> {
    responder: String,
    produced_s: i64,
    algorithm: &'a [u8],
    signature: &'a [u8],
}

fn around(der: &[u8]) -> Option<Around<'_>> {
    let mut outer = inside(&mut Der(der), SEQUENCE)?;
    // Skips the status, which is successful.
    outer.next()?;
    let mut bytes = outer.next()?.inside();
    let mut bytes = inside(&mut bytes, SEQUENCE)?;
    bytes.take(OID)?;
    let mut basic = inside(&mut Der(bytes.take(OCTET_STRING)?.content), SEQUENCE)?;
    let mut data = inside(&mut basic, SEQUENCE)?;
    let algorithm = basic.take(SEQUENCE)?.content;
    let signature = basic.take(BIT_STRING)?.bits()?;
    data.take(0xa0);
    let responder = match data.next()? {
        by if by.tag == CONTEXT_1 => name(by.inside().take(SEQUENCE)?.content),
        by if by.tag == CONTEXT_2 => hex(by.inside().take(OCTET_STRING)?.content, true),
        _ => return None,
    };
    let produced_s = data.take(GENERALIZED_TIME)?.time_s()?;
    Some(Around {
        responder,
        produced_s,
        algorithm,
        signature,
    })
}

/// Formats a distinguished name as in OCSP output: `C = FR, CN = example`.
fn name(content: &[u8]) -> String {
    let mut parts = Vec::new();
    let mut relative = Der(content);
    while let Some(set) = relative.take(SET) {
        let one = describe::name(set.whole);
        let one = one.strip_prefix('/').unwrap_or(&one);
        parts.push(match one.split_once('=') {
            Some((kind, value)) => format!("{kind} = {value}"),
            None => one.to_owned(),
        });
    }
    parts.join(", ")
}

pub fn response(response: &Response) -> String {
    let mut out = String::from(
        "OCSP Response Data:\n    OCSP Response Status: successful (0x0)\n    Response Type: Basic OCSP Response\n    Version: 1 (0x0)\n",
    );
    let around = around(&response.der);
    if let Some(around) = &around {
        let _ = writeln!(out, "    Responder Id: {}", around.responder);
        let _ = writeln!(
            out,
            "    Produced At: {}",
            describe::time(around.produced_s)
        );
    }
    let _ = writeln!(out, "    Responses:");
    if let Some([algorithm, name, key, serial]) = fields(&response.id) {
        let algorithm = match algorithm {
            SHA1 => "sha1",
            _ => "sha256",
        };
        let _ = writeln!(out, "    Certificate ID:");
        let _ = writeln!(out, "      Hash Algorithm: {algorithm}");
        let _ = writeln!(out, "      Issuer Name Hash: {}", hex(name, true));
        let _ = writeln!(out, "      Issuer Key Hash: {}", hex(key, true));
        let _ = writeln!(out, "      Serial Number: {}", describe::serial(serial));
    }
    let status = match response.status {
        OcspStatus::Good => "good",
        OcspStatus::Revoked => "revoked",
    };
    let _ = writeln!(out, "    Cert Status: {status}");
    let this = describe::time(response.this_update_s);
    let next = describe::time(response.next_update_s);
    let _ = writeln!(out, "    This Update: {this}\n    Next Update: {next}\n ");
    if let Some(around) = &around {
        let algorithm = describe::signature(around.algorithm);
        let _ = writeln!(out, "    Signature Algorithm: {algorithm}");
        let _ = writeln!(out, "    Signature Value:");
        let rows = around.signature.chunks(SIGNATURE_COLUMNS);
        let rows: Vec<String> = rows
            .map(|row| {
                let bytes: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("        {}", bytes.join(":"))
            })
            .collect();
        let _ = writeln!(out, "{}", rows.join(":\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certified::tests::certified;
    use crate::testing::{FAR, answer};
    use lab::pki::{Authority, Leaf};

    #[test]
    fn ocsp_response_is_printed_field_by_field() {
        let authority = Authority::new("CA").unwrap();
        let issued = authority
            .issue(&Leaf {
                names: &["a.com"],
                ..Leaf::default()
            })
            .unwrap();
        let mut parts = certified(&issued).parts();
        let issuer = authority.certificate_pem().as_bytes();
        parts.take_issuer(issuer).unwrap();
        let id = parts.clone().certify().unwrap().0.ocsp_id.unwrap();
        parts.ocsp = Some(answer(&id, 0, Some(FAR)));
        let whole = parts.certify().unwrap().0;
        let text = response(whole.ocsp().unwrap());
        for line in [
            "    OCSP Response Status: successful (0x0)",
            "    Certificate ID:",
            "      Hash Algorithm: sha1",
            "    Cert Status: good",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
        // An empty line would end the response of the socket too early.
        assert!(text.lines().all(|line| !line.is_empty()), "{text}");
    }

    #[test]
    fn the_responder_is_named_as_openssl_does() {
        let set = |oid: &[u8], value: &[u8]| {
            let mut pair = vec![0x06, oid.len() as u8];
            pair.extend(oid);
            pair.extend([0x0c, value.len() as u8]);
            pair.extend(value);
            let mut whole = vec![0x31, pair.len() as u8 + 2, 0x30, pair.len() as u8];
            whole.extend(pair);
            whole
        };
        let content = [set(&[0x55, 4, 6], b"FR"), set(&[0x55, 4, 3], b"a")].concat();
        assert_eq!(name(&content), "C = FR, CN = a");
    }
}
