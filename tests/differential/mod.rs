//! Implements the differential test: the same bytes go through HAProxy and through Evenkeel with
//! the same file. The clients must get the same bytes back, and the servers must receive the same
//! ones.
//!
//! A family is a file with a [`Family`]. One start of HAProxy serves everything in it, and after
//! that one start of Evenkeel at the same addresses, so the two files are equal byte for byte. A
//! family has
//!
//! - **samples**: lines such as `sample("str(ABC),lower")`, each the value of an expression, or
//!   that it has none. The expression is evaluated for the default request [`REQUEST`], for a
//!   request of the sample (`.asked("GET /x HTTP/1.1\r\n…")`, without the empty line), or for a
//!   response (`.answered("HTTP/1.1 200 OK\r\n…")`). The sample covers whatever its expression
//!   names.
//! - **cases** for everything else. Each [`case`] has its own frontend, with
//!   - `.lines(…)`: lines of that frontend, and `.sections(…)`: further sections (backends, lists);
//!   - `.covers(&["http-request action set-path"])`: the keywords that the case covers;
//!   - `.send(&[b"…"])`: the bytes of each connection, with `.half_close()` (the client then closes
//!     its sending side), `.pieces(n)` (that many bytes at a time), or `.tls(…)` (over TLS, by
//!     `openssl s_client`, to a `.bind("ssl …")`; the family then has `certificates`);
//!   - `.server_says(…)`: the response of `@SERVER@`.
//! - **refused** lines of a frontend, which neither program may accept.
//!
//! The texts of a case may contain `@SERVER@` (a web server whose requests are compared), `@ECHO@`
//! (a TCP echo), `@DIR@` (a directory with the family's `files`), `@CASE@` (a name that no other
//! case has, for sections) and `@ADDRESS@` (the address of the frontend). Requests should contain
//! `Connection: close`, so that the response has an end. In families whose `global` is
//! [`WITH_SOCKET`], a case may also send a command to the statistics socket: `b"@SOCKET@ show table
//! @CASE@"`.
//!
//! Permitted differences are marked:
//!
//! - `.normal(…)`: a value that always differs, such as a client's port or a time;
//! - `.differs("key")`: an intended difference, with its key in the table of
//!   `crates/proxy/src/differences.rs`, which the manual prints. A case that no longer differs
//!   fails;
//! - `.newer("the value")`: the installed HAProxy does not support it yet. Only Evenkeel is
//!   queried, and must give that value.
//!
//! To add a family, copy `number.rs`, and add it below and to [`FAMILIES`]. To run a single one:
//! `cargo test -p scenarios differential::number`. In the end, `coverage` lists the supported
//! actions, converters and fetches that no case covers.

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

/// Prefix of a command for the statistics socket.
const COMMAND: &[u8] = b"@SOCKET@ ";
/// Name of the statistics socket in `@DIR@`.
const SOCKET: &str = "socket";
/// `global` of a family that sends commands.
const WITH_SOCKET: &str = "    stats socket @DIR@/socket level admin";

/// Request of a sample without a request of its own, without the empty line at its end.
const REQUEST: &str = "GET /dir/file.html?a=1&b=two HTTP/1.1\r\nHost: www.example.org:8080\r\n\
    User-Agent: Probe/1.0\r\nX-List: one, two,three\r\nX-Empty:\r\nCookie: id=42; name=value\r\n";
