//! Explains the termination state of a log line: the two or four letters of `%ts` and `%tsc`.

/// Pairs of letters that logs print for `%ts`, or single first letters, with their meanings.
pub static STATES: &[(&str, &str)] = &[
    (
        "--",
        "Normal end: both sides closed, or the whole response was sent.",
    ),
    (
        "CC",
        "The client aborted while the server connection was being established, for example when a server does not \
         respond and users press reload; see `timeout connect`.",
    ),
    (
        "CD",
        "The client aborted during data transfer: a closed browser, a cancelled download, or a crash of the client. \
         Harmless in small numbers.",
    ),
    (
        "cD",
        "The client was inactive for `timeout client`. Often a client that disappeared from the network.",
    ),
    (
        "CH",
        "The client aborted while waiting for the server's response: the server or the application is slow. With \
         `option abortonclose` it may also have been in the queue.",
    ),
    (
        "cH",
        "`timeout client` expired while the request body was still arriving. The client is slow, or `timeout client` \
         is shorter than `timeout server`.",
    ),
    (
        "CQ",
        "The client aborted while its request was queued: the servers are saturated, see `maxconn` and `timeout \
         queue`.",
    ),
    (
        "cQ",
        "`timeout client` expired while the request was queued.",
    ),
    (
        "CR",
        "The client aborted before it had sent a complete request: a port scan, a preconnecting browser, or telnet. \
         See `option http-ignore-probes` and `option dontlognull`.",
    ),
    (
        "cR",
        "`timeout http-request` expired before the complete request arrived: a slow or manual client, lost packets, \
         or a slow-request attack. Status 408.",
    ),
    ("CT", "The client aborted while it was held in a tarpit."),
    (
        "LC",
        "The proxy itself responded while a server connection was due.",
    ),
    ("LH", "A rule for responses replaced the response."),
    (
        "LR",
        "The proxy itself responded: a redirect, `http-request return`, the statistics page, `monitor-uri`, or \
         `redir` of a server.",
    ),
    (
        "PC",
        "The proxy did not connect to the server: a limit of the process or of the system was reached.",
    ),
    (
        "PD",
        "The proxy rejected a response whose body violates HTTP.",
    ),
    (
        "PH",
        "The proxy rejected the response: it is malformed (see `show errors`), its headers are too large for \
         `tune.bufsize`, or `http-response deny` applied. Status 502.",
    ),
    (
        "PR",
        "The proxy rejected the request: malformed (400, see `show errors`), too large, or denied by a rule such as \
         `http-request deny` (403).",
    ),
    (
        "PT",
        "`http-request tarpit` held the client, which got its error after `timeout tarpit`.",
    ),
    (
        "RC",
        "No local resource for the server connection: source ports, sockets or memory. See the system logs.",
    ),
    (
        "SC",
        "The server, or a device on the path, refused the connection: no listener, or a firewall rejects. Or no server \
         could be chosen: all are down, in maintenance, draining, or have weight 0; then the log has `<NOSRV>`. Status 503.",
    ),
    (
        "sC",
        "`timeout connect` expired before the server connection was established: the server is down, overloaded, or a \
         firewall drops packets. Status 503.",
    ),
    (
        "SD",
        "The server connection broke during data transfer: the server crashed, or an intermediate device dropped the \
         connection. The client may have an incomplete file.",
    ),
    (
        "sD",
        "The server was inactive for `timeout server`: it is stuck, or `timeout server` (for WebSocket and CONNECT \
         `timeout tunnel`) is too short.",
    ),
    (
        "SH",
        "The server closed the connection before it had sent complete response headers: it crashed on the request. \
         Status 502.",
    ),
    (
        "sH",
        "`timeout server` expired before the response headers arrived: the server or its database is overloaded. \
         Status 504.",
    ),
    (
        "SQ",
        "The server refused the connection while the request was queued for it.",
    ),
    (
        "sQ",
        "The request was queued for `timeout queue`: the servers are saturated, see `maxconn`. Status 503.",
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
        "First letter: an operator ended it with `shutdown session` or `shutdown sessions server`.",
    ),
    (
        "I",
        "First letter: an internal error; see the log. Please report it.",
    ),
];

/// The third and fourth letter of `%tsc`, about the persistence cookie, with their meanings.
pub static COOKIES: &[(&str, &str)] = &[
    (
        "--N-",
        "Third letter: the client had no persistence cookie. A new visitor.",
    ),
    (
        "--I-",
        "Third letter: the cookie names no server of this backend: the server was removed or renamed, or the cookie \
         is forged.",
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
        "Third letter: the cookie was last set before `maxidle`, so the request was balanced again.",
    ),
    (
        "--O-",
        "Third letter: the cookie was first set before `maxlife`, so the request was balanced again.",
    ),
    (
        "--U-",
        "Third letter: the cookie was not used, because another rule such as `use-server` selected the server.",
    ),
    (
        "---N",
        "Fourth letter: the server set no cookie, and none was inserted.",
    ),
    ("---I", "Fourth letter: the proxy inserted the cookie."),
    (
        "---U",
        "Fourth letter: the proxy inserted the cookie again with a new date (`maxidle`).",
    ),
    (
        "---P",
        "Fourth letter: the server's own cookie was passed through.",
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

/// Explains the four letters in a log line, with one sentence or more for each statement that the
/// letters make.
pub fn meaning(letters: [u8; 4]) -> Vec<&'static str> {
    let [first, second, third, fourth] = letters.map(char::from);
    let of = |table: &[(&str, &'static str)], name: &str| {
        let row = table.iter().find(|(row, _)| *row == name);
        row.map(|(_, words)| *words)
    };
    let pair = of(STATES, &format!("{first}{second}"));
    let pair = pair.or_else(|| of(STATES, &first.to_string()));
    let cookies = [format!("--{third}-"), format!("---{fourth}")];
    let set = cookies.iter().zip([third, fourth]);
    let set = set.filter(|(_, letter)| *letter != '-');
    let cookies = set.filter_map(|(name, _)| of(COOKIES, name));
    pair.into_iter().chain(cookies).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_explained_one_by_one() {
        let begins = |letters: &[u8; 4]| -> Vec<&str> {
            let all = meaning(*letters).into_iter();
            all.map(|words| words.split(':').next().unwrap_or_default())
                .collect()
        };
        assert_eq!(begins(b"----"), ["Normal end"]);
        assert_eq!(
            begins(b"--NI"),
            ["Normal end", "Third letter", "Fourth letter"]
        );
        assert_eq!(
            begins(b"KDVN"),
            ["First letter", "Third letter", "Fourth letter"]
        );
        assert!(begins(b"\xff\0zz").is_empty());
    }
}
