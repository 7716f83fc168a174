//! Executes the commands about OCSP responses (`set`, `show ssl ocsp-response`).

use super::Store;
use super::command::{StoreError, StoreResponse, decoded, refuse};
use crate::certified::Certified;
use crate::describe::hex;
use crate::{ocsp, ocsp_text};
use std::fmt::Write;
use std::sync::Arc;

impl Store {
    /// Command `set ssl ocsp-response <base64>`. All certificates with the CertID get the response,
    /// or none.
    ///
    /// # Errors
    /// The payload is not Base64, or not a valid response. No certificate has its CertID. A user of
    /// such a certificate cannot be prepared.
    pub fn set_ocsp(&self, payload: &[u8]) -> StoreResponse {
        let Some(der) = decoded(payload) else {
            return refuse("'set ssl ocsp-response' received invalid base64 encoded response.");
        };
        let words = |error: ocsp::OcspError| StoreError(error.to_string() + ".");
        let id = ocsp::Response::id_of(&der).map_err(words)?;
        let mut inner = self.inner();
        let certificates = inner.stock.certificates.iter();
        let same = |certified: &Certified| {
            certified.ocsp_id.as_ref() == Some(&id)
                || certified.ocsp().is_some_and(|response| response.id == id)
        };
        let named: Vec<(Box<str>, Arc<Certified>)> = certificates
            .filter_map(|(name, found)| Some((name.clone(), Arc::clone(found.as_ref()?))))
            .filter(|(_, certified)| same(certified))
            .collect();
        if named.is_empty() {
            return refuse(
                "OCSP single response: Certificate ID does not match any certificate or issuer.",
            );
        }
        let mut new = Vec::with_capacity(named.len());
        for (name, certified) in named {
            new.push((name, certified.with_ocsp(&der).map_err(words)?));
        }
        inner.replace_certificates(new).map_err(StoreError)?;
        Ok("OCSP Response updated!\n".to_owned())
    }

    pub fn show_ocsp(&self) -> String {
        let inner = self.inner();
        let certificates = inner.stock.certificates.values().flatten();
        let mut ids: Vec<&Vec<u8>> = certificates
            .filter(|found| found.ocsp().is_some())
            .filter_map(|found| found.ocsp_id.as_ref())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let mut out = String::new();
        for id in ids {
            if out.is_empty() {
                out.push_str("# Certificate IDs\n");
            }
            let _ = writeln!(out, "Certificate ID key : {}", hex(id, false));
            ocsp_text::identifier(id, &mut out);
        }
        out
    }

    /// Command `show ssl ocsp-response <id>`.
    ///
    /// # Errors
    /// No certificate with this CertID has a response.
    pub fn show_ocsp_of(&self, id: &str) -> StoreResponse {
        let inner = self.inner();
        let certificates = inner.stock.certificates.values().flatten();
        let same = |found: &&Arc<Certified>| {
            let own = found.ocsp_id.as_ref();
            own.is_some_and(|own| hex(own, false).eq_ignore_ascii_case(id))
        };
        let mut found = certificates.filter(same).filter_map(|found| found.ocsp());
        match found.next() {
            Some(response) => Ok(ocsp_text::response(response)),
            None => refuse("Certificate ID does not match any certificate."),
        }
    }
}
