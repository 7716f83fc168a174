//! The differential test: the same bytes go through haproxy and through Evenkeel,
//! both with the same file, and what comes back (and what servers received) has to
//! be the same.
//!
//! A family is a file with a [`Family`]: everything in it is served by one start of
//! haproxy and, after that, one of ours at the same addresses, so the two files are
//! the same byte for byte. It has
//!
//! - **samples**, lines such as `sample("str(ABC),lower")`: the value of an
//!   expression, or that it has none, asked by the default request [`REQUEST`] or by
//!   one of its own (`.asked("GET /x HTTP/1.1\r\n…")`, without the empty line), or
//!   on the way back (`.answered("HTTP/1.1 200 OK\r\n…")`). What an expression
//!   names is covered by it, nothing else is to be said;
//! - **cases**, for all else: [`case`] has a frontend of its own. Give it `.lines(…)`
//!   of that frontend, `.sections(…)` (backends, lists) if it needs some, what it
//!   `.covers(&["http-request action set-path"])`, and `.send(&[b"…"])`, each of
//!   them a connection (`.half_close()`: the client ends its side then; `.pieces(n)`:
//!   so many bytes at a time; `.tls(…)`: over TLS, by `openssl s_client`, to a
//!   `.bind("ssl …")`; the family then has `certificates`). `@SERVER@` is a web server whose requests are compared,
//!   `.server_says(…)` what it answers, `@ECHO@` a TCP echo, `@DIR@` a directory with
//!   the family's `files`, `@CASE@` a name that no other case has (use it for
//!   sections), `@ADDRESS@` where the frontend listens. Requests should say
//!   `Connection: close`, so that the answer has an end;
//! - **refused** lines of a frontend, which neither program may accept.
//!
//! What is sent may also be a command of the statistics socket: `b"@SOCKET@ show
//! table @CASE@"`, in families whose `global` is [`WITH_SOCKET`].
//!
//! What must differ (a client's port, a time) is named by `.normal(…)`. What differs
//! for a reason carries `.differs("key")`: a key of the table of differences in
//! `crates/proxy/src/differences.rs`, which the manual prints; a case that does not
//! differ any more fails. What haproxy of the version installed does not
//! know yet is `.newer("the value")`: only ours is asked, and has to say that.
//!
//! To add a family: copy `number.rs`, add it below and to [`FAMILIES`]. To see one
//! alone: `cargo test -p scenarios differential::number`. At the end of everything,
//! `coverage` says which built actions, converters and fetches no case covers.

mod coverage;
mod run;
mod table;

mod authenticated;
mod balance;
mod choice;
mod condition;
mod cookie;
mod cryptography;
mod ends;
mod fetch;
mod http_after_response;
mod http_request;
mod http_response;
mod json;
mod map;
mod number;
mod persistence;
mod protocols;
mod stick;
mod stick_table;
mod tcp_request;
mod tcp_response;
mod text;
mod tls;
mod users;

use table::{Case, Family, Normal, Sample, case, sample};

static FAMILIES: &[&Family] = &[
    &authenticated::FAMILY,
    &balance::FAMILY,
    &choice::FAMILY,
    &condition::FAMILY,
    &cookie::FAMILY,
    &cryptography::FAMILY,
    &ends::FAMILY,
    &fetch::FAMILY,
    &http_after_response::FAMILY,
    &http_request::FAMILY,
    &http_response::FAMILY,
    &json::FAMILY,
    &map::FAMILY,
    &number::FAMILY,
    &persistence::FAMILY,
    &protocols::FAMILY,
    &stick::FAMILY,
    &stick_table::FAMILY,
    &tcp_request::FAMILY,
    &tcp_response::FAMILY,
    &text::FAMILY,
    &tls::FAMILY,
    &users::FAMILY,
];

/// What begins a command of the statistics socket among what is sent.
const COMMAND: &[u8] = b"@SOCKET@ ";
/// The name of that socket in `@DIR@`.
const SOCKET: &str = "socket";
/// `global` of a family that sends commands.
const WITH_SOCKET: &str = "    stats socket @DIR@/socket level admin";

/// The request of a sample that brings none, but for its end.
const REQUEST: &str = "GET /dir/file.html?a=1&b=two HTTP/1.1\r\nHost: www.example.org:8080\r\n\
    User-Agent: Probe/1.0\r\nX-List: one, two,three\r\nX-Empty:\r\nCookie: id=42; name=value\r\n";
