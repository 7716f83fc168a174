//! What logs, statistics and `show stat` say of servers: results of checks, and states.

use super::row;
use crate::state::CheckStatus;
use language::keyword::Documented;

/// What the result of a check means; a star stands before it while the next one runs.
fn meaning(status: CheckStatus) -> &'static str {
    use CheckStatus::*;
    match status {
        Initializing => "No check has ended yet.",
        SocketError => {
            "The check could not even begin: no source port, no memory, too many open files. The system of this machine is short of something, not the server."
        }
        Layer4Ok => {
            "The connection stands. Nothing more is asked of it: see `option httpchk` and its kin for checks of what is spoken on it."
        }
        Layer4Timeout => {
            "No connection within `timeout connect` or `timeout check`: the host is off, saturated, or a firewall drops packets."
        }
        Layer4Error => {
            "The connection was refused or the host cannot be reached: nothing listens there, or a firewall rejects. The log has the system's words."
        }
        Layer6Ok => "The TLS handshake was good.",
        Layer6Timeout => "The TLS handshake did not end in time.",
        Layer6Invalid => {
            "The TLS handshake failed: the port speaks no TLS, or the server's certificate is not trusted (`ca-file`, `verify`, `check-sni`)."
        }
        Layer7Timeout => {
            "The connection stands, the response did not come within `timeout check`: the application is stuck, or the checked page is too slow."
        }
        Layer7Invalid => {
            "What came is not what the check expects: no HTTP, or content that `http-check expect` or `tcp-check expect` does not accept."
        }
        Layer7Ok => "The response was good.",
        Layer7OkConditional => {
            "The response was 404 where `http-check disable-on-404` stands: the server finishes what it has and gets nothing new."
        }
        Layer7Status => {
            "The status of the response is not accepted, such as 404 or 500: the code stands beside it. By default 2xx and 3xx are; `http-check expect status` changes that. Is the checked address right, does it need a `Host` header?"
        }
        ProcessTimeout => {
            "The program of `external-check` took longer than `timeout check` and was ended."
        }
        ProcessError => "The program of `external-check` failed; its exit code stands beside it.",
        ProcessOk => "The program of `external-check` ended with 0.",
        Analyzed => {
            "Errors of the traffic counted as failed checks: see `observe`, `error-limit` and `on-error`."
        }
    }
}

static STATES: &[(&str, &str)] = &[
    ("UP", "The server serves."),
    (
        "UP 1/3",
        "The server serves, and checks have failed: with one more failure it is down. After the slash stands `fall`, before it how many failures are left.",
    ),
    ("DOWN", "The server failed its checks and gets no traffic."),
    (
        "DOWN 1/2",
        "The server is down and comes back: before the slash stands how many checks were good, after it how many it takes (`rise`).",
    ),
    (
        "DOWN (agent)",
        "The agent that `agent-check` asks said that the server is down.",
    ),
    (
        "NOLB",
        "The server gets only those who belong to it (cookies, stick tables): a check said so by 404 (`http-check disable-on-404`), or `set server health stopping`.",
    ),
    (
        "DRAIN",
        "An operator or an agent took the server's weight: it gets only those who belong to it. `set server <backend>/<server> state ready` ends it.",
    ),
    (
        "MAINT",
        "An operator put the server in maintenance, or `disabled` stands in the file. `enable server <backend>/<server>` ends it.",
    ),
    (
        "MAINT (via)",
        "The server tracks another one (`track`) that is in maintenance: its name stands behind the word.",
    ),
    (
        "MAINT (resolution)",
        "The server's name cannot be resolved: see `show resolvers` and `init-addr`.",
    ),
    (
        "no check",
        "The server is not checked and always taken for up: `check` stands neither on its line nor on `default-server`.",
    ),
];

pub(super) fn documented() -> Vec<Documented> {
    let result = |status: &CheckStatus| {
        let (code, text) = (status.code(), status.text());
        let doc = super::kept(format!("{text}. {}", meaning(*status)));
        row("check result", "Results of checks", (code, code, doc))
    };
    let state = |(name, doc): &(&'static str, &'static str)| {
        row("server state", "States of servers", (name, name, doc))
    };
    let results = CheckStatus::ALL.iter().map(result);
    results.chain(STATES.iter().map(state)).collect()
}
