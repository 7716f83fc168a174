//! Decides about lines on the wrong side of a proxy. HAProxy ignores a line about servers in a
//! `frontend`, and a line about clients in a `backend`, with a warning; some lines it refuses.
//! These rules do not apply to `defaults` or to sections other than proxies.

/// Keywords that HAProxy refuses on the wrong side instead of ignoring them.
const REFUSED: &[&str] = &[
    "declare capture",
    "default-server",
    "server",
    "server-template",
    "tcp-request connection",
    "tcp-request session",
    "tcp-response content",
    "tcp-response inspect-delay",
    "use-fcgi-app",
];

/// Keywords with the same meaning on the other side.
const COUNTERPARTS: &[(&str, &str)] = &[
    ("maxconn", "fullconn"),
    ("fullconn", "maxconn"),
    ("default_backend", "use-server"),
    ("option clitcpka", "option srvtcpka"),
    ("option srvtcpka", "option clitcpka"),
];

/// Returns the capability that a section lacks for a keyword of the other side, whose line is then
/// ignored with a warning. Returns None if the line has to be refused.
pub(super) fn missing_capability(name: &str, places: &[&str], place: &str) -> Option<&'static str> {
    let of_one_side =
        places.contains(&"listen") && (places.contains(&"frontend") != places.contains(&"backend"));
    if !of_one_side || REFUSED.contains(&name) {
        return None;
    }
    match place {
        "frontend" if !places.contains(&"frontend") => Some("backend"),
        "backend" if !places.contains(&"backend") => Some("frontend"),
        _ => None,
    }
}

pub(super) fn keyword_of_other_side(name: &str) -> Option<&'static str> {
    COUNTERPARTS
        .iter()
        .find(|(one, _)| *one == name)
        .map(|(_, other)| *other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::places::{ALL, BACK, BACK_ONLY, FRONT, FRONT_ONLY};

    #[test]
    fn lines_of_the_other_side_are_ignored_unless_haproxy_refuses_them() {
        let cases: &[(&str, &[&str], &str, Option<&str>)] = &[
            ("timeout client", FRONT, "backend", Some("frontend")),
            ("bind", FRONT_ONLY, "backend", Some("frontend")),
            ("bind", FRONT_ONLY, "defaults", None),
            ("balance", BACK, "frontend", Some("backend")),
            ("balance", BACK, "global", None),
            ("server", BACK_ONLY, "frontend", None),
            ("tcp-request connection", FRONT, "backend", None),
            ("mode", ALL, "global", None),
            ("daemon", &["global"], "frontend", None),
        ];
        for (name, places, place, expected) in cases {
            assert_eq!(
                missing_capability(name, places, place),
                *expected,
                "{name} in {place}"
            );
        }
    }
}
