//! Finds the expiry dates of the certificates in a configuration version, for all parts, and makes
//! warnings about those that end soon. Certificates and keys are found among the version's secrets,
//! CA files among its other files.

use configuration::Recording;
use configuration::codes;
use language::{Diagnostic, Severity};
use part::role::CertificateEnd;
use tls::certificate::Certificate;

const CERTIFICATES_MAX: usize = 16;
/// PEM marker that a file must contain to be read as a CA file.
const CERTIFICATE_MARKER: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Returns the expiry dates of the certificate files of a version, earliest first, at most
/// [`CERTIFICATES_MAX`].
pub fn of(recording: &Recording) -> Vec<CertificateEnd> {
    let ends = recording
        .readable_files()
        .filter_map(|(path, bytes, is_secret)| {
            let path = path.display();
            if is_secret {
                end_of_chain(&path.to_string(), bytes)
            } else {
                end_of_authorities(&path.to_string(), bytes)
            }
        });
    let mut ends: Vec<CertificateEnd> = ends.collect();
    ends.sort_by_key(|end| end.until_s);
    ends.truncate(CERTIFICATES_MAX);
    ends
}

/// Returns the earliest expiry date in a certificate chain. Self-issued certificates after the
/// first one do not count: clients have their own root certificates.
fn end_of_chain(file: &str, text: &[u8]) -> Option<CertificateEnd> {
    let chain = Certificate::all_of(text);
    let chain = chain.iter().enumerate();
    let counts = chain.filter(|(at, one)| *at == 0 || !one.is_self_issued());
    let (at, first) = counts.min_by_key(|(_, one)| one.not_after_s)?;
    let name = match at {
        0 => file.to_owned(),
        _ => format!("{file} (intermediate certificate)"),
    };
    Some(end(name, first))
}

/// Returns the latest expiry date in a CA file: the file verifies something until then, and CA
/// files often contain both an older CA and its successor. Returns None for a file that is no CA
/// file.
fn end_of_authorities(file: &str, text: &[u8]) -> Option<CertificateEnd> {
    memchr::memmem::find(text, CERTIFICATE_MARKER)?;
    let authorities = Certificate::all_of(text);
    let last = authorities.iter().max_by_key(|one| one.not_after_s)?;
    Some(end(format!("{file} (CA file)"), last))
}

fn end(file: String, certificate: &Certificate) -> CertificateEnd {
    CertificateEnd {
        file,
        from_s: certificate.not_before_s,
        until_s: certificate.not_after_s,
    }
}

pub fn warnings(ends: &[CertificateEnd], now_s: i64) -> impl Iterator<Item = Diagnostic> {
    let due = ends.iter().filter(move |end| end.is_due(now_s));
    due.map(move |end| {
        let told = format!("certificate {}: {}", end.file, end.words(now_s));
        let what = if end.has_ended(now_s) {
"it is no longer accepted: replace the file, and load it with `evenkeel reload`, or in a cluster with `evenkeel \
                     config apply`"
} else {
"renew it before its end, and load it with `evenkeel reload`, or in a cluster with `evenkeel config apply`"
};
        Diagnostic::global(&codes::CERTIFICATE_END, Severity::Warning, told).help(what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::load_files;

    #[test]
    fn certificate_of_a_listener_is_reported_before_its_end() {
        let directory = std::env::temp_dir().join(format!("evenkeel-ends-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("a.pem");
        let mut parameters = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2030, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2031, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        std::fs::write(&path, certificate.pem() + &key.serialize_pem()).unwrap();
        let text = format!(
            "listen l\n bind 127.0.0.1:8443 ssl crt {}\n",
            path.display()
        );
        let files = vec![("site.cfg".to_owned(), text.into_bytes())];
        let loaded = load_files(files, None, Default::default(), None).proxy;
        std::fs::remove_dir_all(&directory).unwrap();
        let ends = of(&loaded.recording);
        assert_eq!(ends.len(), 1, "{ends:?}");
        let until_s = ends[0].until_s;
        assert_eq!(warnings(&ends, until_s - 100 * 86_400).count(), 0);
        let soon: Vec<Diagnostic> = warnings(&ends, until_s - 86_400).collect();
        assert_eq!(soon.len(), 1);
        assert!(
            soon[0].message.ends_with("a.pem: ends in 1 day"),
            "{}",
            soon[0].message
        );
        let late: Vec<Diagnostic> = warnings(&ends, until_s + 86_401).collect();
        assert!(
            late[0].message.ends_with("a.pem: ended 1 day ago"),
            "{}",
            late[0].message
        );
    }

    fn pem(name: &str, issuer: &str, year: i32) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let named = |name: &str| {
            let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
            let mut distinguished = rcgen::DistinguishedName::new();
            distinguished.push(rcgen::DnType::CommonName, name);
            parameters.distinguished_name = distinguished;
            parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
            parameters
        };
        let issuer = rcgen::Issuer::new(named(issuer), &key);
        named(name).signed_by(&key, &issuer).unwrap().pem()
    }

    #[test]
    fn first_end_of_a_chain_and_last_end_of_a_ca_file_count() {
        let leaf = pem("leaf", "middle", 2031);
        let middle = pem("middle", "root", 2030);
        let root = pem("root", "root", 2029);
        let year = |end: CertificateEnd| (end.file, 1970 + end.until_s / 31_556_952);
        let chain = |text: String| year(end_of_chain("a.pem", text.as_bytes()).unwrap());
        assert_eq!(
            chain(format!("{leaf}{middle}{root}")),
            ("a.pem (intermediate certificate)".to_owned(), 2030)
        );
        assert_eq!(chain(format!("{leaf}{root}")), ("a.pem".to_owned(), 2031));
        assert_eq!(chain(root.clone()), ("a.pem".to_owned(), 2029));
        let authorities = end_of_authorities("ca.pem", format!("{root}{middle}").as_bytes());
        assert_eq!(
            year(authorities.unwrap()),
            ("ca.pem (CA file)".to_owned(), 2030)
        );
        assert_eq!(end_of_authorities("a.lst", b"example.org\n"), None);
    }
}
