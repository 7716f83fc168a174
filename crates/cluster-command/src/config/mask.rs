//! Provides the mask that hides secrets of files when versions are printed. Certificates are
//! described without their keys.

use cluster::history::Mask;
use language::difference;
use tls::certificate::Certificate;
use tls::describe;
use tls::pem::Contents;

pub fn mask() -> Mask<'static> {
    Mask {
        vocabulary: difference::vocabulary(),
        certificate,
    }
}

fn certificate(bytes: &[u8]) -> Option<String> {
    let contents = Contents::parse(bytes).ok()?;
    let first = contents.certificates.first()?;
    let certificate = Certificate::parse(first)?;
    let more = match contents.certificates.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    Some(format!(
        "certificate of {} by {}, serial {}, expires {}{more}",
        describe::name(&certificate.subject),
        describe::name(&certificate.issuer),
        describe::serial(&certificate.serial),
        describe::time(certificate.not_after_s),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::file_set::SetFile;
    use cluster::history::MaskedFile;

    fn seen(file: &SetFile) -> MaskedFile {
        mask().of([file]).seen(file)
    }

    fn told(secret: bool, text: &str) -> String {
        let file = SetFile {
            path: "/etc/a.pem".to_owned(),
            main: false,
            secret,
            mode: 0o600,
            bytes: text.as_bytes().to_vec(),
        };
        match seen(&file) {
            MaskedFile::Description(words) => words,
            MaskedFile::Text(text) => String::from_utf8_lossy(&text).into_owned(),
        }
    }

    #[test]
    fn certificate_is_described_without_its_key() {
        let made = rcgen::generate_simple_self_signed(vec!["www.example".to_owned()]).unwrap();
        let key = made.signing_key.serialize_pem();
        let words = told(true, &(made.cert.pem() + &key));
        assert!(words.starts_with("certificate of "), "{words}");
        assert!(
            words.contains("4096") && words.ends_with("with its key (not shown)"),
            "{words}"
        );
        let line = key.lines().nth(1).unwrap();
        assert!(!words.contains(line));
        assert_eq!(
            told(false, &key),
            format!("a secret of {} bytes (not shown)", key.len())
        );
    }

    #[test]
    fn list_with_a_secret_name_is_masked() {
        let file = |path: &str| SetFile {
            path: path.to_owned(),
            main: false,
            secret: false,
            mode: 0o644,
            bytes: b"k1 SECRET\n".to_vec(),
        };
        let description = MaskedFile::Description("a secret of 10 bytes (not shown)".to_owned());
        assert_eq!(seen(&file("/etc/e/API-Tokens.map")), description);
        let mut keys = file("/etc/e/customers.map");
        keys.bytes = b"# who may\nsk-live-4f9aB2c7d8e1f3a5 shop\n".to_vec();
        assert!(matches!(seen(&keys), MaskedFile::Description(_)));
        let mut routes = file("/etc/e/routes.map");
        routes.bytes = b"www.example.org be-shop-frontend-2024\n/a/0123456789abcdef be1\n".to_vec();
        assert!(matches!(seen(&routes), MaskedFile::Text(_)));
        let plain = MaskedFile::Text(b"k1 SECRET\n".to_vec());
        assert_eq!(seen(&file("/etc/secret/hosts.map")), plain);
    }
}
