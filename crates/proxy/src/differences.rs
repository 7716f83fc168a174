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
        key: "forward-secrecy",
        about: "ciphers",
        haproxy: "Supports cipher suites whose keys are exchanged by RSA (`AES256-GCM-SHA384`, `kRSA`) or by finite-field Diffie-Hellman (`DHE-RSA-AES256-GCM-SHA384`, `ssl-dh-param-file`).",
        here: "Keys are exchanged over elliptic curves or with ML-KEM only. Other ciphers of a list are ignored with a warning; a list without any supported one is refused.",
        reason: "Whoever gets the server's key reads all recorded traffic of an exchange by RSA, and its padding has been attacked again and again; every client that speaks TLS 1.2 has ECDHE.",
    },
    Difference {
        key: "dynamic-servers-kept",
        about: "stats socket",
        haproxy: "A reload loses the servers that `add server` made, unless they were written into the file as well.",
        here: "They are kept over a reload, an upgrade and the death of the role, until `del server` removes them or the file has a server of their name. A server of the file that `del server` removed stays removed over an upgrade and the death of the role, and comes back with a reload.",
        reason: "Nobody who reloads for another reason wants to lose servers; whoever edits the file says what the file's servers are.",
    },
    Difference {
        key: "dynamic-servers-idle",
        about: "stats socket",
        haproxy: "`del server` is refused while idle connections to the server are kept.",
        here: "Idle connections are closed; only sessions and a queue prevent it.",
        reason: "Idle connections serve nobody, and a server in maintenance gets no session that would use them.",
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
        key: "tables-bytes",
        about: "stick-table",
        haproxy: "`bytes_in_cnt` and its like count HTTP messages as HAProxy holds them in memory, a few bytes more or less than what passed.",
        here: "Bytes that passed are counted.",
        reason: "They agree with the statistics and the logs.",
    },
    Difference {
        key: "tables-oldest",
        about: "stick-table",
        haproxy: "A full table forgets the oldest of all of its entries.",
        here: "So do tables up to 4096 entries; larger ones forget the oldest of one of 64 parts.",
        reason: "Threads do not wait for each other.",
    },
    Difference {
        key: "table-trackers",
        about: "table_trackers",
        haproxy: "Counts itself among those who track the entry while it asks.",
        here: "Counts who tracks it.",
        reason: "`sc_trackers` of the same entry says the same.",
    },
    Difference {
        key: "sc-tracked-table",
        about: "sc_tracked",
        haproxy: "With a table it says whether the counter tracks anything, whatever that table has.",
        here: "With a table it says whether that has an entry of the same key.",
        reason: "All other fetches of counters look into the table that they name.",
    },
    Difference {
        key: "table-key-text",
        about: "stick-table",
        haproxy: "`set table` takes text that is no address for `0.0.0.0`, `5x` for 5, and no IPv4 address for a table of IPv6 ones.",
        here: "Wrong keys are refused, and IPv4 addresses mapped as they are when they are tracked.",
        reason: "A typing mistake must not change another entry.",
    },
    Difference {
        key: "abort-split",
        about: "option abortonclose",
        haproxy: "In a backend alone it ends nothing of clients who closed behind a whole request; the frontend must have it, too.",
        here: "The backend's line is enough.",
        reason: "The manual allows the line there, and promises it.",
    },
    Difference {
        key: "slowstart-steps",
        about: "slowstart",
        haproxy: "A server's weight grows in steps of a sixteenth, and begins with one of them.",
        here: "It grows in steps of a hundredth.",
        reason: "A cold server gets less at once.",
    },
    Difference {
        key: "turns-of-weights",
        about: "balance",
        haproxy: "`roundrobin` begins the turns of servers of several weights somewhere in the middle.",
        here: "They begin with the first server. In a whole round each one has as many as its weight says, in both.",
        reason: "Nobody depends on which server is first.",
    },
    Difference {
        key: "peers-order",
        about: "peer",
        haproxy: "A process that starts waits five seconds for the one before it to teach it, then asks a peer.",
        here: "Entries go over to the next process with all other states, and a peer is asked at once.",
        reason: "The table is whole sooner.",
    },
    Difference {
        key: "early-data",
        about: "allow-0rtt",
        haproxy: "Hands early data to rules before the handshake is done.",
        here: "Early data is accepted and held until the handshake is done.",
        reason: "What may be a replay reaches no rule and no server; the round trip is not saved.",
    },
    Difference {
        key: "realm-quotes",
        about: "auth",
        haproxy: "Sends a realm as it stands in the file, quotation marks and backslashes included.",
        here: "A quotation mark or a backslash of the realm has a backslash before it.",
        reason: "Without it the header cannot be read, or says something else than the file.",
    },
    Difference {
        key: "password-hashes",
        about: "http_auth",
        haproxy: "Computes the hash of a password in the thread that serves, for every request.",
        here: "It is computed beside the threads that serve, while the rules of the request wait, and once for the same user and password. \
               Where too many wait already the answer is 503.",
        reason: "Whoever sends wrong passwords would stop the others: such hashes take milliseconds or seconds on purpose.",
    },
    Difference {
        key: "bearer-header",
        about: "http_auth_bearer",
        haproxy: "Gives an empty token where the header that is named is not there (2.6).",
        here: "There is no token.",
        reason: "`-m found` must not hold for a request without one.",
    },
    Difference {
        key: "user-without-password",
        about: "user",
        haproxy: "Takes a user without a password into a list, and crashes when one is asked for.",
        here: "Such a user never comes in, and a warning says so.",
        reason: "A request must not end the process.",
    },
    Difference {
        key: "statistics-policy",
        about: "stats enable",
        haproxy: "Sends the page in pieces, with styles and forms of its own.",
        here: "The page has another look and a content security policy; the names of its forms' fields, the words of its address, \
               CSV and JSON are the same.",
        reason: "It reads on a phone, in the dark, and by those who see no colours; a browser runs nothing in it but its own script.",
    },
    Difference {
        key: "ub64dec",
        about: "ub64dec",
        haproxy: "Decodes padding at the end, which this form of Base64 has not, to one byte too many.",
        here: "Padding counts for nothing.",
        reason: "Who pads all the same means the same bytes.",
    },
    Difference {
        key: "port-only",
        about: "port_only",
        haproxy: "Computes with the letters of what stands for a port and is no number.",
        here: "It is 0, as without a port.",
        reason: "A number made of letters means nothing.",
    },
    Difference {
        key: "json-query-numbers",
        about: "json_query",
        haproxy: "Writes a number anew with six digits: 12345678901234567890 becomes 1.23457e+19.",
        here: "A number is given as it is written.",
        reason: "Identifiers are numbers, too, and must not lose digits.",
    },
    Difference {
        key: "json-query-unicode",
        about: "json_query",
        haproxy: "Gives one byte of a character that is written as `\\u` with four digits.",
        here: "The character is given in UTF-8.",
        reason: "What comes out is the text that was meant.",
    },
    Difference {
        key: "jwt-query-whole",
        about: "jwt_payload_query",
        haproxy: "Has no value without a path (2.6).",
        here: "Without a path the whole JSON is the value.",
        reason: "The documentation says so, and later versions do it.",
    },
    Difference {
        key: "language-zero",
        about: "language",
        haproxy: "Has no value when a language with a weight of 0 stands before others (2.6).",
        here: "That language is passed over, and what follows it counts.",
        reason: "A weight of 0 refuses one language and no other.",
    },
    Difference {
        key: "mqtt-properties",
        about: "mqtt_field_value",
        haproxy: "Gives 0 for a numeric property that a CONNACK has not.",
        here: "A property that is not there has no value.",
        reason: "0 would be a limit that nobody set.",
    },
    Difference {
        key: "fix-empty-value",
        about: "fix_is_valid",
        haproxy: "Lets a tag without a value pass (2.6).",
        here: "It makes the message invalid.",
        reason: "The documentation and FIX say so.",
    },
    Difference {
        key: "protobuf-float",
        about: "protobuf",
        haproxy: "Turns a negative number of the type `float` into a large one (2.6).",
        here: "It stays negative.",
        reason: "The sign is part of the number.",
    },
    Difference {
        key: "ungrpc-compressed",
        about: "ungrpc",
        haproxy: "Takes the bytes of a compressed message for fields.",
        here: "A message that is marked as compressed has no fields.",
        reason: "What they would say is chance.",
    },
    Difference {
        key: "capture-req",
        about: "capture.req.uri",
        haproxy: "Knows method and target of the request only where something logs requests (2.6).",
        here: "They are always known.",
        reason: "A rule should not depend on a log format.",
    },
    Difference {
        key: "cook-val",
        about: "cook_val",
        haproxy: "Computes with the characters of a cookie that is no number.",
        here: "It is 0.",
        reason: "A number made of other characters means nothing.",
    },
    Difference {
        key: "res-cook-cnt",
        about: "res.cook_cnt",
        haproxy: "Counts the attributes of Set-Cookie headers, too, where no name is given.",
        here: "The cookies are counted.",
        reason: "`path=/` is no cookie.",
    },
    Difference {
        key: "url-ip",
        about: "url_ip",
        haproxy: "Sees IPv4 addresses in a URL only; so does `url_port`.",
        here: "IPv6 addresses in brackets are seen, too.",
        reason: "They are as good a host.",
    },
    Difference {
        key: "lines-framing",
        about: "reqrep",
        haproxy: "HAProxy 1.x let a rule about lines make anything of a message: another version, a head without a target, two lengths.",
        here: "The version stays, `content-length` and `transfer-encoding` stay, and methods, statuses and lines that would move the end of a message or are none are answered with 400 (answers: 502).",
        reason: "Two sides that read one message in two ways can be made to smuggle requests.",
    },
    Difference {
        key: "lines-patience",
        about: "reqdeny",
        haproxy: "HAProxy 1.x let a pattern take any time.",
        here: "A pattern that has to go back (look-around, references) may take ten thousand steps a line; beyond that the message is refused.",
        reason: "A client chooses the lines; it must not be able to keep the proxy busy, nor to get around a rule.",
    },
    Difference {
        key: "one-process",
        about: "nbproc",
        haproxy: "HAProxy up to 2.4 started so many processes; later ones refuse the line.",
        here: "It is the number of threads of one process, and what is bound to one of the processes is served by all threads.",
        reason: "Threads share limits, counters and tables, which processes never did.",
    },
    Difference {
        key: "names-twice",
        about: "server",
        haproxy: "HAProxy 1.x took two proxies, or two servers of one backend, of the same name; later ones refuse the file.",
        here: "In a file with other old forms the second one is called otherwise (`app-2`), with a warning; else it is refused.",
        reason: "Counters, states and operators need one name for one thing.",
    },
    Difference {
        key: "hash-redispatch",
        about: "option redispatch",
        haproxy: "A stream that a hash led to a server that refuses it is never sent elsewhere before checks find that server down.",
        here: "It is sent to the next server of the table or ring at the retry that the interval says, the last one by default.",
        reason: "That is what the manual promises for `option redispatch`; else a server that is down and not checked fails all of its keys.",
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
    Difference {
        key: "log-forward-lost",
        about: "dgram-bind",
        haproxy: "Cuts the end off messages that begin like RFC 5424 and are not quite that, and takes structured data with a bracket in quotes for none.",
        here: "Such data is understood, and what cannot be is passed on whole, as text.",
        reason: "Nothing of a log message may be lost on its way.",
    },
    Difference {
        key: "log-forward-newline",
        about: "dgram-bind",
        haproxy: "Writes a newline inside of a datagram as it is to streams, rings and standard output.",
        here: "It becomes a space there; to UDP and Unix sockets it stays.",
        reason: "Whoever may send a message could else write lines in the name of others.",
    },
    Difference {
        key: "jwt-key-confusion",
        about: "jwt_verify",
        haproxy: "With a variable as the algorithm a token may name `none`, or `HS256` and be signed with the path of the public key's file: both are right.",
        here: "Where the key is read from a file, only algorithms of public keys are right.",
        reason: "The client writes the header of a token: everybody could make one.",
    },
    Difference {
        key: "cache-cookie",
        about: "cache-store",
        haproxy: "Stores answers with `Set-Cookie`, and headers that `private=\"…\"` or `no-cache=\"…\"` name.",
        here: "An answer with `Set-Cookie` is not stored unless one of these names it; what they name is not stored with the rest.",
        reason: "One client's session would become everybody's.",
    },
    Difference {
        key: "cache-request-body",
        about: "cache-use",
        haproxy: "Answers GET requests that have a body out of a cache, and stores their answers.",
        here: "They pass.",
        reason: "An application may look at the body, and one client would decide what others get.",
    },
    Difference {
        key: "chunks-to-old-clients",
        about: "mode",
        haproxy: "Passes the chunks of a server's answer on to a client of HTTP/1.0, which takes them for a part of the body.",
        here: "Such a client gets the body without chunks, and the end of the connection for its end.",
        reason: "HTTP/1.0 knows no chunks.",
    },
    Difference {
        key: "formats-over-answers",
        about: "http-response",
        haproxy: "Forgets the server's answer before the formats of `return` and `deny` are filled: `%[status]` is empty there (2.6).",
        here: "They see the server's answer.",
        reason: "The rule's condition sees it, too.",
    },
    Difference {
        key: "source-header-missing",
        about: "source",
        haproxy: "Answers 500 where `usesrc hdr_ip` finds no such header (2.6).",
        here: "The connection is made from the address that `source` gives.",
        reason: "The documentation says so, and a request without a header is not a fault of the proxy.",
    },
    Difference {
        key: "page-without-length",
        about: "errorfile",
        haproxy: "A page of HTTP/1.1 in a file without a length closes the client's connection behind it.",
        here: "It gets its length, and the connection stays.",
        reason: "Its length is known.",
    },
    Difference {
        key: "method-head",
        about: "set-method",
        haproxy: "A GET that a rule turns into HEAD gets the length of a body that never comes.",
        here: "Its response says that it has no body.",
        reason: "The client would wait for the body, or take the next response for it.",
    },
    Difference {
        key: "admin-forms",
        about: "stats admin",
        haproxy: "Does what a form of the statistics page says, whichever site's page sent it.",
        here: "A form that a browser sends from another site's page is denied (`Sec-Fetch-Site`, `Origin`), and a page with actions can only stand in frames of its own site.",
        reason: "Whoever looks at a hostile page would otherwise drain servers without knowing it. Programs that send forms are not affected.",
    },
    Difference {
        key: "early-response",
        about: "proto",
        haproxy: "Resets a stream of HTTP/2 whose response is whole before its request.",
        here: "What still comes of the request is read and thrown away, up to 1 MiB; only then the stream is reset.",
        reason: "Some clients take the reset for a failure and lose the response.",
    },
    Difference {
        key: "upgrade-scheme",
        about: "proto",
        haproxy: "Asks a server of HTTP/2 for a tunnel with the scheme `https`, also without TLS, and sends RST_STREAM for a stream that it never opened to one that takes no tunnels.",
        here: "The scheme is that of the connection, and a server that takes no tunnels is sent nothing.",
        reason: "The server may choose by the scheme (RFC 8441, section 5), and a reset of an idle stream ends the whole connection (RFC 9113, section 5.1).",
    },
    Difference {
        key: "defaults-rules",
        about: "http-request",
        haproxy: "Refuses rules in a `defaults` section that another `defaults`, a `listen`, or frontends and backends alike inherit from.",
        here: "They hold wherever they are inherited, each in the proxies where it may stand.",
        reason: "What they mean is clear; the restriction is one of HAProxy's lists of rules.",
    },
    Difference {
        key: "hash-nodes",
        about: "hash-type",
        haproxy: "HAProxy 3.0 and later place a server's nodes on the ring of `hash-type consistent` by a hash of a hash of its id.",
        here: "Nodes stand where HAProxy 2.6 has them.",
        reason: "A fleet of both keeps its caches; nobody can be right for both versions.",
    },
    Difference {
        key: "word-missing",
        about: "word",
        haproxy: "HAProxy 2.6 gives an empty text where there is no word of that index; later ones give no value.",
        here: "There is no value.",
        reason: "`-m found` tells whether there is such a word.",
    },
    Difference {
        key: "connect-host",
        about: "mode",
        haproxy: "HAProxy 2.6 passes `Host` of CONNECT on with a usual port; later ones remove it.",
        here: "The port 80 or 443 is removed from `Host`, never from the target.",
        reason: "Rules then need one name for one host.",
    },
    Difference {
        key: "target-forms",
        about: "option accept-invalid-http-request",
        haproxy: "HAProxy 2.6 takes `GET *`, and passes `GET http://host` on without a path; later ones do neither.",
        here: "`*` is a target of OPTIONS only, others get 400. A URL without a path gets `/`, but for OPTIONS.",
        reason: "So RFC 9112, section 3.2, has it.",
    },
    Difference {
        key: "buffered-abort",
        about: "option http-buffer-request",
        haproxy: "HAProxy 2.6 closes without a response when a client stops in the middle of a body that is waited for; later ones answer 400.",
        here: "It gets 400.",
        reason: "A client that closed one direction only can read why.",
    },
    Difference {
        key: "rewrite-room",
        about: "strict-mode",
        haproxy: "A rewrite fails where head and buffered body together fill the buffer.",
        here: "Only the head counts.",
        reason: "The body has a buffer of its own.",
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
