//! Checks the TLS certificate of a listening address, and computes its channel binding hashes.

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use protocol::ntlm::channel_hash;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::sync::Arc;
use tls::certificate::Certificate;
use tls::describe::time;

/// Returns the channel binding hashes of the first certificate (`tls-server-end-point`, RFC 5929):
/// one for each hash algorithm, because the one of the certificate's signature, which decides, is
/// not parsed here.
pub fn channels(pem: &[u8]) -> Arc<[[u8; 16]]> {
    let first = CertificateDer::pem_slice_iter(pem).next();
    let Some(Ok(certificate)) = first else {
        return Arc::new([]);
    };
    let hash = |algorithm| channel_hash(digest(algorithm, &certificate).as_ref());
    [&SHA256, &SHA384, &SHA512].map(hash).into()
}

/// Returns why the first certificate of a file is not valid now, or None if it is.
pub fn untimely(pem: &[u8], now_s: i64) -> Option<String> {
    let first = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    let fields = Certificate::parse(&first)?;
    if fields.not_after_s < now_s {
        Some(format!(
            "the certificate expired on {}",
            time(fields.not_after_s)
        ))
    } else if fields.not_before_s > now_s {
        let from = time(fields.not_before_s);
        Some(format!("the certificate is not valid before {from}"))
    } else {
        None
    }
}

pub fn is_of(pem: &[u8], name: &str) -> bool {
    let first = CertificateDer::pem_slice_iter(pem).next();
    let Some(Ok(certificate)) = first else {
        return false;
    };
    let (Ok(end), Ok(name)) = (
        webpki::EndEntityCert::try_from(&certificate),
        ServerName::try_from(name),
    ) else {
        return false;
    };
    end.verify_is_valid_for_subject_name(&name).is_ok()
}
