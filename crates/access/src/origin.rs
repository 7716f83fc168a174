//! Checks that a submitted form came from a page of the same site.

/// Returns whether a form came from a page of this site, as far as the browser reports its origin
/// by the headers `Origin` and `Sec-Fetch-Site`. `host` is the requested authority.
pub fn is_same_origin(origin: Option<&str>, fetch_site: Option<&str>, host: Option<&str>) -> bool {
    let Some(origin) = origin else {
        return fetch_site.is_none_or(|site| site == "same-origin" || site == "none");
    };
    let origin = origin.split_once("://");
    matches!((origin, host), (Some((_, origin)), Some(host)) if origin == host)
}

/// Returns the value of the `Origin` headers of a request, None without one. Several headers, or
/// one that is not text, become an empty value, which matches no site.
pub fn said<'h>(mut headers: impl Iterator<Item = Option<&'h str>>) -> Option<&'h str> {
    let first = headers.next()?;
    let is_only = headers.next().is_none();
    Some(first.filter(|_| is_only).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_another_site_is_recognised() {
        let host = Some("a.example:8600");
        assert!(is_same_origin(Some("https://a.example:8600"), None, host));
        assert!(is_same_origin(None, None, host));
        assert!(is_same_origin(None, Some("same-origin"), host));
        assert!(!is_same_origin(Some("https://b.example"), None, host));
        assert!(!is_same_origin(Some("null"), None, host));
        assert!(!is_same_origin(Some("https://a.example:8600"), None, None));
        assert!(!is_same_origin(None, Some("cross-site"), host));
    }

    #[test]
    fn several_origins_are_of_no_site() {
        let own = Some("https://a.example");
        assert_eq!(said([].into_iter()), None);
        assert_eq!(said([own].into_iter()), own);
        for several in [[own, own], [own, None], [None, own]] {
            assert_eq!(said(several.into_iter()), Some(""));
        }
        assert_eq!(said([None].into_iter()), Some(""));
    }
}
