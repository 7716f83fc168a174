//! Defines the codes of configuration errors that do not depend on the keyword: structure,
//! arguments, references. Each family of keywords defines further codes.

pub mod expression;

use language::arguments::{ArgumentCodes, LenientCodes};

pub static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes {
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

language::codes! {
    UNKNOWN_KEYWORD = "E0101", "unknown keyword",
        "The first word of the line is not a keyword of this section. The nearest valid keywords are shown. Evenkeel \
         refuses every word that it does not know, and ignores none silently.";
    KEYWORD_MISPLACED = "E0102", "keyword not allowed in this section",
        "The keyword exists, but is not allowed in this section: for example `bind` in a `backend`, or `server` in a \
         `frontend`. The message lists the sections that accept it.";
    NOT_BUILT = "E0103", "keyword of HAProxy that is not supported",
        "HAProxy has this feature, and Evenkeel does not support it. Evenkeel refuses the line instead of ignoring \
         it, because a configuration must do what it says. Remove the line, or keep that proxy on HAProxy.";
    SECTION_NAME = "E0105", "invalid section name",
        "A section that needs a name has none, or the name contains characters other than letters, digits, `.`, `_`, \
         `-` and `:`.";
    DUPLICATE_NAME = "E0106", "duplicate name",
        "Two proxies of the same kind, or two servers of one backend, have the same name. A frontend and a backend \
         may share a name. A `listen` counts as both. Rename one of them. In a file with syntax of HAProxy 1.x the \
         second one is renamed instead.";
    DUPLICATE_ID = "E0107", "duplicate id",
        "An `id` must be unique among proxies, and among the servers or listeners of one proxy. Remove one of the two \
         lines; Evenkeel then assigns a free number.";
    UNKNOWN_DEFAULTS = "E0108", "defaults section not found",
        "`from NAME` must name a `defaults NAME` section that appears earlier in the configuration.";
    NO_NEGATION = "E0109", "keyword cannot be negated",
        "Only options and a few switches accept `no` or `default`. Remove the line. To override a setting of \
         `defaults`, set it again in the proxy.";
    NOTHING_TO_DO = "E0110", "no listener",
        "No `frontend` or `listen` section has a `bind` line, so the program would serve nobody. Add one, or check \
         whether a file is missing.";
    UNREADABLE = "E0111", "cannot read file",
        "Evenkeel cannot open or read a file that the configuration or the command line names. The message shows the \
         system error.";

    MISSING_ARGUMENT = "E0201", "missing argument",
        "The keyword needs another argument. The message shows its syntax; `evenkeel keyword NAME` explains it.";
    TOO_MANY_ARGUMENTS = "E0202", "too many arguments",
        "The line has more words than the keyword accepts. Quote a word that contains a space, or put a backslash \
         before the space.";
    NOT_A_NUMBER = "E0203", "not a number",
        "The keyword expects a whole decimal number, without unit, sign or fraction: `maxconn 20000`, not `maxconn \
         20k`.";
    OUT_OF_RANGE = "E0204", "number out of range",
        "The number is outside the range of the keyword. The message shows the range; `evenkeel keyword NAME` \
         explains the value and usual settings.";
    BAD_TIME = "E0205", "not a duration",
        "A duration is a whole number and a unit: us, ms, s, m, h, d. Without a unit most keywords use milliseconds.";
    BAD_SIZE = "E0206", "not a size",
        "A size is a whole number of bytes. The suffixes k, m and g multiply it by powers of 1024.";
    BAD_VALUE = "E0207", "invalid value",
        "The keyword does not accept this value. The message shows the nearest valid value, or all of them.";
    BAD_ADDRESS = "E0208", "invalid address",
        "Addresses are `host:port`, `*:port`, `:port`, `[v6]:port`, `/path/to.sock`, `abns@name` or `fd@N`, with \
         optional prefixes `ipv4@`, `ipv6@`, `unix@`.";
    UNKNOWN_OPTION = "E0209", "unknown option",
        "A word on a `bind`, `server` or similar line is not a valid option. The nearest valid options are shown.";
    UNRESOLVED_HOST = "E0210", "host name does not resolve",
        "The host name of a server does not resolve. HAProxy refuses to start in this case, and so does Evenkeel. \
         `init-addr last,libc,none` starts with the server down.";

    UNKNOWN_USER = "E0211", "unknown user or group",
        "The system has no user or group of that name (`getent passwd NAME`, `getent group NAME`). Create it, use \
         another one, or use `uid` and `gid` with numbers.";
    BAD_ERROR_PAGE = "E0212", "invalid error page",
        "Evenkeel cannot read the file of an `errorfile`, or the file is not an HTTP response: a status line, \
         headers, an empty line, a body. An empty file (or /dev/null) closes the connection without a response.";
    SECOND_SETTING = "E0213", "duplicate setting",
        "`global` accepts this setting only once. HAProxy refuses the second line, and so does Evenkeel.";
    BAD_TLS_SETTING = "E0214", "invalid TLS setting",
        "A TLS setting in `global` has an unknown word or value. The message shows it, and the nearest valid one.";

    TLS_NAMES = "E0215", "no usable entry in a TLS list",
        "A list of ciphers, curves or signature algorithms has no supported entry, or names an unknown curve or \
         algorithm. Evenkeel supports TLS 1.2 with ECDHE and AES-GCM or ChaCha20-Poly1305, and TLS 1.3. RSA key \
         exchange, finite-field Diffie-Hellman (DHE), CBC, 3DES and RC4 are deliberately not supported, because each \
         has been broken in practice.";
    TLS_VERSIONS = "E0216", "no usable TLS version",
        "The line and `global` together allow no supported TLS version. Evenkeel supports TLS 1.2 and TLS 1.3. SSLv3, \
         TLS 1.0 and TLS 1.1 are broken and withdrawn (RFC 7568, RFC 8996).";

    TLS_UNVERIFIED = "E0230", "verification without a CA",
        "The certificate must be verified (the default for servers), but the line names no CA. Write `ca-file \
         <file>`, or `ca-file @system-ca` for the CAs of the system. With `verify none`, an attacker on the path can \
         read and change the traffic; use it only on trusted networks.";
    TLS_FILE = "E0231", "unusable certificate file",
        "Evenkeel cannot read a CA, CRL or key file, or the file lacks what the line needs. The message shows the \
         problem. Files are in PEM format: text with `-----BEGIN CERTIFICATE-----`.";

    BAD_CERTIFICATE = "E0220", "unusable certificate",
        "A `crt` file, or the file beside it, does not contain a certificate with its key. One of them is missing, \
         they do not match, or the key is encrypted or of an unsupported type. The PEM file contains the server \
         certificate first, then its issuers, and the key anywhere. The key may also be in the file with the suffix \
         `.key`.";
    BAD_CERTIFICATE_LIST = "E0221", "invalid line in a crt-list",
        "A `crt-list` line has a certificate, optional `bind` options in brackets, and optional host names: `site.pem \
         [alpn h2,http/1.1] *.example.com !old.example.com`.";
    NO_CERTIFICATE = "E0222", "TLS without a certificate",
        "A `bind` line has `ssl` but no certificate, so no client could connect. Add `crt FILE`. With `strict-sni` \
         this is a warning, because operators may add certificates at run time.";

    UNKNOWN_CACHE = "E0446", "cache not found",
        "`cache-use` and `cache-store` name a `cache` section, which may be anywhere in the configuration. Add `cache \
         NAME` with a line `total-max-size <megabytes>`, or correct the name.";
    UNKNOWN_BACKEND = "E0301", "backend not found",
        "`use_backend` or `default_backend` names a backend that does not exist. The nearest name is shown. A \
         `frontend` cannot be the target.";
    WRONG_MODE = "E0302", "incompatible modes",
        "A frontend and its backend must both be `mode http`, or both `mode tcp`. HTTP rules need `mode http`.";
    BACKEND_LOOP = "E0303", "backend refers to itself",
        "A `listen` section names itself in `default_backend` or `use_backend`. Remove the line; the section uses its \
         own servers anyway.";
    UNKNOWN_LOG_PROFILE = "E0311", "log profile not found",
        "`profile` on a `log` line names a `log-profile` section that does not exist. The section may be anywhere in \
         the configuration. The nearest name is shown.";
    ZERO_WARNING = "E0304", "warnings, and zero-warning is set",
        "`zero-warning` in `global` (or `-dW`) refuses a configuration with warnings that HAProxy has as well. \
         Warnings that only Evenkeel has do not count. Resolve the warnings above, or silence one with the comment \
         `# evenkeel: allow CODE` on its line.";
    TWICE_BOUND = "W0303", "duplicate listening address",
        "Two listeners of the configuration have the same address and port. The kernel distributes connections \
         between them. Remove one, or give them different addresses or interfaces.";

    UNKNOWN_SERVER = "E0450", "server not found",
        "A `use-server` rule names a server that its backend does not have. The nearest name is shown.";
    COOKIE_WORDS = "E0451", "conflicting cookie modes",
        "Use only one of `rewrite`, `insert` and `prefix`. `indirect` is for inserted cookies, `preserve` for \
         `insert` and `indirect`.";
    COOKIE_DOMAIN = "W0450", "cookie domain without a dot",
        "Browsers refuse a cookie for a top-level domain (RFC 6265, section 5.3). Write the name of the site, such as \
         `.example.com`.";

    NO_SERVERS = "W0101", "backend without servers",
        "A backend without servers responds with 503 to every request. Add a `server` line, or remove the backend and \
         the rules that use it.";
    MISSING_TIMEOUT = "W0102", "missing timeouts",
        "Without `timeout client`, `timeout connect` and `timeout server`, connections of dead peers never end and \
         fill the process. Add the three timeouts to `defaults`.";
    NO_BIND = "W0103", "frontend without bind",
        "The frontend has no listening address, so no client can reach it. Add a line like `bind :8080`. A section \
         with servers only is a `backend`.";
    DEVICE_DETECTION = "E0432", "device detection is not supported",
        "Device detection (51Degrees, DeviceAtlas, WURFL) needs a vendor library, which Evenkeel does not include. \
         The message appears once per file. A service of your own can classify clients and set a header; often a map \
         over `req.hdr(user-agent)` is enough.";
    LUA = "E0433", "Lua is not supported",
        "Lua scripts are not supported. The message appears once per file. Rules, variables, maps and converters \
         replace most scripts. Move the rest into a service behind the proxy, where it cannot stall the proxy.";
    SPOE = "E0434", "SPOE is not supported",
        "SPOE (stream processing offload) is not supported. The message appears once per file. Send the requests to a \
         service of your own as a backend, or let that service change maps and ACLs at the statistics socket.";
    TRACING = "E0435", "tracing libraries are not supported",
        "OpenTracing and OpenTelemetry are not supported; HAProxy loads a library for them. The message appears once \
         per file. Forward and log the headers that services use for tracing (`traceparent`, `x-request-id`). \
         `unique-id-header` creates such an id.";
    LEGACY = "W0104", "obsolete syntax",
        "HAProxy has removed this syntax; Evenkeel still accepts it. The message shows the current form, and \
         `evenkeel upgrade` writes it.";
    IGNORED_IN_MODE = "W0105", "no effect in this mode",
        "The keyword applies to HTTP requests, but its proxy is in `mode tcp`, so it has no effect. Add `mode http` \
         if the clients speak HTTP (check `defaults`), or remove the line.";
    OVERWRITTEN = "W0106", "duplicate line",
        "Two lines set the same value. In `global` the first one applies, in a proxy the last one. The other has no \
         effect.";
    NO_LINGER = "W0107", "option nolinger may truncate responses",
        "`option nolinger` closes connections with a reset. HAProxy resets at once, which truncates large responses \
         on slow links. Evenkeel resets only connections whose data the peer's system has acknowledged completely, \
         and closes all others normally. Even so, some systems discard data at a reset that the application has not \
         read yet. The option frees ports and memory slightly earlier and is rarely needed. Remove the line.";
    FOREIGN_ADDRESS = "W0108", "address not on this host",
        "No interface of this host has the address. Evenkeel binds it anyway (as with `net.ipv4.ip_nonlocal_bind`), \
         so that a virtual address can arrive later. HAProxy refuses to start.";
    READABLE_PASSWORD = "W0109", "password in a world-readable file",
        "The file contains a clear-text password, and every user of the machine can read it. Run `chmod o-r` on it.";
    UNREACHABLE_RULE = "W0110", "unreachable rule",
        "An earlier rule is final and has no condition, so this rule never runs. Move this rule before it, or add a \
         condition to the earlier one.";
    UNUSED_ACL = "W0111", "unused ACL",
        "No condition of the section uses this ACL. Use it, or remove its lines. ACLs of a `defaults` section are not \
         visible in the proxies.";
    WRONG_SIDE = "W0113", "ignored on this side",
        "The keyword applies to clients but appears in a `backend`, or it applies to servers but appears in a \
         `frontend`. HAProxy ignores the line with a warning, and so does Evenkeel. Move it to the other side, or \
         remove it.";
    SMALL_TIMEOUT = "W0114", "very short timeout without a unit",
        "A duration without a unit is in milliseconds. A timeout below 100 ms is rarely intended: write the unit.";
    RULE_ORDER = "W0115", "rule placed after rules that run later",
        "Rules run in a fixed order, regardless of the order of their lines: tcp-request connection, session and \
         content, then `monitor fail`, `http-request`, `redirect`, `use_backend`, `use-server`. Move the line to \
         where it runs.";
    NO_EFFECT = "W0116", "no effect here",
        "HAProxy knows this word, but it has no effect here, or no effect in Evenkeel. The message shows the reason. \
         Remove it.";
    FLAG_BEHIND_PATTERN = "W1020", "flag placed after a pattern",
        "Flags of an ACL (`-i`, `-f`, `-m`…) stand before its patterns. HAProxy reads what follows the first pattern as \
         further patterns, and so does Evenkeel. Move the flag before the patterns; write `--` before them if the text \
         is meant.";
    LOOKALIKE_CHARACTER = "W1021", "invisible or typographic character",
        "A word contains a character that looks like another one or like none: a zero-width or non-breaking space, a \
         typographic quotation mark or a dash instead of a hyphen. Word processors and web pages insert them. To \
         HAProxy and Evenkeel they are letters like any other. Write the plain character, or put the word into straight \
         quotes if it is meant.";
    NEVER_USED_SERVERS = "W0117", "unused servers",
        "A `listen` section with a `default_backend` sends every request there, so its own servers get none.";
    LARGE_ERROR_PAGE = "W0118", "error page larger than a buffer",
        "The file of an `errorfile` is larger than `tune.bufsize`. HAProxy truncates such a response; use a smaller \
         error page.";
    WRONG_LENGTH = "W1010", "wrong content-length in an error file",
        "The body of an error file is longer or shorter than its `Content-Length` header says. HAProxy refuses such a \
         file since version 2.2. Evenkeel sends the whole body with its real length. Remove the header from the file, \
         or correct it.";
    LOOSE_VALUE = "W0119", "trailing letters after a number",
        "HAProxy reads the number and ignores the letters after it: `maxconn 10k` is 10, `timeout client 5sec` is 5 \
         seconds. Evenkeel does the same and reports it. Write the value in full.";
    SURPLUS = "W0120", "ignored words",
        "HAProxy silently ignores extra words after a few keywords, often because a text with spaces was not quoted. \
         Evenkeel ignores them too, but reports it.";
    TLS_LIST = "W0121", "suspicious TLS list",
        "A list of ciphers, curves or signature algorithms contains a character that no name has. OpenSSL ignores \
         unknown names, so HAProxy reports nothing. The list may be shorter than it seems.";
    TLS_LACKING = "W0122", "unsupported cipher",
        "A list names ciphers, curves or signature algorithms that OpenSSL supports and Evenkeel does not: RSA key \
         exchange, finite-field Diffie-Hellman (DHE), CBC, 3DES, RC4, SHA-1, rare curves. They are ignored; the \
         message shows what remains. All clients of the last ten years support some of that. Remove the names when \
         you next edit the list.";
    TLS_UNKNOWN = "W0123", "unknown cipher in a list",
        "A cipher list contains an unknown name. OpenSSL ignores such names silently, so HAProxy does too. The list \
         may be shorter than it seems.";
    TLS_OLD_VERSION = "W0124", "obsolete TLS version",
        "The line sets SSLv3, TLS 1.0 or TLS 1.1 as the lowest version. These are not supported; TLS 1.2 is the \
         lowest.";
    WATCH_IN_CLUSTER = "E1061", "watched files in a cluster",
        "`watch` reloads files of one machine when they change. In a cluster all members serve the files of the \
         accepted version, and each change of a file is a new version, which is checked on all nodes and can be \
         rolled back. Remove the line, and let the tool that renews a certificate or writes a map run `evenkeel \
         config apply FILE… -m MESSAGE`: certbot by `--deploy-hook`, acme.sh by `--reloadcmd`.";
    UNSET_VARIABLE = "W0126", "undefined variable",
        "`env(NAME)`, or an address, refers to an environment variable that is not set. `env(NAME)` then has no \
         value. In an address the variable is empty: `bind $HOST:80` listens on every address. Set the variable \
         before the start, or with `presetenv NAME VALUE` in `global`. In double quotes, `\"${NAME-default}\"` has a \
         default value.";
    LOG_FILE = "W0127", "log to a file",
        "`log` takes the address of a log server; a path is its Unix socket. Like HAProxy, Evenkeel writes no files, \
         so the lines of this target are lost. Send them to `/dev/log`, where the system's log server can write a \
         file, or to `stdout`.";
    CERTIFICATE_TIME = "W0301", "certificate not currently valid",
        "A certificate has expired, or is not valid yet by the clock of this host. Evenkeel uses it anyway, and \
         clients refuse it.";
    NOT_SENT = "W0302", "certificate timestamps not sent",
        "An `.sctl` file contains signed certificate timestamps for a TLS extension that Evenkeel does not send. CAs \
         embed such timestamps in their certificates, and browsers use those. Remove the file, or set \
         `ssl-load-extra-files` without `sctl`.";
    TLS_WITHOUT_SSL = "W0304", "certificates without ssl",
        "A `bind` line has certificates but no `ssl`, so it accepts clear text. HAProxy does not report this.";
    TLS_NOT_DONE = "W0305", "TLS option without effect",
        "The option belongs to a feature that current TLS lacks or that Evenkeel does not need: NPN, which ALPN \
         replaced in 2014, early data to servers, or the signing of certificates on the fly without \
         `generate-certificates`. The message shows which. Remove the option.";
    OCSP_IGNORED = "W0306", "OCSP response not stapled",
        "An `.ocsp` file contains no valid response for its certificate: it is not an OCSP response, is for another \
         certificate, or has expired. Nothing is stapled. Clients accept that, unless the certificate requires \
         stapling.";
    NO_CERTIFICATE_YET = "W0307", "TLS without a certificate",
        "A `bind` line has `ssl` and `strict-sni` but no certificate yet. All clients are refused until an operator \
         adds one.";
    CERTIFICATE_PASSED_OVER = "W0308", "ignored entry in a crt-list",
        "Part of a crt-list or of a certificate directory is ignored: filters before the brackets of a line, or a \
         file without a certificate. The message shows which.";
    EMPTY_WARNING_SWITCH = "W0112", "connection limit lowered",
        "The system allows fewer open files than `maxconn` needs, so Evenkeel lowers the number of connections. Raise \
         LimitNOFILE or lower `maxconn`.";

    CHECK_RULES_IDLE = "W0601", "check rules without their option",
        "`http-check` and `tcp-check` lines configure a check, but the section uses a different one. They need \
         `option httpchk` or `option tcp-check`.";
    CHECK_ORDER = "E0480", "check rule in the wrong position",
        "A check opens a connection, then sends and expects data on it. A script with `connect` rules must begin with \
         one. With HTTP, each connection carries one request, followed by the rules for its response.";
    UNKNOWN_HEALTH_CHECK = "E0481", "healthcheck section not found",
        "The server option `healthcheck` names a section that does not exist.";
    UNKNOWN_MAILERS = "E0482", "mailers section not found",
        "`email-alert mailers` names a section that does not exist. Add `mailers NAME` with its `mailer` lines.";
    EXTERNAL_CHECK = "E0483", "external check that cannot run",
        "`option external-check` needs `external-check` in `global`, and a program: `external-check command` with an \
         absolute path, or a file name together with `external-check path`.";
    EXTERNAL_PROGRAM = "W0481", "external check program missing",
        "The program of `external-check command` does not exist, or the user of the checks cannot execute it. Every \
         check fails until you fix this; a reload is not necessary. With `chroot`, the program and its files must be \
         inside that directory.";
    FCGI_APP = "E0484", "unusable FastCGI application",
        "A backend in `mode http` needs three things for FastCGI: `use-fcgi-app NAME`, a section `fcgi-app NAME` with \
         a `docroot`, and a server with `proto fcgi`. The message shows which is missing.";
    FCGI_ONE_AT_A_TIME = "W0484", "FastCGI requests are not multiplexed",
        "Evenkeel sends one request at a time on a FastCGI connection, which every application supports. Connections \
         are reused. `maxconn` of the server limits their number.";
    EMAIL_ALERT_IDLE = "W0480", "mail alerts not sent",
        "Mail alerts need three lines: `email-alert mailers`, `email-alert from` and `email-alert to`. Without all \
         three, no mail is sent.";
    UNRESOLVED_SERVER = "W0602", "server without an address",
        "The host name of a server does not resolve, and its `init-addr` allows that. The server starts in \
         maintenance until an operator sets an address (`set server … addr`), its `resolvers` find one, or a later \
         lookup does: `evenkeel run` and `haproxy -W` look up such names again from time to time.";
    UNRESOLVED_LINE = "W1090", "line without effect until its name resolves",
        "A host name does not resolve. At a start, and for a version that a member of a cluster has accepted, \
         everything else is served meanwhile: a nameserver may start later than this machine. The name is looked up \
         again from time to time, and the line takes effect as soon as it resolves. A check and a reload refuse the \
         same line (E0210).";
    PEER_WITHOUT_PORT = "W0603", "peer address without a port",
        "The address of a remote peer has no port, so Evenkeel cannot connect to that peer; the peer can still \
         connect to Evenkeel. An environment variable that is not set may be the reason.";
    NO_NAME_SERVERS = "W0470", "no nameserver",
        "A `resolvers` section has no `nameserver` line, or the section has `parse-resolv-conf` and /etc/resolv.conf \
         names no nameserver. Without a nameserver no name resolves, and servers that use the section stay in \
         maintenance.";
    UNKNOWN_RESOLVERS = "E0470", "resolvers section not found",
        "A server line or a rule names a `resolvers` section that does not exist. Only `default` exists without being \
         defined.";
    TRACK_LOOP = "E0471", "servers that track each other",
        "A server with `track` has the state of another server, which may track a third one. The chain must end at a \
         server with a health check. This one forms a loop, or ends at a server without a check.";
    UNKNOWN_TRACKED = "E0472", "tracked server not found",
        "`track` names a server of the same backend, or `backend/server`. No such server exists.";
    AGENT_PORT = "E0473", "agent without a port",
        "`agent-check` needs the port of the agent on the server's host: add `agent-port`.";
    SERVER_TEMPLATE = "E0474", "invalid number of servers",
        "`server-template` creates servers numbered from 1 to `<num>`, or from `<low>` to `<high>`. Each name is the \
         prefix and the number.";
    SERVER_STATES = "W0605", "server states not loaded",
        "`load-server-state-from-file` cannot read the states of the previous process, or they are not in the format \
         of `show servers state`. The servers start with their initial states. This is normal at the first start. \
         Otherwise, check what writes the file before a restart.";

    UNKNOWN_USERLIST = "E0440", "userlist not found",
        "An expression such as `http_auth(staff)` names a `userlist` that does not exist. The section may be anywhere \
         in the configuration.";
    UNKNOWN_GROUP = "E0441", "user group not found",
        "A `user` line, or an ACL with `http_auth_group`, names a group without a `group` line in its `userlist`.";
    UNKNOWN_LIST_USER = "E0442", "user not found",
        "A `group` line names a user without a `user` line in its `userlist`.";
    USER_SHUT_OUT = "W0440", "user can never log in",
        "A user has no password, or a password hash of an unsupported kind. Supported are the crypt(3) hashes $6$, \
         $5$, $1$, $2b$ ($2a$, $2y$), $y$ and DES. This user can never log in. HAProxy 2.6 crashes when asked for a \
         user without a password.";
    STATS_TWO_WAYS = "E0443", "conflicting protection of the statistics page",
        "`stats auth` and `stats realm` list the users of the page; `stats http-request` rules decide about each \
         request. Use only one of them. Rules with a `userlist` support hashed passwords, and groups such as \
         administrators.";
    UNKNOWN_HTTP_ERRORS = "E0445", "http-errors section not found",
        "`errorfiles NAME` needs a section `http-errors NAME`, which may be anywhere in the configuration.";
    NO_PAGE_IN_GROUP = "W0441", "missing error page in http-errors",
        "A line requests the error page of a status from an `http-errors` section that has none for it. Evenkeel \
         sends the default page, or for a rule a response without a body. Add an `errorfile` line to the section.";
    EMPTY_PASSWORD = "W0442", "user with an empty password",
        "A user has an empty `insecure-password`: anyone who knows the name can log in.";
}
