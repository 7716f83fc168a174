//! Codes of what is wrong with a file whatever the keyword: structure,
//! arguments, references. Families add their own beside their keywords.

use language::Code;
use language::arguments::{ArgumentCodes, LenientCodes};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $title:literal, $text:literal;)*) => {
        $($(#[$doc])* #[doc = $title] pub static $name: Code = Code { id: $id, title: $title, explanation: $text };)*
        /// All of them.
        pub static CODES: &[&Code] = &[$(&$name),*];
    };
}
pub(crate) use codes;

/// Those of the arguments of a line.
pub(crate) static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes {
    missing: &MISSING_ARGUMENT,
    surplus: &TOO_MANY_ARGUMENTS,
    number: &NOT_A_NUMBER,
    range: &OUT_OF_RANGE,
    time: &BAD_TIME,
    size: &BAD_SIZE,
    value: &BAD_VALUE,
    lenient: Some(LenientCodes {
        value: &LOOSE_VALUE,
        surplus: &SURPLUS,
    }),
};

codes! {
    UNKNOWN_KEYWORD = "E0101", "unknown keyword",
        "The first word of a line is no keyword of its section. The nearest names that are legal there are shown. \
         Every word of a configuration is either known or refused: none is passed over in silence.";
    KEYWORD_MISPLACED = "E0102", "keyword not allowed in this section",
        "The keyword exists, but not in the section in which it stands: `bind` in a `backend`, `server` in a `frontend`. \
         The sections that may hold it are listed.";
    NOT_BUILT = "E0103", "known, not built yet",
        "HAProxy has this and Evenkeel knows its name, but does not do it yet. It is refused rather than ignored, because a file \
         that starts must do what it says. Remove the line, or keep that proxy on HAProxy until a release note names the keyword.";
    NO_SECTION = "E0104", "line outside of a section",
        "A keyword stands before the first section. Begin the file with `global`, `defaults`, `frontend`, `backend` or `listen`.";
    SECTION_NAME = "E0105", "bad section name",
        "A section that needs a name has none, or its name holds characters other than letters, digits, `.`, `_`, `-` and `:`.";
    DUPLICATE_NAME = "E0106", "name used twice",
        "Two proxies that can be named in the same place have the same name, or two servers of one backend. A frontend and a backend may \
         share a name, two backends may not, and a `listen` is both. Rename one.";
    DUPLICATE_ID = "E0107", "id used twice",
        "An explicit `id` must be unique among proxies, and among the servers or listeners of one proxy. Remove one of the two: without the \
         line a free number is chosen.";
    UNKNOWN_DEFAULTS = "E0108", "no such defaults section",
        "`from NAME` must name a `defaults NAME` section that stands before it.";
    NO_NEGATION = "E0109", "keyword cannot be negated",
        "`no` and `default` are understood before options and a few switches only. Remove the line; a setting of `defaults` is replaced by \
         giving it again in the proxy.";
    NOTHING_TO_DO = "E0110", "nothing listens",
        "No frontend or listen section with a `bind` line exists, so a start would serve no one. Add one, or look for the file that is missing.";
    UNREADABLE = "E0111", "file cannot be read",
        "A file that the configuration names or that the command line gives could not be opened or read. The system's reason is shown.";
    UNANSWERED = "E0112", "recording without an answer",
        "A configuration was loaded again from a recording, in a process that may ask nothing of the system, and a line of it asks \
         for more than the recording holds. The recording was made by another version of the program; load the files anew.";
    ON_NODE = "E0113", "line of one node that cannot be",
        "A line `on NODE …` lacks the name of a node or the line that counts there, or begins a section: only lines may be for one \
         node. A `config` section holds for the whole cluster, and none of its lines may.";
    UNKNOWN_NODE = "W0125", "line of a node that nobody is",
        "A line `on NODE …` names a node that neither a `node` section nor the cluster has, so the line counts nowhere. The nearest name \
         is shown. `evenkeel cluster status` lists the members of a cluster.";

    MISSING_ARGUMENT = "E0201", "argument missing",
        "The keyword needs one more word. Its syntax line is shown; `evenkeel keyword NAME` explains it.";
    TOO_MANY_ARGUMENTS = "E0202", "too many arguments",
        "The keyword takes fewer words than stand on the line. A word with a space in it needs quotes or a backslash before the space.";
    NOT_A_NUMBER = "E0203", "not a number",
        "A whole number in decimal digits is expected, without a unit, a sign or a fraction: `maxconn 20000`, not `maxconn 20k`.";
    OUT_OF_RANGE = "E0204", "number out of range",
        "The number is outside of the range that the keyword takes. The message names the range; `evenkeel keyword NAME` says what the \
         number means and what is usual.";
    BAD_TIME = "E0205", "not a time",
        "A time is a whole number and a unit: us, ms, s, m, h, d. Without a unit most keywords count milliseconds.";
    BAD_SIZE = "E0206", "not a size",
        "A size is a whole number of bytes, or one with k, m or g for its multiples by 1024.";
    BAD_VALUE = "E0207", "value not understood",
        "The argument is none of the words that the keyword knows. The nearest one is shown where there is one, and otherwise all of them.";
    BAD_ADDRESS = "E0208", "address not understood",
        "Addresses are `host:port`, `*:port`, `:port`, `[v6]:port`, `/path/to.sock`, `abns@name`, `fd@N`, with optional prefixes `ipv4@`, `ipv6@`, `unix@`.";
    UNKNOWN_OPTION = "E0209", "unknown option",
        "A word among the options of a `bind`, `server` or similar line is not an option. The nearest names are shown.";
    UNRESOLVED_HOST = "E0210", "host name does not resolve",
        "A server's name has no address now. HAProxy refuses to start then, and so does Evenkeel; `init-addr last,libc,none` starts with the server down.";

    UNKNOWN_USER = "E0211", "no such user or group",
        "The system has no user or group of that name (`getent passwd NAME`, `getent group NAME`). Create it, name another, or use `uid` \
         and `gid` with numbers.";
    BAD_ERROR_PAGE = "E0212", "error page cannot be used",
        "The file of an `errorfile` cannot be read, or is not an HTTP answer: a status line, header lines, an empty line, a body. \
         An empty file (or /dev/null) closes the connection without an answer.";
    SECOND_SETTING = "E0213", "may be given once only",
        "The setting may stand in `global` once. HAProxy refuses the second line, and so does Evenkeel: which of two paths is meant cannot be guessed.";
    BAD_TLS_SETTING = "E0214", "TLS setting not understood",
        "A TLS setting of `global` has a word or a value that it does not know. The message says which, and its nearest neighbour.";

    TLS_NAMES = "E0215", "no usable name in a list of TLS",
        "A list of ciphers, curves or signature algorithms leaves nothing that can be done, or names a curve or an algorithm that \
         nobody knows. Evenkeel does TLS 1.2 with ECDHE and AES-GCM or ChaCha20-Poly1305, and TLS 1.3; key exchange by RSA or by \
         Diffie-Hellman over numbers, CBC, 3DES and RC4 are not built, on purpose: each has been broken in practice.";
    TLS_VERSIONS = "E0216", "no version of TLS left",
        "The versions that a line and `global` allow leave nothing that is spoken. Evenkeel speaks TLS 1.2 and TLS 1.3; SSLv3, TLS 1.0 \
         and TLS 1.1 are broken and withdrawn (RFC 7568, RFC 8996).";

    TLS_UNVERIFIED = "E0230", "verification without authorities",
        "A certificate is to be verified, which is the default towards servers, and the line names nobody who is believed. Write \
         `ca-file <file>`, or `ca-file @system-ca` for the authorities that the system believes. `verify none` means that anybody who \
         stands between can read and change the traffic; it is for networks where nobody does.";
    TLS_FILE = "E0231", "file of certificates not usable",
        "A file of certificates, of revoked ones or of a key could not be read, or does not hold what the line needs. The message \
         says what is wrong with it. Files are PEM: text with `-----BEGIN CERTIFICATE-----`.";

    BAD_CERTIFICATE = "E0220", "certificate cannot be used",
        "A file that `crt` names, or one beside it, is no certificate with its key: one of the two is missing, they do not belong \
         together, the key is encrypted or of a kind that is not spoken any more. The file holds in PEM the server's own certificate \
         first, then those of its issuers, and the key anywhere; or the key is in the file of the same name with `.key` behind it.";
    BAD_CERTIFICATE_LIST = "E0221", "line of a list of certificates not understood",
        "A line of a `crt-list` is a certificate, perhaps options of `bind` in brackets, and names of hosts: \
         `site.pem [alpn h2,http/1.1] *.example.com !old.example.com`.";
    NO_CERTIFICATE = "E0222", "TLS without a certificate",
        "A `bind` line says `ssl` and names no certificate, so that no client could be answered. Add `crt FILE`. With `strict-sni` \
         it is a warning: operators may add certificates while it serves.";

    UNKNOWN_CACHE = "E0446", "no such cache",
        "`cache-use` and `cache-store` name a `cache` section, which may stand anywhere in the file. Add `cache NAME` with a line \
         `total-max-size <megabytes>`, or mend the name.";
    UNKNOWN_BACKEND = "E0301", "no such backend",
        "`use_backend` or `default_backend` names a backend that the file does not have. The nearest name is shown; a `frontend` cannot be \
         led to.";
    WRONG_MODE = "E0302", "modes do not match",
        "A frontend and the backend that it leads to must both be `mode http` or both `mode tcp`; and HTTP rules need `mode http`.";
    BACKEND_LOOP = "E0303", "backend leads to itself",
        "A `listen` names itself as its `default_backend` or in `use_backend`. Remove the line: its own servers are used anyway.";
    UNKNOWN_LOG_PROFILE = "E0311", "no such log profile",
        "`profile` of a `log` line names a `log-profile` section, which may stand anywhere in the files. There is none of that name; the \
         nearest one is shown.";
    ZERO_WARNING = "E0304", "warnings, and zero-warning is set",
        "`zero-warning` in `global` (or `-dW`) refuses a file that gives any warning. Resolve the warnings above, or silence one with \
         the comment `# evenkeel: allow CODE` on its line.";
    TWICE_BOUND = "W0303", "same address bound twice",
        "Two listeners of this file have the same address and port; connections go to one or the other, by the system's choice. Remove one, \
         or give them different addresses or interfaces.";

    UNKNOWN_SERVER = "E0450", "no such server",
        "A `use-server` rule names a server that its backend does not have. The nearest name is shown.";
    COOKIE_WORDS = "E0451", "words of a cookie that exclude each other",
        "`rewrite`, `insert` and `prefix` are three ways to do the same: one of them is enough. `indirect` is for cookies that are \
         inserted here, `preserve` for `insert` and `indirect`.";
    COOKIE_DOMAIN = "W0450", "cookie for a domain without a dot",
        "Browsers refuse a cookie for a whole top-level domain (RFC 6265, section 5.3): write the name of the site, as in \
         `.example.com`.";

    NO_SERVERS = "W0101", "backend without servers",
        "A backend without a server answers every request with 503. Add a `server` line, or remove the backend and what leads to it.";
    MISSING_TIMEOUT = "W0102", "missing timeouts",
        "Without `timeout client`, `timeout connect` and `timeout server`, connections of dead peers stay for ever and fill the process. \
         Put the three into `defaults`.";
    NO_BIND = "W0103", "frontend without bind",
        "The frontend has no address, so nothing reaches it. Add a line like `bind :8080`; a section that only has servers is a `backend`.";
    DEVICE_DETECTION = "E0432", "device detection",
        "Lines about databases of devices (51Degrees, DeviceAtlas, WURFL) need the library of their vendor, which is not part of Evenkeel. \
         It is said once a file. A service of your own can look a client up and set a header; often a map over `req.hdr(user-agent)` is enough.";
    LUA = "E0433", "Lua",
        "Scripts in Lua are not run. It is said once a file. Rules, variables, maps and converters do most of what scripts were written \
         for; the rest is better in a service behind the proxy, where it cannot stop it.";
    SPOE = "E0434", "SPOE",
        "Agents beside the proxy (SPOE, SPOA) are not spoken with. It is said once a file. Let a service of your own decide: as a backend, \
         or by changing lists and maps over the statistics socket.";
    TRACING = "E0435", "tracing by a library",
        "Spans for OpenTracing or OpenTelemetry are not made: HAProxy does so by a library that is loaded beside it. It is said once a file. Pass on and log the \
         headers by which services trace (`traceparent`, `x-request-id`); `unique-id-header` makes one.";
    LEGACY = "W0104", "old form",
        "HAProxy removed this form; it works here. The modern form is shown, and `evenkeel upgrade` will write it.";
    IGNORED_IN_MODE = "W0105", "has no effect in this mode",
        "The keyword works on HTTP requests and its proxy is in `mode tcp`, so it does nothing. Add `mode http` if HTTP is spoken there \
         (it may be missing in `defaults`), or remove the line.";
    OVERWRITTEN = "W0106", "said twice",
        "Two lines say the same thing. In `global` the first one counts, in a proxy the last; the other has no effect.";
    NO_LINGER = "W0107", "option nolinger may lose the end of an answer",
        "`option nolinger` closes with a reset. HAProxy resets at once, which truncates large answers over slow links; Evenkeel \
         resets only what the peer's system has acknowledged to the last byte, and closes all else in the ordinary way. What is \
         left: some systems throw away at a reset what the program has not read yet. It frees ports and memory a little earlier \
         and is needed hardly ever. Remove the line; it is kept working because files have it.";
    FOREIGN_ADDRESS = "W0108", "address not of this host",
        "No interface of this host has the address now. It is bound all the same (as with `net.ipv4.ip_nonlocal_bind`), so that a \
         virtual address may come later; HAProxy refuses to start.";
    READABLE_PASSWORD = "W0109", "password in a file that everyone can read",
        "The file holds a password in clear text and its mode lets every user of the machine read it. `chmod o-r` it.";
    UNREACHABLE_RULE = "W0110", "rule can never be reached",
        "A rule before it is without a condition and final, so this one never runs. Put it above that rule, or give that one a condition.";
    UNUSED_ACL = "W0111", "ACL never used",
        "The named ACL is in no condition of its section, so it decides nothing. Use it, or remove its lines; ACLs of a `defaults` section \
         are not visible in the proxies.";
    WRONG_SIDE = "W0113", "ignored on this side",
        "The keyword is about clients and stands in a `backend`, or about servers and stands in a `frontend`. HAProxy ignores \
         the line with a warning, and so does Evenkeel. Move it to the other side, or remove it.";
    SMALL_TIMEOUT = "W0114", "very short timeout without a unit",
        "A time without a unit counts milliseconds. A timeout of less than 100 of them is hardly ever meant: write the unit.";
    RULE_ORDER = "W0115", "rule placed after rules that run later",
        "Rules run in a fixed order whatever the order of their lines: tcp-request connection, session and content, then \
         `monitor fail`, `http-request`, `redirect`, `use_backend`, `use-server`. Put the line where it runs, so that the file \
         reads as it works.";
    NO_EFFECT = "W0116", "has no effect here",
        "HAProxy knows the word and it changes nothing in this place, or nothing in Evenkeel. The message says why. Remove it.";
    NEVER_USED_SERVERS = "W0117", "servers never used",
        "A `listen` with a `default_backend` sends every request there, so its own servers never get one.";
    LARGE_ERROR_PAGE = "W0118", "error page larger than a buffer",
        "The file of an `errorfile` does not fit into `tune.bufsize`. HAProxy truncates such an answer; keep error pages small.";
    LOOSE_VALUE = "W0119", "letters behind a number",
        "HAProxy reads the number in front and ignores what stands behind it: `maxconn 10k` is 10, `timeout client 5sec` is 5 \
         seconds. Evenkeel reads the same, and says so. Write what is meant.";
    SURPLUS = "W0120", "words that are ignored",
        "Behind a few keywords HAProxy passes over words that do not belong there, often because a text with a space in it was not \
         quoted. So does Evenkeel, but not in silence.";
    TLS_LIST = "W0121", "strange list of TLS names",
        "A list of ciphers, curves or signature algorithms holds a character that no name has. OpenSSL passes over names that it does \
         not know, so HAProxy says nothing; the list may mean less than it seems to.";
    TLS_LACKING = "W0122", "cipher that is not done",
        "A list names ciphers, curves or signature algorithms that OpenSSL knows and Evenkeel does not do: static RSA keys, \
         Diffie-Hellman over numbers, CBC, 3DES, RC4, SHA-1, rare curves. They are left out; the message says what remains. Clients of \
         the last ten years have one of what remains. Remove the names when the list is next touched.";
    TLS_UNKNOWN = "W0123", "unknown cipher in a list",
        "A list of ciphers holds a name that nobody knows. OpenSSL passes over such names without a word, so HAProxy does too; the list \
         may mean less than it seems to.";
    TLS_OLD_VERSION = "W0124", "old version of TLS",
        "SSLv3, TLS 1.0 or TLS 1.1 is asked for as the lowest version. They are not spoken any more; TLS 1.2 is the lowest.";
    UNSET_VARIABLE = "W0126", "variable that is not set",
        "`env(NAME)` asks for an environment variable that has no value, so it finds nothing; or an address names an environment variable that has no value, so nothing stands in its place: `bind $HOST:80` listens on every \
         address where `HOST` is not set. Set it before the start, or give it a value with `presetenv NAME VALUE` in `global`. Between \
         double quotes `\"${NAME-default}\"` has a default value.";
    LOG_FILE = "W0127", "log to a file",
        "`log` is followed by the address of a log server; a path is that of its Unix socket. HAProxy writes no files, and neither does \
         Evenkeel: the lines of such a target are lost. Send them to `/dev/log`, where the system's log server can write a file, or to \
         `stdout`.";
    CERTIFICATE_TIME = "W0301", "certificate not valid now",
        "A certificate has expired, or its time has not come yet by this host's clock. It is shown all the same, and clients refuse it.";
    NOT_SENT = "W0302", "timestamps of certificates are not sent",
        "A file `.sctl` holds signed certificate timestamps for an extension of TLS that is not sent here. Authorities write such \
         timestamps into the certificates themselves, which is what browsers look at. Remove the file, or write \
         `ssl-load-extra-files` without `sctl`.";
    TLS_WITHOUT_SSL = "W0304", "certificates without ssl",
        "A `bind` line names certificates and does not say `ssl`: clear text is spoken there. HAProxy says nothing about it.";
    TLS_NOT_DONE = "W0305", "option of TLS without effect",
        "The option belongs to something that TLS of today does not have, or that is not needed here: NPN, which ALPN replaced in 2014, \
         early data towards servers, or the signing of certificates on the fly without `generate-certificates`. The message says which. Remove it.";
    OCSP_IGNORED = "W0306", "OCSP answer not stapled",
        "A file `.ocsp` holds no answer about its certificate that holds now: it is no answer, is about another certificate, or has \
         expired. Nothing is stapled, which clients accept unless the certificate demands it.";
    NO_CERTIFICATE_YET = "W0307", "TLS without a certificate",
        "A `bind` line says `ssl` and `strict-sni` and has no certificate yet: all clients are refused until an operator adds one.";
    CERTIFICATE_PASSED_OVER = "W0308", "part of a list of certificates that counts for nothing",
        "Something of a list or directory of certificates is passed over: filters before the brackets of a line, or a file without a \
         certificate. The message says which.";
    EMPTY_WARNING_SWITCH = "W0112", "limit lower than asked",
        "The system does not allow as many open files as `maxconn` needs; the number of connections is lowered.";

    CHECK_RULES_IDLE = "W0601", "steps of checks without their option",
        "`http-check` and `tcp-check` lines say what a check sends and expects, but the section checks in another way: without \
         `option httpchk` or `option tcp-check` they do nothing.";
    CHECK_ORDER = "E0480", "step of a check at a wrong place",
        "A check opens a connection, then sends and expects on it. A script that opens connections itself begins with one, and over HTTP \
         each connection takes one request and then what is expected of its answer.";
    UNKNOWN_HEALTH_CHECK = "E0481", "no such healthcheck section",
        "A server's option `healthcheck` names a section that the file does not have.";
    UNKNOWN_MAILERS = "E0482", "no such mailers section",
        "`email-alert mailers` names a section that the file does not have.";
    EXTERNAL_CHECK = "E0483", "external check that cannot run",
        "`option external-check` needs `external-check` in `global`, and a program: `external-check command` with an absolute path, or with a \
         name and `external-check path`.";
    EXTERNAL_PROGRAM = "W0481", "program of an external check missing",
        "The program of `external-check command` does not exist, or the user of the checks may not execute it. Every check fails until it \
         is there; nothing needs to be reloaded then. With `chroot` the program and all that it uses are within that directory.";
    FCGI_APP = "E0484", "FastCGI application that cannot be used",
        "A backend in `mode http` names an application (`use-fcgi-app NAME`) that is a section `fcgi-app NAME` with a `docroot`, and has a server \
         with `proto fcgi`. The message says which of these is missing.";
    FCGI_ONE_AT_A_TIME = "W0484", "requests of FastCGI are not multiplexed",
        "A FastCGI connection carries one request at a time here, which every application can. Connections are kept for the next \
         request; how many there are at a time is what the server's `maxconn` says.";
    EMAIL_ALERT_IDLE = "W0480", "mails that are not sent",
        "Mails about changes of servers need three lines: `email-alert mailers`, `email-alert from` and `email-alert to`. Where one is \
         missing none is sent.";
    UNRESOLVED_SERVER = "W0602", "server without an address",
        "A server's name has no address now, and its `init-addr` allows that: it starts in maintenance and serves no one until an \
         operator gives it an address (`set server … addr`), or until its `resolvers` find one.";
    PEER_WITHOUT_PORT = "W0603", "peer address without a port",
        "The address of a remote peer names no port, so that no connection to that peer can be made; the peer may still connect to us. \
         An environment variable that is not set looks like this, too.";
    NO_NAME_SERVERS = "W0470", "no servers of names",
        "`parse-resolv-conf` takes the servers of names of this host's /etc/resolv.conf, and that file has no `nameserver` line. \
         Nobody is asked, and servers that rely on the section stay in maintenance.";
    UNKNOWN_RESOLVERS = "E0470", "no such resolvers section",
        "A server line or a rule names a `resolvers` section that the configuration does not have. Only `default` is there by itself.";
    TRACK_LOOP = "E0471", "servers that track each other",
        "A server that tracks another has that one's state, which in turn may track a third. A chain has to end at a server \
         that is checked; this one leads back to where it began, or ends at a server that nobody checks.";
    UNKNOWN_TRACKED = "E0472", "no such server to track",
        "`track` names a server of the same backend, or `backend/server`. There is none of that name.";
    AGENT_PORT = "E0473", "agent without a port",
        "`agent-check` asks an agent on the server's host, which listens on a port of its own: write `agent-port`.";
    SERVER_TEMPLATE = "E0474", "bad number of servers",
        "A `server-template` makes servers with the numbers 1 to `<num>`, or `<low>-<high>`. Each begins with the prefix and ends with its number.";
    SERVER_STATES = "W0605", "states of servers not loaded",
        "`load-server-state-from-file` asks for states that an earlier process has left, and they cannot be read or are not what \
         `show servers state` writes. The servers begin as at a first start. At a very first start that is as it should be; else look \
         at what writes the file before a restart.";

    UNKNOWN_USERLIST = "E0440", "no such userlist",
        "An expression names a list of users (`http_auth(staff)`) that the file does not have: a section `userlist staff`. It may \
         stand above or below.";
    UNKNOWN_GROUP = "E0441", "no such group of users",
        "A `user` line, or an ACL with `http_auth_group`, names a group for which its `userlist` has no `group` line.";
    UNKNOWN_LIST_USER = "E0442", "no such user",
        "A `group` line names a user for whom its `userlist` has no `user` line.";
    USER_SHUT_OUT = "W0440", "user who never comes in",
        "A user of a list has no password, or one with a hash of a kind that is not verified here. Verified are those that crypt(3) \
         writes as $6$, $5$, $1$, $2b$ ($2a$, $2y$), $y$, and DES. Nobody comes in as this user; HAProxy 2.6 crashes where a user \
         without a password is asked for.";
    STATS_TWO_WAYS = "E0443", "two ways to protect the statistics page",
        "`stats auth` and `stats realm` name the users of the page, `stats http-request` rules decide about each request: a page has \
         one of the two. Rules with a `userlist` can do more: hashed passwords, and groups of which one may be the administrators.";
    UNKNOWN_HTTP_ERRORS = "E0445", "no such group of error pages",
        "A line names a group of error pages (`errorfiles NAME`) that the file does not have: a section `http-errors NAME`. It may \
         stand above or below.";
    NO_PAGE_IN_GROUP = "W0441", "group without this error page",
        "A line asks for the page of a status from an `http-errors` section which has none for it. The page that holds without the \
         line is sent, and by a rule an answer without a body. Add an `errorfile` for it to the section.";
    EMPTY_PASSWORD = "W0442", "user with an empty password",
        "A user of a list has an `insecure-password` that is empty: whoever knows the name comes in.";
}
