//! Holds the facts about the running evenkeel binary that a condition (`.if`, `-cc`) can test, and
//! parses the version numbers of HAProxy and OpenSSL, so that conditions can compare them.

use std::collections::BTreeSet;

/// Version numbers and features of Evenkeel and its TLS library, for `.if` and `-cc`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The version of HAProxy whose language is supported: "2.6.12", "3.1-dev4".
    pub version: String,
    /// Feature names that `haproxy -vv` shows after a '+': "OPENSSL", "THREAD".
    pub features: BTreeSet<String>,
    /// The names for which `enabled(NAME)` is true: "EPOLL", "SPLICE".
    pub enabled: BTreeSet<String>,
    /// The name and version of the TLS library, for `ssllib_name_startswith`.
    pub tls_library: String,
    /// The version of OpenSSL to which the TLS library is equivalent, if any.
    pub openssl_version: Option<String>,
    /// The API version of AWS-LC, if that is the TLS library.
    pub awslc_api: Option<u32>,
}

impl Facts {
    pub fn new(version: impl Into<String>) -> Self {
        Facts {
            version: version.into(),
            features: BTreeSet::new(),
            enabled: BTreeSet::new(),
            tls_library: String::new(),
            openssl_version: None,
            awslc_api: None,
        }
    }

    pub fn with_tls_library(mut self, name: &str, openssl: &str) -> Self {
        self.tls_library = name.to_owned();
        self.openssl_version = Some(openssl.to_owned());
        self
    }

    pub fn with_features<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.features.extend(names.into_iter().map(str::to_owned));
        self
    }

    pub fn with_enabled<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.enabled.extend(names.into_iter().map(str::to_owned));
        self
    }
}

/// A comparable version number of HAProxy or OpenSSL. Missing parts are zero; a development or
/// candidate version is older than the release of the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct HaproxyVersion {
    numbers: [u32; 3],
    stage: u32,
    commits: u32,
}

/// Higher than every `-devN`: the release itself.
const RELEASED: u32 = u32::MAX;

impl HaproxyVersion {
    /// Parses `2.6`, `2.6.12`, `2.7-dev3`, `2.6.12-15`; the suffix of a distribution after a '+' or
    /// a '~' is ignored. Returns `None` for an invalid version.
    pub fn haproxy(text: &str) -> Option<HaproxyVersion> {
        let text = text.split(['+', '~']).next()?;
        let mut parts = text.split('-');
        let numbers = numbers(parts.next()?)?;
        let mut version = HaproxyVersion {
            numbers,
            stage: RELEASED,
            commits: 0,
        };
        for part in parts {
            let stage = ["dev", "pre", "rc"]
                .iter()
                .find_map(|s| part.strip_prefix(s));
            match stage {
                Some(n) => version.stage = n.parse().ok()?,
                // Ignores a part that is no number: the hash of a commit may follow the number of
                // commits.
                None => version.commits = part.parse().unwrap_or(version.commits),
            }
        }
        Some(version)
    }

    /// Parses a version of OpenSSL, such as `3.0.2`, `1.1.1w` or `3.2.0-beta1`.
    pub fn openssl(text: &str) -> Option<HaproxyVersion> {
        let (text, stage) = match text.split_once('-') {
            None => (text, RELEASED),
            Some((text, stage)) => {
                let kinds = ["alpha", "beta", "pre", "dev"];
                let (rank, n) = kinds
                    .iter()
                    .enumerate()
                    .find_map(|(rank, k)| Some((rank as u32, stage.strip_prefix(k)?)))?;
                let n: u32 = if n.is_empty() { 0 } else { n.parse().ok()? };
                (text, rank * 1000 + n.min(999))
            }
        };
        let (text, letter) = match text.as_bytes().last() {
            Some(b) if b.is_ascii_lowercase() => (&text[..text.len() - 1], u32::from(b - b'a') + 1),
            _ => (text, 0),
        };
        Some(HaproxyVersion {
            numbers: numbers(text)?,
            stage,
            commits: letter,
        })
    }
}

fn numbers(text: &str) -> Option<[u32; 3]> {
    let mut numbers = [0; 3];
    for (n, part) in text.split('.').enumerate() {
        *numbers.get_mut(n)? = part.parse().ok()?;
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::HaproxyVersion;

    #[test]
    fn versions_are_ordered_as_they_were_released() {
        let order = [
            "1.9",
            "2.0",
            "2.4-dev18",
            "2.4-dev19",
            "2.4-rc20",
            "2.4",
            "2.4-3",
            "2.4.1",
            "2.10",
            "3",
        ];
        for pair in order.windows(2) {
            assert!(
                HaproxyVersion::haproxy(pair[0]).unwrap()
                    < HaproxyVersion::haproxy(pair[1]).unwrap(),
                "{pair:?}"
            );
        }
        assert_eq!(
            HaproxyVersion::haproxy("2.6.12+deb12u4"),
            HaproxyVersion::haproxy("2.6.12")
        );
        assert_eq!(HaproxyVersion::haproxy("x"), None);
        assert_eq!(HaproxyVersion::haproxy(""), None);
        assert_eq!(HaproxyVersion::haproxy("1.2.3.4"), None);
    }

    #[test]
    fn letters_and_betas_of_openssl_are_ordered() {
        let order = [
            "1.0.2zg",
            "1.1.1",
            "1.1.1a",
            "1.1.1w",
            "3.0.0-alpha1",
            "3.0.0-beta2",
            "3.0.0",
        ];
        for pair in order[1..].windows(2) {
            assert!(
                HaproxyVersion::openssl(pair[0]).unwrap()
                    < HaproxyVersion::openssl(pair[1]).unwrap(),
                "{pair:?}"
            );
        }
        assert_eq!(HaproxyVersion::openssl("x"), None);
    }
}
