//! Lists in which behaviour this proxy differs from HAProxy, each difference with its reason. The
//! manual prints this table, and the tests that compare both programs refer to its keys. A
//! difference that is not in the table is a bug.

mod lines;
#[cfg(test)]
mod tests;

use language::manual::{Applies, Difference};
use lines::*;

pub static DIFFERENCES: &[Difference] = &[
    Difference {
        key: "body-cut",
        about: "mode",
        kinds: &["keyword"],
        haproxy: "Forwards a truncated body (over TLS or in chunks) as if it were complete.",
        evenkeel: "A truncated body (TLS without close_notify, chunks without an end) also closes the client's connection.",
        reason: "The client must be able to distinguish a complete file from a truncated one.",
        applies: Applies::ToHttp,
    },
    Difference {
        key: "http2-host",
        about: "proto",
        kinds: &["bind option"],
        haproxy: "Accepts HTTP/2 requests whose `host` differs from `:authority`, with user names in addresses, or \
            with bytes above 127 in paths.",
        evenkeel: "These requests are refused.",
        reason: "Two programs on the path could interpret them differently, which allows request smuggling.",
        applies: Applies::To(bind_with_http2),
    },
    Difference {
        key: "http2-header-list",
        about: "tune.bufsize",
        kinds: &["keyword"],
        haproxy: "Resets the stream when its headers are too large.",
        evenkeel: "The request gets status 431 and the connection continues, unless it sends several dozen such requests \
            at once.",
        reason: "A browser shows the error; other requests of the connection are not affected.",
        applies: Applies::To(bind_with_http2),
    },
    Difference {
        key: "resumption-ignored-errors",
        about: "crt-ignore-err",
        kinds: &["bind option"],
        haproxy: "Resumes TLS sessions of clients whose certificates had ignored errors.",
        evenkeel: "Such sessions are not resumed.",
        reason: "A resumed session has no error in `ssl_c_verify`, so rules could no longer see it.",
        applies: Applies::To(|line| {
            is_bind(line) && line.contains_any_name(&["crt-ignore-err", "ca-ignore-err"])
        }),
    },
    Difference {
        key: "forward-secrecy",
        about: "ciphers",
        kinds: &["bind option", "server option"],
        haproxy: "Supports cipher suites with RSA key exchange (`AES256-GCM-SHA384`, `kRSA`) or finite-field \
            Diffie-Hellman (`DHE-RSA-AES256-GCM-SHA384`, `ssl-dh-param-file`).",
        evenkeel: "Only supports key exchange with elliptic curves or ML-KEM. Other ciphers of a list are ignored with a \
            warning; a list without any supported one is refused.",
        reason: "With RSA key exchange, anyone who gets the server's key can decrypt recorded traffic, and its \
            padding has been attacked repeatedly. Every TLS 1.2 client supports ECDHE.",
        applies: Applies::To(|line| has_option(line, "ssl")),
    },
    Difference {
        key: "dynamic-servers-kept",
        about: "stats socket",
        kinds: &["keyword"],
        haproxy: "A reload loses servers created by `add server`, unless they were also written into the file.",
        evenkeel: "They are kept over a reload, an upgrade and the death of the role, until `del server` removes them or \
            the file has a server with their name. A server of the file removed by `del server` stays removed over an \
            upgrade and the death of the role, and returns with a reload.",
        reason: "A reload for another reason should not lose servers; an edit of the file determines the servers of \
            the file.",
        applies: Applies::To(|line| line.starts_with_words(&["stats", "socket"])),
    },
    Difference {
        key: "dynamic-servers-idle",
        about: "stats socket",
        kinds: &["keyword"],
        haproxy: "`del server` is refused while there are idle connections to the server.",
        evenkeel: "Idle connections are closed; only sessions and a queue prevent the removal.",
        reason: "Idle connections serve no client, and a server in maintenance gets no session that could use them.",
        applies: Applies::To(|line| line.starts_with_words(&["stats", "socket"])),
    },
    Difference {
        key: "ticket-keys-admin",
        about: "stats socket",
        kinds: &["keyword"],
        haproxy: "`show tls-keys` prints keys at every level.",
        evenkeel: "It requires the level `admin`.",
        reason: "The keys decrypt recorded traffic.",
        applies: Applies::Beside(
            |line| line.starts_with_words(&["stats", "socket"]) && !line.has(&["level", "admin"]),
            |line| is_bind(line) && has_option(line, "ssl"),
        ),
    },
    Difference {
        key: "lists-operator",
        about: "stats socket",
        kinds: &["keyword"],
        haproxy: "`add map`, `set map`, `clear acl` and similar commands work at every level, even `user`.",
        evenkeel: "They require the level `operator`.",
        reason: "A read-only connection must not change which clients are allowed.",
        applies: Applies::To(|line| {
            line.starts_with_words(&["stats", "socket"]) && line.has(&["level", "user"])
        }),
    },
    Difference {
        key: "secret-values",
        about: "stats socket",
        kinds: &["keyword"],
        haproxy: "`show env` and `get var` show all values at the level `operator`, and `show acl` and `show map` all \
            entries at the level `user`.",
        evenkeel: "Below the level `admin`, values of variables whose names say that they are secret (`API_TOKEN`) or which rules use as credentials, passwords \
            in URLs, patterns that are compared with credentials (`req.hdr(x-api-key)`), entries of files that are \
            used for credentials (`req.hdr(x-api-key) -f clients.lst`, `set-header Authorization %[src,map_ip(a.map)]`) \
            and entries of files such as `tokens.map` are `***`.",
        reason: "An operator may drain servers, but does not need the keys of the installation.",
        applies: Applies::To(|line| {
            line.starts_with_words(&["stats", "socket"]) && !line.has(&["level", "admin"])
        }),
    },
    Difference {
        key: "redispatch-pause",
        about: "option redispatch",
        kinds: &["keyword"],
        haproxy: "Waits one second before each retry, except for another server.",
        evenkeel: "The same, but a retry on another server never waits, regardless of the interval.",
        reason: "A stream without persistence gains nothing by waiting for the failed server.",
        applies: Applies::To(|line| {
            line.starts_with_any(&[&["option", "redispatch"], &["redispatch"]])
        }),
    },
    Difference {
        key: "tables-bytes",
        about: "stick-table",
        kinds: &["keyword"],
        haproxy: "`bytes_in_cnt` and similar counters count HTTP messages as stored in memory, which differs slightly \
            from the transferred bytes.",
        evenkeel: "They count transferred bytes.",
        reason: "They agree with the statistics and logs.",
        applies: Applies::To(|line| {
            line.contains_any_name(&[
                "bytes_in_cnt",
                "bytes_out_cnt",
                "bytes_in_rate",
                "bytes_out_rate",
            ])
        }),
    },
    Difference {
        key: "tables-oldest",
        about: "stick-table",
        kinds: &["keyword"],
        haproxy: "A full table removes the oldest of all its entries.",
        evenkeel: "Tables of up to 4096 entries do the same; larger ones remove the oldest entry of one of 64 parts.",
        reason: "Threads do not wait for each other.",
        applies: Applies::To(|line| {
            is_table(line) && table_size(line).is_none_or(|size| size > 4096)
        }),
    },
    Difference {
        key: "table-trackers",
        about: "table_trackers",
        kinds: &["converter"],
        haproxy: "Counts the current evaluation as a tracker of the entry.",
        evenkeel: "Counts only real trackers.",
        reason: "`sc_trackers` of the same entry returns the same.",
        applies: Applies::To(|line| line.names("table_trackers")),
    },
    Difference {
        key: "sc-tracked-table",
        about: "sc_tracked",
        kinds: &["fetch"],
        haproxy: "With a table argument, returns whether the counter tracks anything, regardless of that table.",
        evenkeel: "With a table argument, returns whether that table has an entry with the same key.",
        reason: "All other counter fetches look into the named table.",
        applies: Applies::To(tracked_in_table),
    },
    Difference {
        key: "table-key-text",
        about: "stick-table",
        kinds: &["keyword"],
        haproxy: "`set table` reads text that is not an address as `0.0.0.0`, `5x` as 5, and refuses IPv4 addresses \
            for an IPv6 table.",
        evenkeel: "Invalid keys are refused, and IPv4 addresses are mapped as when they are tracked.",
        reason: "A typo must not change another entry.",
        applies: Applies::Beside(is_table, |line| {
            line.starts_with_words(&["stats", "socket"])
        }),
    },
    Difference {
        key: "abort-split",
        about: "option abortonclose",
        kinds: &["keyword"],
        haproxy: "In a backend alone it does not end requests of clients that closed after a complete request; the \
            frontend needs it, too.",
        evenkeel: "The line in the backend is enough.",
        reason: "The manual allows the line there.",
        applies: Applies::To(|line| {
            line.section == "backend" && line.starts_with_words(&["option", "abortonclose"])
        }),
    },
    Difference {
        key: "slowstart-steps",
        about: "slowstart",
        kinds: &["server option"],
        haproxy: "A server's weight grows in steps of 1/16, beginning with one step.",
        evenkeel: "It grows in steps of 1/100.",
        reason: "A cold server gets less traffic at first.",
        applies: Applies::To(|line| is_server(line) && line.names("slowstart")),
    },
    Difference {
        key: "turns-of-weights",
        about: "balance",
        kinds: &["keyword"],
        haproxy: "`roundrobin` over servers with different weights starts somewhere in the middle of a round.",
        evenkeel: "It starts with the first server. In both, each server gets its weight in a complete round.",
        reason: "The first server rarely matters.",
        applies: Applies::To(|line| is_server(line) && line.has(&["weight"])),
    },
    Difference {
        key: "peers-order",
        about: "peer",
        kinds: &["keyword"],
        haproxy: "A new process waits five seconds for its predecessor to send its tables, then asks a peer.",
        evenkeel: "Entries are passed to the next process with all other states, and a peer is asked at once.",
        reason: "The table is complete sooner.",
        applies: Applies::To(|line| line.starts_with_words(&["peer"])),
    },
    Difference {
        key: "early-data",
        about: "allow-0rtt",
        kinds: &["bind option"],
        haproxy: "Passes early data to rules before the handshake is complete.",
        evenkeel: "Early data is accepted and held until the handshake is complete.",
        reason: "A possible replay reaches no rule and no server; the round trip is not saved.",
        applies: Applies::To(|line| is_bind(line) && line.names("allow-0rtt")),
    },
    Difference {
        key: "realm-quotes",
        about: "auth",
        kinds: &["http-request action"],
        haproxy: "Sends a realm as written in the file, including quotation marks and backslashes.",
        evenkeel: "Quotation marks and backslashes in the realm are escaped with a backslash.",
        reason: "Otherwise the header is invalid, or differs from the file.",
        applies: Applies::To(|line| {
            line.starts_with_words(&["http-request", "auth"])
                && line.words.iter().any(|word| word.contains(['"', '\\']))
        }),
    },
    Difference {
        key: "password-hashes",
        about: "http_auth",
        kinds: &["fetch"],
        haproxy: "Computes the hash of a password in the serving thread, for every request.",
        evenkeel: "Other threads compute it while the rules of the request wait, once for the same user and password. If \
            too many requests wait, the response is 503.",
        reason: "Clients with wrong passwords would stall the others, because such hashes deliberately take \
            milliseconds or seconds.",
        applies: Applies::To(|line| {
            line.contains_any_name(&["http_auth", "http_auth_group"])
                || line.starts_with_words(&["stats", "auth"])
        }),
    },
    Difference {
        key: "bearer-header",
        about: "http_auth_bearer",
        kinds: &["fetch"],
        haproxy: "Returns an empty token if the named header is missing (2.6).",
        evenkeel: "There is no value.",
        reason: "`-m found` must be false for a request without a token.",
        applies: Applies::To(|line| {
            line.words
                .iter()
                .any(|word| word.contains("http_auth_bearer("))
        }),
    },
    Difference {
        key: "user-without-password",
        about: "user",
        kinds: &["keyword"],
        haproxy: "Accepts a user without a password in a list, and crashes when that user logs in.",
        evenkeel: "Such a user can never log in, and a warning reports it.",
        reason: "A request must not crash the process.",
        applies: Applies::To(|line| {
            line.section == "userlist"
                && line.starts_with_words(&["user"])
                && !line.contains_any_name(&["password", "insecure-password"])
        }),
    },
    Difference {
        key: "statistics-policy",
        about: "stats enable",
        kinds: &["keyword"],
        haproxy: "Sends the page in chunks, with inline styles and forms.",
        evenkeel: "The page has another design and a content security policy; form fields, URL parameters, CSV and JSON \
            are the same.",
        reason: "It is readable on phones, in dark mode, and without colours; a browser only runs its own script.",
        applies: Applies::To(|line| line.section != "global" && line.starts_with_words(&["stats"])),
    },
    Difference {
        key: "ub64dec",
        about: "ub64dec",
        kinds: &["converter"],
        haproxy: "Decodes padding, which this form of Base64 does not have, to an extra byte.",
        evenkeel: "Padding is ignored.",
        reason: "Padded and unpadded input mean the same bytes.",
        applies: Applies::To(|line| line.names("ub64dec")),
    },
    Difference {
        key: "port-only",
        about: "port_only",
        kinds: &["converter"],
        haproxy: "Calculates with the letters of a port that is not a number.",
        evenkeel: "It is 0, as without a port.",
        reason: "Letters are not a number.",
        applies: Applies::To(|line| line.names("port_only")),
    },
    Difference {
        key: "json-query-numbers",
        about: "json_query",
        kinds: &["converter"],
        haproxy: "Rounds a number to six digits: 12345678901234567890 becomes 1.23457e+19.",
        evenkeel: "A number is returned as written.",
        reason: "Identifiers are numbers, too, and must not lose digits.",
        applies: Applies::To(|line| line.names("json_query")),
    },
    Difference {
        key: "json-query-unicode",
        about: "json_query",
        kinds: &["converter"],
        haproxy: "Returns one byte for a character written as `\\u` with four digits.",
        evenkeel: "The character is returned in UTF-8.",
        reason: "The result is the intended text.",
        applies: Applies::To(|line| line.names("json_query")),
    },
    Difference {
        key: "jwt-query-whole",
        about: "jwt_payload_query",
        kinds: &["converter"],
        haproxy: "Has no value without a path (2.6).",
        evenkeel: "Without a path the result is the whole JSON.",
        reason: "The documentation says so, and later versions do it.",
        applies: Applies::To(|line| {
            line.contains_any_name(&["jwt_payload_query", "jwt_header_query"])
                && line
                    .words
                    .iter()
                    .any(|word| !word.contains("query('") && !word.contains("query($"))
        }),
    },
    Difference {
        key: "language-zero",
        about: "language",
        kinds: &["converter"],
        haproxy: "Returns no value if a language with weight 0 precedes others (2.6).",
        evenkeel: "That language is ignored, and the others apply.",
        reason: "A weight of 0 excludes only that language.",
        applies: Applies::To(|line| line.words.iter().any(|word| word.contains(",language("))),
    },
    Difference {
        key: "mqtt-properties",
        about: "mqtt_field_value",
        kinds: &["converter"],
        haproxy: "Returns 0 for a numeric property that a CONNACK does not have.",
        evenkeel: "A missing property has no value.",
        reason: "0 would be a limit that was never set.",
        applies: Applies::To(|line| line.names("mqtt_field_value")),
    },
    Difference {
        key: "fix-empty-value",
        about: "fix_is_valid",
        kinds: &["converter"],
        haproxy: "Accepts a tag without a value (2.6).",
        evenkeel: "It makes the message invalid.",
        reason: "HAProxy's manual and the FIX standard define it that way.",
        applies: Applies::To(|line| line.names("fix_is_valid")),
    },
    Difference {
        key: "protobuf-float",
        about: "protobuf",
        kinds: &["converter"],
        haproxy: "Turns a negative number of the type `float` into a large one (2.6).",
        evenkeel: "It stays negative.",
        reason: "The sign is part of the number.",
        applies: Applies::To(|line| line.names("protobuf")),
    },
    Difference {
        key: "ungrpc-compressed",
        about: "ungrpc",
        kinds: &["converter"],
        haproxy: "Reads the bytes of a compressed message as fields.",
        evenkeel: "A compressed message has no fields.",
        reason: "The result would be random.",
        applies: Applies::To(|line| line.names("ungrpc")),
    },
    Difference {
        key: "capture-req",
        about: "capture.req.uri",
        kinds: &["fetch"],
        haproxy: "Knows method and target of the request only if something logs requests (2.6).",
        evenkeel: "They are always known.",
        reason: "A rule should not depend on a log format.",
        applies: Applies::To(|line| {
            line.contains_any_name(&["capture.req.uri", "capture.req.method", "capture.req.ver"])
        }),
    },
    Difference {
        key: "cook-val",
        about: "cook_val",
        kinds: &["fetch"],
        haproxy: "Calculates with the characters of a cookie that is not a number.",
        evenkeel: "It is 0.",
        reason: "Other characters are not a number.",
        applies: Applies::To(|line| {
            line.contains_any_name(&["cook_val", "req.cook_val", "res.cook_val", "scook_val"])
        }),
    },
    Difference {
        key: "res-cook-cnt",
        about: "res.cook_cnt",
        kinds: &["fetch"],
        haproxy: "Without a name, also counts the attributes of Set-Cookie headers.",
        evenkeel: "Only cookies are counted.",
        reason: "`path=/` is not a cookie.",
        applies: Applies::To(|line| line.contains_any_name(&["res.cook_cnt", "scook_cnt"])),
    },
    Difference {
        key: "url-ip",
        about: "url_ip",
        kinds: &["fetch"],
        haproxy: "Only sees IPv4 addresses in a URL, and so does `url_port`.",
        evenkeel: "IPv6 addresses in brackets are seen, too.",
        reason: "They are equally valid hosts.",
        applies: Applies::To(|line| line.contains_any_name(&["url_ip", "url_port"])),
    },
    Difference {
        key: "lines-framing",
        about: "reqrep",
        kinds: &["keyword"],
        haproxy: "In HAProxy 1.x a req or rsp rule could produce any message: another version, a request without a \
            target, two lengths.",
        evenkeel: "The version, `content-length` and `transfer-encoding` do not change. Invalid methods, statuses and \
            lines, and those that would move the end of a message, get status 400 (responses: 502).",
        reason: "If two sides interpret a message differently, requests can be smuggled.",
        applies: Applies::To(edits_lines),
    },
    Difference {
        key: "regex-limit",
        about: "reqdeny",
        kinds: &["keyword"],
        haproxy: "In HAProxy 1.x a regular expression could take any time.",
        evenkeel: "A regular expression with backtracking (look-around, back-references) may take a hundred thousand steps \
            per line; beyond that the message is refused.",
        reason: "Clients choose the lines. They must neither overload the proxy nor bypass a rule.",
        applies: Applies::To(|line| edits_lines(line) && backtracks(line)),
    },
    Difference {
        key: "one-process",
        about: "nbproc",
        kinds: &["keyword"],
        haproxy: "HAProxy up to 2.4 started this number of processes; later versions refuse the line.",
        evenkeel: "It is the number of threads of one process. Settings for one of the processes apply to all threads.",
        reason: "Threads share limits, counters and tables, which processes never did.",
        applies: Applies::To(|line| line.starts_with_words(&["nbproc"])),
    },
    Difference {
        key: "duplicate-names",
        about: "server",
        kinds: &["keyword"],
        haproxy: "HAProxy 1.x accepted two proxies, or two servers of one backend, with the same name; later versions \
            refuse the file.",
        evenkeel: "In a file with other old syntax the second one is renamed (`app-2`), with a warning; otherwise the \
            file is refused.",
        reason: "Counters, states and operators need unique names.",
        applies: Applies::Told("duplicate name"),
    },
    Difference {
        key: "hash-redispatch",
        about: "option redispatch",
        kinds: &["keyword"],
        haproxy: "A stream whose hash selects a server that refuses connections is never sent elsewhere before health \
            checks mark that server down.",
        evenkeel: "It is sent to the next server of the table or ring at the retry given by the interval, by default the \
            last one.",
        reason: "The manual promises that for `option redispatch`. Otherwise a server that is down but not checked \
            fails all of its keys.",
        applies: Applies::Beside(
            |line| line.starts_with_any(&[&["option", "redispatch"], &["redispatch"]]),
            balances_by_hash,
        ),
    },
    Difference {
        key: "content-rules-once",
        about: "tcp-request inspect-delay",
        kinds: &["keyword"],
        haproxy: "When a condition waits for more bytes, runs the content rules before it again for each piece that \
            arrives, also those that count (`sc-inc-gpc0`).",
        evenkeel: "The rules before it run again, so that they see the new bytes, but a rule that counts, asks another \
            program or takes time runs once.",
        reason: "The size of a client's packets must not decide how often it is counted.",
        applies: Applies::To(|line| {
            line.starts_with_any(&[
                &["tcp-request", "inspect-delay"],
                &["tcp-response", "inspect-delay"],
            ])
        }),
    },
    Difference {
        key: "cookie-version-2",
        about: "cookie",
        kinds: &["keyword"],
        haproxy: "Also rewrites cookies in `Set-Cookie2` headers, and removes them incorrectly.",
        evenkeel: "These headers pass unchanged.",
        reason: "Browsers have not supported them since 2011 (RFC 6265).",
        applies: Applies::To(|line| line.section != "peers" && line.starts_with_words(&["cookie"])),
    },
    Difference {
        key: "dispatch-name",
        about: "dispatch",
        kinds: &["keyword"],
        haproxy: "Logs and statistics show no server for `dispatch` and `transparent`.",
        evenkeel: "They show a server named `dispatch` or `transparent`, with its counters.",
        reason: "Troubleshooting needs to know where a stream went.",
        applies: Applies::To(|line| {
            line.starts_with_any(&[&["dispatch"], &["transparent"], &["option", "transparent"]])
        }),
    },
    Difference {
        key: "last-server-full",
        about: "max-keep-alive-queue",
        kinds: &["keyword"],
        haproxy: "A client waits for its previous server even if it is full, however long the queue, unless this line \
            limits it.",
        evenkeel: "It uses another server at once, unless this line lets it wait.",
        reason: "A reused connection saves a millisecond; a queue costs more.",
        applies: Applies::To(|line| is_server(line) && line.has(&["maxconn"])),
    },
    Difference {
        key: "log-forward-lost",
        about: "dgram-bind",
        kinds: &["keyword"],
        haproxy: "Truncates messages that resemble RFC 5424 but are not valid, and ignores structured data with a \
            quoted bracket.",
        evenkeel: "Such data is parsed, and invalid messages are forwarded completely, as text.",
        reason: "Log messages must not lose data.",
        applies: Applies::To(|line| {
            line.section == "log-forward" && line.starts_with_any(&[&["bind"], &["dgram-bind"]])
        }),
    },
    Difference {
        key: "log-forward-newline",
        about: "dgram-bind",
        kinds: &["keyword"],
        haproxy: "Writes a newline inside a datagram unchanged to streams, rings and standard output.",
        evenkeel: "It becomes a space there; it is kept for UDP and Unix sockets.",
        reason: "Otherwise a sender could forge log lines of others.",
        applies: Applies::To(|line| {
            line.section == "log-forward" && line.starts_with_words(&["dgram-bind"])
        }),
    },
    Difference {
        key: "jwt-key-confusion",
        about: "jwt_verify",
        kinds: &["converter"],
        haproxy: "With a variable as the algorithm, accepts tokens with `none`, or with `HS256` signed with the path \
            of the public key file.",
        evenkeel: "With a key from a file, only public key algorithms are valid.",
        reason: "The client writes the header of a token, so anyone could forge one.",
        applies: Applies::To(|line| line.names("jwt_verify")),
    },
    Difference {
        key: "cache-cookie",
        about: "cache-store",
        kinds: &["http-response action"],
        haproxy: "Stores responses with `Set-Cookie`, and headers named by `private=\"…\"` or `no-cache=\"…\"`.",
        evenkeel: "A response with `Set-Cookie` is not stored unless one of these names it; the headers that they name \
            are not stored.",
        reason: "Otherwise all clients would share the session of one.",
        applies: Applies::To(|line| line.starts_with_words(&["http-response", "cache-store"])),
    },
    Difference {
        key: "cache-request-body",
        about: "cache-use",
        kinds: &["http-request action"],
        haproxy: "Serves GET requests with a body from a cache, and stores their responses.",
        evenkeel: "They bypass the cache.",
        reason: "An application may use the body, so one client could determine what others get.",
        applies: Applies::To(|line| line.starts_with_words(&["http-request", "cache-use"])),
    },
    Difference {
        key: "chunks-to-old-clients",
        about: "mode",
        kinds: &["keyword"],
        haproxy: "Forwards chunks of a server's response to an HTTP/1.0 client, which reads them as part of the body.",
        evenkeel: "Such a client gets the body without chunks, and the end of the connection marks its end.",
        reason: "HTTP/1.0 does not have chunks.",
        applies: Applies::ToHttp,
    },
    Difference {
        key: "response-formats",
        about: "http-response",
        kinds: &["keyword"],
        haproxy: "Drops the server's response before evaluating the log formats of `return` and `deny`: `%[status]` \
            is empty there (2.6).",
        evenkeel: "They can use the server's response.",
        reason: "The condition of the rule can use it, too.",
        applies: Applies::To(|line| {
            line.starts_with_any(&[&["http-response", "return"], &["http-response", "deny"]])
                && line.contains_any_name(&["lf-string", "lf-file", "hdr"])
        }),
    },
    Difference {
        key: "source-header-missing",
        about: "source",
        kinds: &["keyword", "server option"],
        haproxy: "Responds with 500 if `usesrc hdr_ip` finds no such header (2.6).",
        evenkeel: "The connection uses the address of `source`.",
        reason: "HAProxy's manual describes it that way, and a missing header is not an error of the proxy.",
        applies: Applies::To(|line| {
            line.has(&["usesrc"]) && line.words.iter().any(|word| word.starts_with("hdr_ip("))
        }),
    },
    Difference {
        key: "page-without-length",
        about: "errorfile",
        kinds: &["keyword"],
        haproxy: "After an HTTP/1.1 error page without a length in a file, closes the client's connection.",
        evenkeel: "The length is added, and the connection stays open.",
        reason: "The length is known.",
        applies: Applies::To(|line| line.starts_with_words(&["errorfile"])),
    },
    Difference {
        key: "method-head",
        about: "set-method",
        kinds: &["http-request action"],
        haproxy: "After a rule changes GET to HEAD, the response announces the length of a body that is never sent.",
        evenkeel: "The response announces no body.",
        reason: "Otherwise the client would wait for the body, or read the next response as the body.",
        applies: Applies::To(|line| line.starts_with_words(&["http-request", "set-method"])),
    },
    Difference {
        key: "admin-forms",
        about: "stats admin",
        kinds: &["keyword"],
        haproxy: "Executes a form of the statistics page regardless of the site that sent it.",
        evenkeel: "A form from another site is denied (`Sec-Fetch-Site`, `Origin`), and a page with actions can only be \
            framed by its own site.",
        reason: "Otherwise a hostile page could drain servers through an operator's browser. Programs that send forms \
            are not affected.",
        applies: Applies::To(|line| line.starts_with_words(&["stats", "admin"])),
    },
    Difference {
        key: "early-response",
        about: "proto",
        kinds: &["bind option"],
        haproxy: "Resets an HTTP/2 stream whose response is complete before its request.",
        evenkeel: "The rest of the request is read and discarded, up to 1 MiB and for 5 s; the stream is reset then, or when \
            nothing has arrived for half a second.",
        reason: "Some clients treat the reset as a failure and lose the response.",
        applies: Applies::To(bind_with_http2),
    },
    Difference {
        key: "upgrade-scheme",
        about: "proto",
        kinds: &["server option"],
        haproxy: "Requests a tunnel from an HTTP/2 server with the scheme `https` even without TLS. To a server \
            without tunnel support it sends RST_STREAM for a stream that was never opened.",
        evenkeel: "The scheme is that of the connection, and a server without tunnel support is sent nothing.",
        reason: "The server may depend on the scheme (RFC 8441, section 5), and a reset of an idle stream ends the \
            whole connection (RFC 9113, section 5.1).",
        applies: Applies::To(|line| is_server(line) && line.names("h2")),
    },
    Difference {
        key: "hash-nodes",
        about: "hash-type",
        kinds: &["keyword"],
        haproxy: "HAProxy 3.0 and later place a server's nodes on the ring of `hash-type consistent` by a hash of a \
            hash of its id.",
        evenkeel: "Nodes have the positions of HAProxy 2.6.",
        reason: "Mixed installations keep their caches. No choice fits both versions.",
        applies: Applies::To(|line| line.starts_with_words(&["hash-type", "consistent"])),
    },
    Difference {
        key: "word-missing",
        about: "word",
        kinds: &["converter"],
        haproxy: "HAProxy 2.6 returns an empty text if there is no word with that index; later versions return no \
            value.",
        evenkeel: "There is no value.",
        reason: "`-m found` then tests whether the word exists.",
        applies: Applies::To(|line| line.words.iter().any(|word| word.contains(",word("))),
    },
    Difference {
        key: "connect-host",
        about: "mode",
        kinds: &["keyword"],
        haproxy: "HAProxy 2.6 forwards `Host` of CONNECT with a default port; later versions remove it.",
        evenkeel: "Port 80 or 443 is removed from `Host`, but never from the target.",
        reason: "Rules then need only one name per host.",
        applies: Applies::ToHttp,
    },
    Difference {
        key: "target-forms",
        about: "option accept-invalid-http-request",
        kinds: &["keyword"],
        haproxy: "HAProxy 2.6 accepts `GET *`, and forwards `GET http://host` without a path; later versions do \
            neither.",
        evenkeel: "`*` is a target of OPTIONS only, other methods get 400. A URL without a path gets `/`, except for \
            OPTIONS.",
        reason: "RFC 9112, section 3.2, requires it.",
        applies: Applies::ToHttp,
    },
    Difference {
        key: "buffered-abort",
        about: "option http-buffer-request",
        kinds: &["keyword"],
        haproxy: "HAProxy 2.6 closes without a response when a client stops in the middle of an awaited body; later \
            versions respond with 400.",
        evenkeel: "The client gets 400.",
        reason: "A client that closed only one direction can read the reason.",
        applies: Applies::To(|line| {
            line.starts_with_any(&[
                &["option", "http-buffer-request"],
                &["http-request", "wait-for-body"],
            ])
        }),
    },
    Difference {
        key: "rewrite-room",
        about: "strict-mode",
        kinds: &[
            "http-request action",
            "http-response action",
            "http-after-response action",
        ],
        haproxy: "A rewrite fails if headers and buffered body together fill the buffer.",
        evenkeel: "Only the headers count.",
        reason: "The body has its own buffer.",
        applies: Applies::To(|line| {
            line.starts_with_any(&[
                &["http-request"],
                &["http-response"],
                &["http-after-response"],
            ]) && line.words.get(1).is_some_and(|action| rewrites(action))
        }),
    },
    Difference {
        key: "framing-strict",
        about: "mode",
        kinds: &["keyword"],
        haproxy: "Forwards some messages that two programs could interpret differently.",
        evenkeel: "Ambiguous messages (a NUL in a value, an empty transfer coding, a host with two ports, two lengths) get \
            status 400, or are forwarded in their unambiguous form.",
        reason: "If two sides interpret a message differently, requests can be smuggled.",
        applies: Applies::ToHttp,
    },
    Difference {
        key: "reuse-credentials",
        about: "http-reuse",
        kinds: &["keyword"],
        haproxy: "Binds a server connection to its client only when the server responds with 401 or 407 and NTLM or \
            Negotiate.",
        evenkeel: "A request with credentials of these schemes binds its connection, too.",
        reason: "A server may accept a Kerberos ticket without a challenge, and authenticates the connection all the \
            same.",
        applies: Applies::ToHttp,
    },
    Difference {
        key: "reuse-retry",
        about: "http-reuse",
        kinds: &["keyword"],
        haproxy: "If the server has just closed the kept connection that a request is sent on, closes the client's \
            connection, so that the client sends the request again.",
        evenkeel: "If the request is idempotent and has no body, it is sent once more on a new connection. A response to \
            an NTLM or Negotiate challenge is not.",
        reason: "The server has not seen it.",
        applies: Applies::ToHttp,
    },
    Difference {
        key: "nolinger-waits",
        about: "option nolinger",
        kinds: &["keyword"],
        haproxy: "Resets the connection at once, which truncates large responses.",
        evenkeel: "Resets it when the system of the peer has received all bytes.",
        reason: "The line is for saving sockets, not for losing data.",
        applies: Applies::To(|line| line.starts_with_words(&["option", "nolinger"])),
    },
    Difference {
        key: "serves-as-nobody",
        about: "user",
        kinds: &["keyword"],
        haproxy: "Without `user` and `uid` in `global`, serves as the user that started it, such as root.",
        evenkeel: "`evenkeel run` then serves as `nobody`, if it was started as root. Under the name `haproxy` it serves as \
            that user, too.",
        reason: "The process that reads what clients send needs no rights.",
        applies: Applies::Without(|line| {
            line.section == "global" && line.starts_with_any(&[&["user"], &["uid"]])
        }),
    },
];
