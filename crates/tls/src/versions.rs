//! Computes the enabled TLS versions from `ssl-min-ver`, `ssl-max-ver`, `no-tlsv1x` and
//! `force-tlsv1x` of a line and of `global`. Only 1.2 and 1.3 are supported.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TlsVersion {
    Ssl3,
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

/// Lowest and highest version, and single disabled versions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsVersions {
    pub min: Option<TlsVersion>,
    pub max: Option<TlsVersion>,
    /// Versions disabled by `no-tlsv10` and similar options.
    pub off: Vec<TlsVersion>,
}

/// The enabled protocol versions that rustls supports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SpokenVersions {
    pub tls12: bool,
    pub tls13: bool,
}

impl Default for SpokenVersions {
    fn default() -> Self {
        SpokenVersions {
            tls12: true,
            tls13: true,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoVersion {
    #[error("all SSL/TLS versions are disabled")]
    AllOff,
    /// All enabled versions are too old to be supported; this is the highest of them.
    #[error("no supported version (TLSv1.2, TLSv1.3) is enabled, only {} or older,", .0.name())]
    TooOld(TlsVersion),
}

/// A remark on a setting that has no effect or another one than written, but is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remark {
    /// `no-…` has no effect together with `ssl-min-ver` or `ssl-max-ver`.
    SinglesIgnored,
    /// The requested minimum version is not supported; 1.2 is used.
    Raised(TlsVersion),
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remark::SinglesIgnored => f.write_str(
                "no-sslv3/no-tlsv1x are ignored together with 'ssl-min-ver', 'ssl-max-ver' and 'force-…'",
            ),
            Remark::Raised(version) => write!(
                f,
                "{} is not supported: TLSv1.2 is the lowest version",
                version.name()
            ),
        }
    }
}

const ALL: [TlsVersion; 5] = [
    TlsVersion::Ssl3,
    TlsVersion::Tls10,
    TlsVersion::Tls11,
    TlsVersion::Tls12,
    TlsVersion::Tls13,
];

impl TlsVersion {
    /// Returns the name as in `ssl-min-ver`.
    pub fn name(self) -> &'static str {
        match self {
            TlsVersion::Ssl3 => "SSLv3",
            TlsVersion::Tls10 => "TLSv1.0",
            TlsVersion::Tls11 => "TLSv1.1",
            TlsVersion::Tls12 => "TLSv1.2",
            TlsVersion::Tls13 => "TLSv1.3",
        }
    }
}

/// Returns the lowest and highest version of a line, otherwise of the defaults, and the versions
/// disabled one by one.
fn merged(
    line: &TlsVersions,
    defaults: &TlsVersions,
) -> (Option<TlsVersion>, Option<TlsVersion>, Vec<TlsVersion>) {
    let min = line.min.or(defaults.min);
    let max = line.max.or(defaults.max);
    let off = line.off.iter().chain(&defaults.off).copied().collect();
    (min, max, off)
}

/// Returns the versions that a line enables, with `defaults` for missing options.
///
/// # Errors
/// `AllOff` if no version is enabled, `TooOld` if only unsupported ones are.
pub fn enabled_versions(
    line: &TlsVersions,
    defaults: &TlsVersions,
) -> Result<SpokenVersions, NoVersion> {
    let (min, max, off) = merged(line, defaults);
    let bounded = min.is_some() || max.is_some();
    // Uses a highest version below the default lowest version as the lowest one, too, as HAProxy
    // does.
    let lowest = min.unwrap_or_else(|| max.map_or(TlsVersion::Tls12, |m| m.min(TlsVersion::Tls12)));
    let highest = max.unwrap_or(TlsVersion::Tls13);
    let is_on = |version: &TlsVersion| {
        (lowest..=highest).contains(version) && (bounded || !off.contains(version))
    };
    let spoken = SpokenVersions {
        tls12: is_on(&TlsVersion::Tls12),
        tls13: is_on(&TlsVersion::Tls13),
    };
    if spoken.tls12 || spoken.tls13 {
        return Ok(spoken);
    }
    // Leaves out SSLv3, which is not supported, nor is it by recent versions of HAProxy. If it is
    // the only version, all count as disabled.
    let old = ALL[1..].iter().rev().find(|version| is_on(version));
    Err(old.map_or(NoVersion::AllOff, |version| NoVersion::TooOld(*version)))
}

pub fn version_remarks(line: &TlsVersions, defaults: &TlsVersions) -> Vec<Remark> {
    let (min, max, off) = merged(line, defaults);
    let mut found = Vec::new();
    if !off.is_empty() && (min.is_some() || max.is_some()) {
        found.push(Remark::SinglesIgnored);
    }
    if let Some(old) = min.filter(|min| *min < TlsVersion::Tls12) {
        found.push(Remark::Raised(old));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use TlsVersion::{Ssl3, Tls10, Tls11, Tls12, Tls13};

    fn versions(
        min: Option<TlsVersion>,
        max: Option<TlsVersion>,
        off: &[TlsVersion],
    ) -> TlsVersions {
        TlsVersions {
            min,
            max,
            off: off.to_vec(),
        }
    }

    fn of(line: TlsVersions) -> Result<(bool, bool), NoVersion> {
        enabled_versions(&line, &TlsVersions::default()).map(|found| (found.tls12, found.tls13))
    }

    #[test]
    fn the_usual_is_both_versions() {
        assert_eq!(of(TlsVersions::default()), Ok((true, true)));
        assert_eq!(of(versions(Some(Tls12), None, &[])), Ok((true, true)));
        assert_eq!(of(versions(Some(Ssl3), None, &[])), Ok((true, true)));
        assert_eq!(of(versions(Some(Tls13), None, &[])), Ok((false, true)));
        assert_eq!(of(versions(None, Some(Tls12), &[])), Ok((true, false)));
    }

    #[test]
    fn single_versions_are_off_only_where_no_bounds_are_given() {
        assert_eq!(of(versions(None, None, &[Tls13])), Ok((true, false)));
        assert_eq!(of(versions(None, None, &[Tls12])), Ok((false, true)));
        assert_eq!(of(versions(Some(Tls12), None, &[Tls13])), Ok((true, true)));
    }

    #[test]
    fn versions_below_the_supported_ones_are_refused_by_name() {
        assert_eq!(
            of(versions(None, Some(Tls11), &[])),
            Err(NoVersion::TooOld(Tls11))
        );
        assert_eq!(
            of(versions(Some(Tls10), Some(Tls10), &[])),
            Err(NoVersion::TooOld(Tls10))
        );
        assert_eq!(
            of(versions(Some(Ssl3), Some(Ssl3), &[])),
            Err(NoVersion::AllOff)
        );
        assert_eq!(
            of(versions(Some(Tls13), Some(Tls12), &[])),
            Err(NoVersion::AllOff)
        );
        assert_eq!(
            of(versions(None, None, &[Tls12, Tls13])),
            Err(NoVersion::AllOff)
        );
    }

    #[test]
    fn line_overrides_defaults_and_single_options_add_up() {
        let defaults = versions(Some(Tls13), None, &[]);
        let both = enabled_versions(&versions(Some(Tls12), None, &[]), &defaults);
        assert_eq!(both, Ok(SpokenVersions::default()));
        let off = enabled_versions(
            &versions(None, None, &[Tls12]),
            &versions(None, None, &[Tls13]),
        );
        assert_eq!(off, Err(NoVersion::AllOff));
    }

    #[test]
    fn option_without_effect_is_reported() {
        let none = TlsVersions::default();
        assert_eq!(
            version_remarks(&versions(Some(Tls10), None, &[Ssl3]), &none),
            [Remark::SinglesIgnored, Remark::Raised(Tls10)]
        );
        assert_eq!(
            version_remarks(&versions(None, None, &[Ssl3, Tls10]), &none),
            []
        );
    }
}
