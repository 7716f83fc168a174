//! Supplies the manual's entries about results of health checks and states of servers, as logs,
//! statistics and `show stat` print them.

use super::row;
use language::keyword::Documented;
use model::state::CheckStatus;

/// Explains the result of a check. A star in front marks that the next check is running.
fn meaning(status: CheckStatus) -> &'static str {
    use CheckStatus::*;
    match status {
        Initializing => "No check has completed yet.",
        SocketError => {
            "The check could not start: no source port, no memory, too many open files. The problem is on this \
             machine, not on the server."
        }
        Layer4Ok => {
            "The connection was established. This check tests nothing else: see `option httpchk` and similar options \
             for more."
        }
        Layer4Timeout => {
            "No connection within `timeout connect` or `timeout check`: the host is down, overloaded, or a firewall \
             drops packets."
        }
        Layer4Error => {
            "The connection was refused or the host is unreachable: no listener, or a firewall rejects. The log shows \
             the system error."
        }
        Layer6Ok => "The TLS handshake succeeded.",
        Layer6Timeout => "The TLS handshake timed out.",
        Layer6Invalid => {
            "The TLS handshake failed: the port speaks no TLS, or the server's certificate is not trusted (`ca-file`, `verify`, `check-sni`)."
        }
        Layer7Timeout => {
            "Connected, but no response within `timeout check`: the application is stuck, or the checked page is too \
             slow."
        }
        Layer7Invalid => {
            "The response is not what the check expects: not HTTP, or content that `http-check expect` or `tcp-check \
             expect` rejects."
        }
        Layer7Ok => "The response was valid.",
        Layer7OkConditional => {
            "The response was 404 with `http-check disable-on-404`: the server finishes its sessions and gets no new \
             ones."
        }
        Layer7Status => {
            "The response has an unexpected status, such as 404 or 500, which is shown beside it. By default 2xx and \
             3xx are accepted; `http-check expect status` changes that. Check the URL, and whether it needs a `Host` \
             header."
        }
        ProcessTimeout => {
            "The program of `external-check` exceeded `timeout check` and was killed."
        }
        ProcessError => "The program of `external-check` failed; its exit code is shown beside it.",
        ProcessOk => "The program of `external-check` exited with 0.",
        Analyzed => {
            "Errors of the traffic counted as failed checks: see `observe`, `error-limit` and `on-error`."
        }
    }
}

static STATES: &[(&str, &str)] = &[
    ("UP", "The server is up."),
    (
        "UP 1/3",
        "The server is up, but checks have failed. After the slash is `fall`, before it the number of further \
         failures until the server is down.",
    ),
    (
        "DOWN",
        "The server failed its health checks and gets no traffic.",
    ),
    (
        "DOWN 1/2",
        "The server is down and recovering: before the slash is the number of successful checks, after it the number \
         required (`rise`).",
    ),
    (
        "DOWN (agent)",
        "The agent of `agent-check` reported the server as down.",
    ),
    (
        "NOLB",
        "The server only gets persistent sessions (cookies, stick tables): a check returned 404 (`http-check \
         disable-on-404`), or an operator used `set server health stopping`.",
    ),
    (
        "DRAIN",
        "An operator or an agent set the weight to 0: the server only gets persistent sessions. `set server \
         <backend>/<server> state ready` ends this state.",
    ),
    (
        "MAINT",
        "An operator put the server in maintenance, or its line has `disabled`. `enable server <backend>/<server>` \
         ends this state.",
    ),
    (
        "MAINT (via)",
        "The server tracks another one (`track`) that is in maintenance; its name follows.",
    ),
    (
        "MAINT (resolution)",
        "The server's name does not resolve: see `show resolvers` and `init-addr`.",
    ),
    (
        "no check",
        "The server is not checked and always counts as up: neither its line nor `default-server` has `check`.",
    ),
];

pub(super) fn documented() -> Vec<Documented> {
    let result = |status: &CheckStatus| {
        let (code, text) = (status.code(), status.text());
        let doc = super::kept(format!("{text}. {}", meaning(*status)));
        row("check result", "Health check results", code, code, doc)
    };
    let state = |(name, doc): &(&'static str, &'static str)| {
        row("server state", "Server states", name, name, doc)
    };
    let results = CheckStatus::ALL.iter().map(result);
    results.chain(STATES.iter().map(state)).collect()
}
