//! The ends of the certificates of a version: of all parts, because each loads the files of its
//! certificates and keys as secrets ([`Recording::contents`]).

use configuration::Recording;
use configuration::codes;
use language::{Diagnostic, Severity};
use part::role::CertificateEnd;
use tls::certificate::Certificate;

/// Certificates of one version that are described.
const CERTIFICATES_MAX: usize = 16;

/// The certificates that end first.
pub fn of(recording: &Recording) -> Vec<CertificateEnd> {
    let secrets = recording.contents().filter(|(.., is_secret)| *is_secret);
    let ends = secrets.filter_map(|(path, bytes, _)| {
        let certificate = Certificate::first_of(bytes)?;
        Some(CertificateEnd {
            file: path.display().to_string(),
            from_s: certificate.not_before_s,
            until_s: certificate.not_after_s,
        })
    });
    let mut ends: Vec<CertificateEnd> = ends.collect();
    ends.sort_by_key(|end| end.until_s);
    ends.truncate(CERTIFICATES_MAX);
    ends
}

/// The warnings about those that end soon or have ended.
pub fn warnings(ends: &[CertificateEnd], now_s: i64) -> impl Iterator<Item = Diagnostic> {
    let due = ends.iter().filter(move |end| end.is_due(now_s));
    due.map(move |end| {
        let told = format!("certificate {}: {}", end.file, end.words(now_s));
        let what = match end.has_ended(now_s) {
            true => "clients refuse it: replace the file, and load it with `evenkeel reload`, or in a cluster with `evenkeel \
                     config apply`",
            false => "renew it before its end, and load it with `evenkeel reload`, or in a cluster with `evenkeel config apply`",
        };
        Diagnostic::global(&codes::CERTIFICATE_END, Severity::Warning, told).help(what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::load_files;

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
}
