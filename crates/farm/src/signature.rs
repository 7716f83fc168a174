//! Signs `.rdp` files: detached PKCS#7 (CMS, RFC 5652) without attributes, as `rdpsign.exe` creates
//! it. Encodes only the necessary subset of DER.

use rustls::SignatureScheme;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use std::sync::Arc;

/// Object identifier id-data, encoded (RFC 5652).
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// Object identifier rsaEncryption, encoded (RFC 5754).
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// Object identifier id-sha256, encoded (RFC 5754).
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// Object identifier id-sha384, encoded (RFC 5754).
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
/// Object identifier ecdsa-with-SHA256, encoded (RFC 5754).
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// Object identifier ecdsa-with-SHA384, encoded (RFC 5754).
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const NULL: u8 = 0x05;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTEXT_0: u8 = 0xa0;
/// Signature schemes, in order of preference: the first one that the key supports is used.
const SCHEMES: [SignatureScheme; 3] = [
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
];

/// A certificate with its issuers and its key.
pub struct Signer {
    chain: Vec<CertificateDer<'static>>,
    /// Issuer's name and serial number of the first certificate, encoded.
    is_of: Vec<u8>,
    key: Arc<dyn SigningKey>,
    scheme: SignatureScheme,
}

fn value(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let mut bytes = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length @ ..0x80) => bytes.push(length),
        _ => {
            let length = content.len().to_be_bytes();
            let zeros = length.iter().take_while(|byte| **byte == 0).count();
            let length = length.get(zeros..).unwrap_or_default();
            bytes.push(0x80 | length.len() as u8);
            bytes.extend_from_slice(length);
        }
    }
    bytes.extend_from_slice(&content);
    bytes
}

fn algorithm(oid: &[u8], has_null: bool) -> Vec<u8> {
    let null = if has_null {
        value(NULL, &[])
    } else {
        Vec::new()
    };
    value(SEQUENCE, &[&value(OID, &[oid]), &null])
}

impl Signer {
    /// Reads a certificate with its issuers and its key, PEM.
    ///
    /// # Errors
    /// Returns what is wrong with the certificate, as a message.
    pub fn read(pem: &[u8]) -> Result<Signer, String> {
        access::certificate::read(pem)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let chain = chain.map_err(|error| error.to_string())?;
        let first = chain.first().ok_or("it has no certificate")?;
        let parsed = webpki::EndEntityCert::try_from(first);
        let parsed = parsed.map_err(|error| format!("its certificate cannot be used: {error}"))?;
        let issuer = value(SEQUENCE, &[parsed.issuer()]);
        let serial = value(INTEGER, &[parsed.serial()]);
        let is_of = value(SEQUENCE, &[&issuer, &serial]);
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key);
        let key = key.map_err(|error| error.to_string())?;
        let mut schemes = SCHEMES.into_iter();
        let scheme = schemes.find(|scheme| key.choose_scheme(&[*scheme]).is_some());
        let scheme = scheme.ok_or("its key is neither RSA nor ECDSA on P-256 or P-384")?;
        Ok(Signer {
            chain,
            is_of,
            key,
            scheme,
        })
    }

    /// Signs a content; returns the detached signature, DER.
    ///
    /// # Errors
    /// Returns the error of the library.
    pub fn sign(&self, content: &[u8]) -> Result<Vec<u8>, String> {
        let signer = self.key.choose_scheme(&[self.scheme]);
        let signer = signer.ok_or("the key cannot sign")?;
        let signature = signer.sign(content).map_err(|error| error.to_string())?;
        let (digest, signs) = match self.scheme {
            SignatureScheme::ECDSA_NISTP256_SHA256 => (SHA256, algorithm(ECDSA_SHA256, false)),
            SignatureScheme::ECDSA_NISTP384_SHA384 => (SHA384, algorithm(ECDSA_SHA384, false)),
            _ => (SHA256, algorithm(RSA, true)),
        };
        let digest = algorithm(digest, true);
        let version = value(INTEGER, &[&[1]]);
        let info = value(
            SEQUENCE,
            &[
                &version,
                &self.is_of,
                &digest,
                &signs,
                &value(OCTETS, &[&signature]),
            ],
        );
        let certificates: Vec<&[u8]> = self.chain.iter().map(AsRef::as_ref).collect();
        let signed = value(
            SEQUENCE,
            &[
                &version,
                &value(SET, &[&digest]),
                &value(SEQUENCE, &[&value(OID, &[DATA])]),
                &value(CONTEXT_0, &certificates),
                &value(SET, &[&info]),
            ],
        );
        let content = value(CONTEXT_0, &[&signed]);
        Ok(value(SEQUENCE, &[&value(OID, &[SIGNED_DATA]), &content]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::pki::{Authority, Leaf};
    use std::process::Command;

    fn verify(authority: &Authority, signature: &[u8], content: &[u8]) -> bool {
        let scratch = lab::ScratchDirectory::new().unwrap();
        let write = |name: &str, bytes: &[u8]| scratch.write(name, bytes).unwrap();
        let authority = write("ca.pem", authority.certificate_pem().as_bytes());
        let (signature, content) = (write("sig", signature), write("content", content));
        let mut command = Command::new("openssl");
        command.args([
            "cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any", "-in",
        ]);
        command.arg(signature).arg("-content").arg(content);
        command
            .arg("-CAfile")
            .arg(authority)
            .arg("-out")
            .arg(scratch.path().join("out"));
        command.output().unwrap().status.success()
    }

    #[test]
    fn openssl_verifies_what_is_signed_and_nothing_else() {
        lab::skip_unless_installed!("openssl");
        let authority = Authority::new("Test CA").unwrap();
        let leaf = Leaf {
            names: &["desktop.example.org"],
            ..Leaf::default()
        };
        let signer = Signer::read(authority.issue(&leaf).unwrap().bundle().as_bytes()).unwrap();
        let signature = signer.sign(b"content").unwrap();
        assert!(verify(&authority, &signature, b"content"));
        assert!(!verify(&authority, &signature, b"Content"));
        let other = Authority::new("Other CA").unwrap();
        assert!(!verify(&other, &signature, b"content"));
    }

    #[test]
    fn keys_of_all_kinds_sign() {
        lab::skip_unless_installed!("openssl");
        for kind in [
            &["rsa:2048"][..],
            &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
        ] {
            let scratch = lab::ScratchDirectory::new().unwrap();
            let file = scratch.path().join("own.pem");
            let mut command = Command::new("openssl");
            command.args([
                "req", "-x509", "-nodes", "-subj", "/CN=a", "-days", "9", "-newkey",
            ]);
            command.args(kind).arg("-keyout").arg(&file);
            command.arg("-out").arg(scratch.path().join("crt.pem"));
            assert!(command.output().unwrap().status.success());
            let certificate = std::fs::read(scratch.path().join("crt.pem")).unwrap();
            let pem = [std::fs::read(&file).unwrap(), certificate.clone()].concat();
            let signature = Signer::read(&pem).unwrap().sign(b"content").unwrap();
            let (der, content) = (scratch.path().join("sig"), scratch.path().join("content"));
            std::fs::write(&der, signature).unwrap();
            std::fs::write(&content, b"content").unwrap();
            let mut command = Command::new("openssl");
            command.args([
                "cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any", "-in",
            ]);
            command.arg(der).arg("-content").arg(content);
            command.arg("-CAfile").arg(scratch.path().join("crt.pem"));
            let output = command.output().unwrap();
            assert!(output.status.success(), "{kind:?} {output:?}");
        }
    }

    #[test]
    fn unusable_signing_keys_are_refused_with_the_reason() {
        for (pem, why) in [
            (&b""[..], "it has no certificate"),
            (
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "it has no private key that can be read",
            ),
        ] {
            assert_eq!(Signer::read(pem).err().as_deref(), Some(why));
        }
    }
}
