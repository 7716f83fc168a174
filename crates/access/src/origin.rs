//! Whether a form came from a page of the same site.

/// Whether a form came from a page of this site, as far as the browser says where it came from: by the
/// headers `Origin` and `Sec-Fetch-Site`. `host` is the authority that was requested.
pub fn is_own(origin: Option<&str>, fetch_site: Option<&str>, host: Option<&str>) -> bool {
    let Some(origin) = origin else {
        return fetch_site.is_none_or(|site| site == "same-origin" || site == "none");
    };
    let origin = origin.split_once("://");
    matches!((origin, host), (Some((_, origin)), Some(host)) if origin == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_another_site_is_not_own() {
        let host = Some("a.example:8600");
        assert!(is_own(Some("https://a.example:8600"), None, host));
        assert!(is_own(None, None, host));
        assert!(is_own(None, Some("same-origin"), host));
        assert!(!is_own(Some("https://b.example"), None, host));
        assert!(!is_own(Some("null"), None, host));
        assert!(!is_own(Some("https://a.example:8600"), None, None));
        assert!(!is_own(None, Some("cross-site"), host));
    }
}
