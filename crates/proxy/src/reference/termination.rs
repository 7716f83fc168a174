//! The two or four letters of `%ts` and `%tsc`: how and where a stream ended.

use super::row;
use language::keyword::Documented;

const FAMILY: &str = "Termination states";

/// Pairs of letters that logs show.
static STATES: &[(&str, &str)] = &[
    (
        "--",
        "Normal end: both sides closed, or the whole response was sent.",
    ),
    (
        "CC",
        "The client aborted while the connection to the server was being made. Happens when a server does not respond and users press reload; see `timeout connect`.",
    ),
    (
        "CD",
        "The client aborted while data was moving: the browser was closed, the download cancelled, or the client crashed. Harmless in small numbers.",
    ),
    (
        "cD",
        "The client neither sent nor took data for `timeout client`. Often a client that disappeared from the network.",
    ),
    (
        "CH",
        "The client aborted while waiting for the server's response: the server or the application is slow. With `option abortonclose` it may also have left the queue.",
    ),
    (
        "cH",
        "`timeout client` struck while the request's body was awaited during the wait for the server's response. The client is slow, or `timeout client` is shorter than `timeout server`.",
    ),
    (
        "CQ",
        "The client aborted while its request waited in the queue: servers are saturated, see `maxconn` and `timeout queue`.",
    ),
    (
        "cQ",
        "`timeout client` struck while the request waited in the queue.",
    ),
    (
        "CR",
        "The client aborted before it had sent a whole request: a port scan, a browser's connection made in advance, or a telnet. See `option http-ignore-probes` and `option dontlognull`.",
    ),
    (
        "cR",
        "`timeout http-request` struck before the whole request came: a slow or manual client, lost packets, or an attack by slow requests. Status 408.",
    ),
    ("CT", "The client aborted while it was held in a tarpit."),
    (
        "LC",
        "The request was answered here while a connection to a server was due.",
    ),
    ("LH", "The response was made here by a rule for responses."),
    (
        "LR",
        "The request was answered here: a redirection, `http-request return`, the statistics page, `monitor-uri`, or `redir` of a server.",
    ),
    (
        "PC",
        "The proxy refused to make the connection to the server: a limit of the process or of the system was met.",
    ),
    (
        "PD",
        "The proxy refused a response whose body breaks the rules of HTTP.",
    ),
    (
        "PH",
        "The proxy refused the response: it is malformed (see `show errors`), its headers are too long for `tune.bufsize`, or `http-response deny` said so. Status 502.",
    ),
    (
        "PR",
        "The proxy refused the request: malformed (400, see `show errors`), too long, or denied by a rule such as `http-request deny` (403).",
    ),
    (
        "PT",
        "The client was held by `http-request tarpit`, and got its error when `timeout tarpit` was over.",
    ),
    (
        "RC",
        "No local resource for the connection to the server: source ports, sockets or memory. Logs of the system say more.",
    ),
    (
        "SC",
        "The server, or something on the way, refused the connection: nothing listens there, or a firewall rejects. Status 503.",
    ),
    (
        "sC",
        "`timeout connect` struck before the connection to the server was made: the server is off, saturated, or a firewall drops. Status 503.",
    ),
    (
        "SD",
        "The connection to the server broke while data was moving: the server crashed, or an intermediate device forgot the connection. The client may have an incomplete file.",
    ),
    (
        "sD",
        "The server neither sent nor took data for `timeout server`: it is stuck, or `timeout server` (for WebSocket and CONNECT `timeout tunnel`) is too short.",
    ),
    (
        "SH",
        "The server closed before it had sent whole response headers: it crashed on the request. Status 502.",
    ),
    (
        "sH",
        "`timeout server` struck before the response headers came: the server or its database is overloaded. Status 504.",
    ),
    (
        "SQ",
        "The server refused the connection while the request was queued for it.",
    ),
    (
        "sQ",
        "The request waited in the queue for `timeout queue`: servers are saturated, see `maxconn`. Status 503.",
    ),
    (
        "D",
        "First letter: the server went down and `on-marked-down shutdown-sessions` ended its sessions.",
    ),
    (
        "U",
        "First letter: an active server came up and `on-marked-up shutdown-backup-sessions` ended the sessions of backup servers.",
    ),
    (
        "K",
        "First letter: an operator ended it by `shutdown session` or `shutdown sessions server`.",
    ),
    (
        "I",
        "First letter: an internal error; the log has more. Please report it.",
    ),
];

/// Letters in third and fourth place, of `%tsc`.
static COOKIES: &[(&str, &str)] = &[
    (
        "--N-",
        "Third letter: the client had no persistence cookie. A new visitor.",
    ),
    (
        "--I-",
        "Third letter: the cookie names no server of this backend: a server was removed or renamed, or the cookie was made up.",
    ),
    (
        "--D-",
        "Third letter: the cookie names a server that is down. The request goes to another one with `option redispatch`, or to the server anyway with `option persist`.",
    ),
    (
        "--V-",
        "Third letter: the cookie is valid and the request went to its server.",
    ),
    (
        "--E-",
        "Third letter: the cookie is valid, but older than `maxidle` or `maxlife` allow; the request was balanced anew.",
    ),
    (
        "--O-",
        "Third letter: the cookie is valid, has no date, and was accepted as if it had just been set.",
    ),
    (
        "--U-",
        "Third letter: the cookie was not used, since the server was chosen by other means such as `use-server`.",
    ),
    (
        "---N",
        "Fourth letter: the server set no cookie, and none was inserted.",
    ),
    ("---I", "Fourth letter: the proxy inserted the cookie."),
    (
        "---U",
        "Fourth letter: the proxy inserted the cookie again with another date (`maxidle`).",
    ),
    (
        "---P",
        "Fourth letter: the server's own cookie was passed on.",
    ),
    (
        "---R",
        "Fourth letter: the server's cookie was rewritten (`cookie … rewrite` or `prefix`).",
    ),
    (
        "---D",
        "Fourth letter: the server's cookie was removed from the response.",
    ),
    (
        "----",
        "Four letters: normal end, and the backend has no persistence cookie.",
    ),
];

pub(super) fn documented() -> Vec<Documented> {
    let pairs = STATES.iter().chain(COOKIES);
    let of = |(name, doc): &(&'static str, &'static str)| {
        row("termination state", FAMILY, (name, name, doc))
    };
    pairs.map(of).collect()
}

/// What four letters of a log say (`sD--`, `--NI`, `SHVN`), one row for each thing that
/// they tell; empty where they are no such letters.
pub fn letters(name: &str) -> Vec<Documented> {
    let (Some(pair), Some(third), Some(fourth)) = (name.get(..2), name.get(2..3), name.get(3..))
    else {
        return Vec::new();
    };
    if fourth.len() != 1 {
        return Vec::new();
    }
    let mut wanted = vec![pair.to_owned()];
    wanted.extend((third != "-").then(|| format!("--{third}-")));
    wanted.extend((fourth != "-").then(|| format!("---{fourth}")));
    let all = documented();
    let row = |name: &String| all.iter().find(|row| row.name == name).copied();
    wanted
        .iter()
        .map(row)
        .collect::<Option<_>>()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Phase, Termination};

    #[test]
    fn four_letters_are_told_by_their_parts() {
        let told = |name: &str| -> Vec<&str> { letters(name).iter().map(|r| r.name).collect() };
        assert_eq!(told("sD--"), ["sD"]);
        assert_eq!(told("--NI"), ["--", "--N-", "---I"]);
        assert_eq!(told("SHVN"), ["SH", "--V-", "---N"]);
        for none in ["sD", "sDxx", "", "sD--x", "sé--", "keyword"] {
            assert!(told(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn each_letter_that_logs_show_is_in_the_table() {
        let firsts: Vec<char> = STATES
            .iter()
            .filter_map(|(n, _)| n.chars().next())
            .collect();
        let seconds: Vec<char> = STATES
            .iter()
            .filter_map(|(n, _)| n.chars().nth(1))
            .collect();
        use Termination::*;
        for one in [
            Normal,
            ClientAbort,
            ClientTimeout,
            ServerAbort,
            ServerTimeout,
            Proxy,
            Resource,
            Internal,
            ServerDown,
            ServerUp,
            Killed,
            Local,
        ] {
            assert!(firsts.contains(&char::from(one.letter())), "{one:?}");
        }
        for one in [
            Phase::Request,
            Phase::Queue,
            Phase::Connect,
            Phase::Headers,
            Phase::Data,
            Phase::Tarpit,
            Phase::Done,
        ] {
            assert!(seconds.contains(&char::from(one.letter())), "{one:?}");
        }
    }
}
