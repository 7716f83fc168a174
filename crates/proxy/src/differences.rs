//! Where this data plane differs from HAProxy, and why: the table that the
//! manual prints and that the tests which hold both against each other name by
//! its keys. A difference that is not written down here is a mistake.

use language::manual::Difference;

/// All of them, by what they are about.
pub static DIFFERENCES: &[Difference] = &[
    Difference {
        key: "body-cut",
        about: "mode",
        haproxy: "Passes a body on that ends too early over TLS or in chunks, as if it were whole.",
        here: "A body that breaks off (TLS without close_notify, chunks without an end) is never passed on as whole: the client's connection is broken off, too.",
        reason: "The client must be able to tell a whole file from half of one.",
    },
    Difference {
        key: "http2-host",
        about: "proto",
        haproxy: "Takes HTTP/2 requests whose `host` differs from `:authority`, user names in addresses, and bytes above 127 in paths.",
        here: "These requests are refused.",
        reason: "Two programs on the way could understand them in two ways, which is how requests are smuggled past rules.",
    },
    Difference {
        key: "http2-header-list",
        about: "tune.bufsize",
        haproxy: "Ends the stream of a header list that is too long.",
        here: "The request is answered with 431, and the connection lives on.",
        reason: "A browser shows what is wrong; other requests of the same connection are not its matter.",
    },
    Difference {
        key: "resumption-ignored-errors",
        about: "crt-ignore-err",
        haproxy: "Resumes TLS sessions of clients whose certificates had errors that are ignored.",
        here: "Such sessions are not resumed.",
        reason: "A resumed session shows no error to `ssl_c_verify`: what was known of the client would be lost.",
    },
    Difference {
        key: "ticket-keys-admin",
        about: "stats socket",
        haproxy: "`show tls-keys` prints keys to operators of every level.",
        here: "It needs the level `admin`.",
        reason: "Who has the keys reads recorded traffic.",
    },
    Difference {
        key: "redispatch-pause",
        about: "option redispatch",
        haproxy: "Waits a second before each retry, except where another server is taken.",
        here: "The same, but for a retry to another server nothing is waited for, whatever the interval says.",
        reason: "A stream that belongs to no server gains nothing by waiting for the one that failed.",
    },
    Difference {
        key: "early-data",
        about: "allow-0rtt",
        haproxy: "Hands early data to rules before the handshake is done.",
        here: "Early data is accepted and held until the handshake is done.",
        reason: "What may be a replay reaches no rule and no server; the round trip is not saved.",
    },
    Difference {
        key: "hash-redispatch",
        about: "option redispatch",
        haproxy: "A stream that a hash led to a server that refuses it is never sent elsewhere before checks find that server down.",
        here: "It is sent to the next server of the table or ring at the retry that the interval says, the last one by default.",
        reason: "That is what the manual promises for `option redispatch`; else a server that is down and not checked fails all of its keys.",
    },
    Difference {
        key: "hash-ring",
        about: "hash-type",
        haproxy: "`consistent` puts servers on a ring of its own making.",
        here: "The ring has the same properties, and leads a key to another server than HAProxy's does; `map-based` leads it to the same.",
        reason: "Where the points of that ring lie is described nowhere.",
    },
    Difference {
        key: "hash-wt6",
        about: "hash-type",
        haproxy: "`wt6` is a function of its own.",
        here: "Another function of the same use stands in for it, with a warning.",
        reason: "It is described nowhere but in HAProxy's source.",
    },
    Difference {
        key: "cookie-version-2",
        about: "cookie",
        haproxy: "Rewrites cookies in `Set-Cookie2` headers, too, and takes them out wrongly.",
        here: "Such headers pass as they are.",
        reason: "No browser has known them since 2011 (RFC 6265).",
    },
    Difference {
        key: "dispatch-name",
        about: "dispatch",
        haproxy: "Logs and statistics show no server for what `dispatch` and `transparent` lead to.",
        here: "They show a server named `dispatch` or `transparent`, with its counters.",
        reason: "Whoever looks for the reason of an error finds where the stream went.",
    },
    Difference {
        key: "last-server-full",
        about: "max-keep-alive-queue",
        haproxy: "A client waits for its full last server, however long the queue, unless this line bounds it.",
        here: "It goes to another server at once, unless this line lets it wait.",
        reason: "A kept connection saves a millisecond; a queue costs more.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_difference_has_a_key_of_its_own_and_is_about_something_that_exists() {
        let rows = crate::keyword::registry().documented();
        let mut keys = HashSet::new();
        for difference in DIFFERENCES {
            assert!(keys.insert(difference.key), "{}", difference.key);
            assert_eq!(language::manual::slug(difference.key), difference.key);
            let found = language::manual::look_up(difference.about, &rows);
            assert!(!found.rows.is_empty(), "no keyword {}", difference.about);
            for text in [difference.haproxy, difference.here, difference.reason] {
                assert!(text.ends_with('.'), "{}: {text}", difference.key);
            }
        }
    }
}
