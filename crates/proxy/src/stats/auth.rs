//! Decides who may see the statistics page (`stats auth`), and from which web sites its forms are
//! accepted.

use model::config::StatsPage;
use model::transaction::ProxyStream;
use model::users::{Basic, same};

/// Returns whether a request may see the page. If no users are configured, every request may.
pub fn allowed(page: &StatsPage, stream: &ProxyStream) -> bool {
    page.users.is_empty() || Basic::of(stream).is_some_and(|given| has(page, &given))
}

fn has(page: &StatsPage, given: &Basic) -> bool {
    // Compares with every user, so that the duration reveals nothing about them.
    page.users.iter().fold(false, |found, (name, secret)| {
        found | (same(name, given.user()) & same(secret, given.password()))
    })
}

/// Returns whether a page of another site submitted this form in the name of a logged-in user
/// (cross-site request forgery). Browsers report the origin in `Sec-Fetch-Site` (Fetch Metadata,
/// section 2.3), but to addresses without TLS only in `Origin` (RFC 6454, section 7). Programs
/// other than browsers send neither.
pub fn from_another_site(stream: &ProxyStream) -> bool {
    if let Some(site) = stream.request.get(b"sec-fetch-site") {
        return !matches!(site, b"same-origin" | b"none");
    }
    let Some(origin) = stream.request.get(b"origin") else {
        return false;
    };
    let Some(at) = origin.windows(3).position(|w| w == b"://") else {
        return true;
    };
    let place = without_port(&origin[at + 3..]);
    // Accepts either field, because a proxy between the browser and this one may have changed one
    // of them and kept the other.
    let asked = ["host", "x-forwarded-host"].map(|name| stream.request.get(name.as_bytes()));
    let mut asked = asked.into_iter().flatten().map(without_port);
    !asked.any(|host| host.eq_ignore_ascii_case(place))
}

/// Returns the host of an authority without the port, which may differ if there is a proxy before
/// this one.
fn without_port(authority: &[u8]) -> &[u8] {
    let from = authority.iter().rposition(|b| *b == b']').unwrap_or(0);
    let colon = authority[from..].iter().position(|b| *b == b':');
    colon.map_or(authority, |at| &authority[..from + at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use model::transaction::sample;

    fn request(authorization: &str) -> ProxyStream {
        let line = match authorization {
            "" => String::new(),
            value => format!("Authorization: {value}\r\n"),
        };
        sample::request(format!("GET / HTTP/1.1\r\nHost: h\r\n{line}\r\n").as_bytes())
    }

    #[test]
    fn any_user_of_the_page_with_the_right_password_passes() {
        let users = vec![
            (b"a"[..].into(), b"b:c"[..].into()),
            (b"x"[..].into(), b""[..].into()),
        ];
        let page = StatsPage {
            users,
            ..StatsPage::default()
        };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for (authorization, passes) in [
            (basic("a:b:c"), true),
            (basic("x:"), true),
            (basic("x"), false),
            (basic("a:b"), false),
            (basic("a:b:cc"), false),
            (basic("a:"), false),
            (basic(":"), false),
            (basic("x:b:c"), false),
            ("basic YTpiOmM=".to_owned(), true),
            ("Bearer YTpiOmM=".to_owned(), false),
            ("Basic".to_owned(), false),
            ("Basic !!!".to_owned(), false),
            (String::new(), false),
        ] {
            let stream = request(&authorization);
            assert_eq!(allowed(&page, &stream), passes, "{authorization:?}");
        }
        assert!(allowed(&StatsPage::default(), &request("")));
    }
    #[test]
    fn cross_site_forms_are_detected_by_browser_headers() {
        for (lines, elsewhere) in [
            ("", false),
            ("Origin: http://lb.example:8404", false),
            ("Origin: https://LB.example", false),
            ("Origin: http://evil.example:8404", true),
            ("Origin: http://lb.example.evil.example", true),
            ("Origin: null", true),
            ("Origin: ", true),
            (
                "Origin: http://out.example\r\nX-Forwarded-Host: out.example",
                false,
            ),
            ("Sec-Fetch-Site: same-origin\r\nOrigin: http://inner", false),
            ("Sec-Fetch-Site: none", false),
            (
                "Sec-Fetch-Site: same-site\r\nOrigin: http://lb.example:8404",
                true,
            ),
            ("Sec-Fetch-Site: cross-site", true),
        ] {
            let head = format!("POST / HTTP/1.1\r\nHost: lb.example:8404\r\n{lines}\r\n\r\n");
            let head = head.replacen("\r\n\r\n\r\n", "\r\n\r\n", 1);
            let stream = sample::request(head.as_bytes());
            assert_eq!(from_another_site(&stream), elsewhere, "{lines}");
        }
        let six =
            sample::request(b"POST / HTTP/1.1\r\nHost: [::1]:80\r\nOrigin: http://[::1]\r\n\r\n");
        assert!(!from_another_site(&six));
    }
}
