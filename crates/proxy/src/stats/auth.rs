//! `stats auth`: who may see the page.

use crate::config::StatsPage;
use crate::stream::Stream;
use crate::users::{Basic, same};

/// Whether a request may see the page: anyone, where the page has no users.
pub fn allowed(page: &StatsPage, stream: &Stream) -> bool {
    page.users.is_empty() || Basic::of(stream).is_some_and(|given| has(page, &given))
}

fn has(page: &StatsPage, given: &Basic) -> bool {
    // Every user is looked at, so that the time says nothing about them.
    page.users.iter().fold(false, |found, (name, secret)| {
        found | (same(name, given.user()) & same(secret, given.password()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::sample;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    fn request(authorization: &str) -> Stream {
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
}
