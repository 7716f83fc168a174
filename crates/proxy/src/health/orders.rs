//! Executes an operator's changes of a server (administrative state, health, result of the agent,
//! weight) from the statistics page or a statistics socket, and logs them in HAProxy's wording,
//! because scripts parse it.

use super::report::state_name;
use model::config::{Config, Proxy, Server};

use model::log::{self, Level};
use model::state::{
    AdminReport, AdminState, AgentResult, AgentVerdict, CheckStatus, HealthState, ServerChange,
    ServerReport, now_ms,
};

type BackendLogLine = (Level, String);

pub fn set_admin(config: &Config, proxy: &Proxy, server: &Server, admin: AdminState) {
    let now = now_ms();
    let before = server.state.report(now);
    let change = server.state.set_admin(admin, now);
    let after = server.state.report(now);
    log_change(
        config,
        proxy,
        admin_line(proxy, server, &before, &after, &change),
        &change,
    );
    tell_of_trackers(config, server);
}

fn tell_of_trackers(config: &Config, server: &Server) {
    super::tell_of_trackers(config, server, &mut |proxy, level, line| {
        log::notice(config, proxy, super::log_level(level), line);
    });
}

/// Sets the health of a server, as if its checks had found that (`set server … health`).
pub fn set_health(config: &Config, proxy: &Proxy, server: &Server, health: HealthState) {
    let change = server.state.set_health(health, now_ms());
    let line = change
        .happened()
        .then(|| health_line(proxy, server, health, &change));
    log_change(config, proxy, line, &change);
    tell_of_trackers(config, server);
}

/// Sets the state that a server's agent would report (`set server … agent`): up or down.
pub fn set_agent(config: &Config, proxy: &Proxy, server: &Server, up: bool, info: &'static str) {
    let (said, status) = if up {
        (AgentVerdict::Up, CheckStatus::Layer7Ok)
    } else {
        (AgentVerdict::Down, CheckStatus::Layer7Status)
    };
    let result = AgentResult {
        status: Some(status),
        info: info.into(),
        duration_ms: 0,
    };
    let (change, _) = server.state.take_agent(said, result.clone(), now_ms());
    super::tell_of_agent(config, proxy, server, &result, &change);
}

pub fn set_weight(config: &Config, proxy: &Proxy, server: &Server, weight: u32) {
    let change = server.state.set_weight(weight, now_ms());
    log_change(config, proxy, None, &change);
}

fn log_change(config: &Config, proxy: &Proxy, line: Option<BackendLogLine>, change: &ServerChange) {
    if let Some((level, text)) = line {
        log::notice(config, proxy, level, &text);
    }
    if change.lineup.went_down {
        let text = format!("backend {} has no server available!", proxy.name);
        log::notice(config, proxy, Level::Emergency, &text);
    }
}

/// Formats the end of the message that a server went down:
/// `. 1 active and 0 backup servers left. …`.
fn left(server: &Server, change: &ServerChange) -> String {
    let (active, backup) = (change.lineup.active, change.lineup.backup);
    let on_backup = on_backup(change);
    format!(
        ". {active} active and {backup} backup servers left.{on_backup} {} sessions active, \
         {} requeued, {} remaining in queue.",
        server.state.traffic.sessions.current(),
        change.requeued,
        server.state.queue.waiting.current()
    )
}

fn online(server: &Server, change: &ServerChange) -> String {
    let (active, backup) = (change.lineup.active, change.lineup.backup);
    let on_backup = on_backup(change);
    format!(
        ". {active} active and {backup} backup servers online.{on_backup} {} sessions requeued, \
         {} total in queue.",
        change.requeued,
        server.state.queue.waiting.current()
    )
}

fn on_backup(change: &ServerChange) -> &'static str {
    let only = change.lineup.active == 0 && change.lineup.backup > 0;
    if only { " Running on backup." } else { "" }
}

/// Returns the severity of the message that a server went down: an alert, unless the server was
/// already draining or stopping.
fn down_severity(before: &ServerReport) -> Level {
    let stopping = before.admin == AdminReport::Drain || before.health == HealthState::Stopping;
    if stopping {
        Level::Notice
    } else {
        Level::Alert
    }
}

fn admin_line(
    proxy: &Proxy,
    server: &Server,
    before: &ServerReport,
    after: &ServerReport,
    change: &ServerChange,
) -> Option<BackendLogLine> {
    use AdminReport::{Drain, Maintenance, Ready};
    let name = state_name(proxy, server);
    let up = if after.health == HealthState::Down {
        "DOWN"
    } else {
        "UP"
    };
    let line = match (before.admin, after.admin) {
        (was, is) if was == is => return None,
        (_, Maintenance) if change.was_up => {
            let text = format!(
                "{name} is going DOWN for maintenance{}",
                left(server, change)
            );
            (down_severity(before), text)
        }
        (_, Maintenance) => (
            Level::Notice,
            format!("{name} was DOWN and now enters maintenance."),
        ),
        (Maintenance, Drain) => (
            Level::Notice,
            format!("{name} is {up}/DRAIN (leaving forced maintenance)."),
        ),
        (Maintenance, Ready) => (
            Level::Notice,
            format!("{name} is {up}/READY (leaving forced maintenance)."),
        ),
        (Ready, Drain) => (
            Level::Notice,
            format!("{name} enters drain state{}", online(server, change)),
        ),
        (Drain, Ready) => (
            Level::Notice,
            format!("{name} is {up} (leaving forced drain)."),
        ),
        _ => return None,
    };
    Some(line)
}

fn health_line(
    proxy: &Proxy,
    server: &Server,
    health: HealthState,
    change: &ServerChange,
) -> BackendLogLine {
    let name = state_name(proxy, server);
    match health {
        HealthState::Down => (
            Level::Alert,
            format!("{name} is DOWN, changed from CLI{}", left(server, change)),
        ),
        HealthState::Stopping => (
            Level::Notice,
            format!(
                "{name} is stopping, changed from CLI{}",
                online(server, change)
            ),
        ),
        HealthState::Up => (
            Level::Notice,
            format!("{name} is UP, changed from CLI{}", online(server, change)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyword::testing::load_text;

    fn text(line: Option<BackendLogLine>) -> String {
        line.map(|(level, text)| format!("{level:?} {text}"))
            .unwrap_or_default()
    }

    #[test]
    fn log_messages_equal_haproxys() {
        let file = "listen b\nbind 127.0.0.1:1\nserver s1 127.0.0.1:80\n\
                    server s2 127.0.0.1:81 backup\n";
        let mut config = load_text(file).config.unwrap();
        model::control::install(&mut config, None, now_ms());
        let proxy = &config.proxies[0];
        let (s1, s2) = (&proxy.servers[0], &proxy.servers[1]);
        let set = |server: &Server, admin| {
            let before = server.state.report(now_ms());
            let change = server.state.set_admin(admin, now_ms());
            let after = server.state.report(now_ms());
            text(admin_line(proxy, server, &before, &after, &change))
        };
        let rest = "0 active and 1 backup servers";
        assert_eq!(
            set(s1, AdminState::Drain),
            format!(
                "Notice Server b/s1 enters drain state. {rest} online. Running on backup. 0 sessions requeued, 0 total in queue."
            )
        );
        assert_eq!(
            set(s1, AdminState::Maintenance),
            format!(
                "Notice Server b/s1 is going DOWN for maintenance. {rest} left. Running on backup. 0 sessions active, 0 requeued, 0 remaining in queue."
            )
        );
        assert_eq!(set(s1, AdminState::Maintenance), "");
        assert_eq!(
            set(s2, AdminState::Maintenance),
            "Alert Backup Server b/s2 is going DOWN for maintenance. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue."
        );
        assert_eq!(
            set(s1, AdminState::Drain),
            "Notice Server b/s1 is UP/DRAIN (leaving forced maintenance)."
        );
        assert_eq!(
            set(s1, AdminState::Ready),
            "Notice Server b/s1 is UP (leaving forced drain)."
        );
        assert_eq!(
            set(s2, AdminState::Ready),
            "Notice Backup Server b/s2 is UP/READY (leaving forced maintenance)."
        );
        let change = s1.state.set_health(HealthState::Down, now_ms());
        assert_eq!(
            text(Some(health_line(proxy, s1, HealthState::Down, &change))),
            "Alert Server b/s1 is DOWN, changed from CLI. 0 active and 1 backup servers left. Running on backup. 0 sessions active, 0 requeued, 0 remaining in queue."
        );
        assert_eq!(
            set(s1, AdminState::Maintenance),
            "Notice Server b/s1 was DOWN and now enters maintenance."
        );
    }

    #[test]
    fn maintenance_of_a_tracked_server_is_logged_for_those_that_track_it() {
        let file = "listen b\nbind 127.0.0.1:1\nserver s 127.0.0.1:80 check\n\
                    server t1 127.0.0.1:81 track s\nserver t2 127.0.0.1:82 track s\n";
        let mut config = load_text(file).config.unwrap();
        model::control::install(&mut config, None, now_ms());
        let s = &config.proxies[0].servers[0];
        let told = |admin| {
            s.state.set_admin(admin, now_ms());
            let mut lines = Vec::new();
            crate::health::tell_of_trackers(&config, s, &mut |_, level, line| {
                lines.push(format!("{level:?} {line}"));
            });
            lines
        };
        let down = |name: &str, active: u32| {
            format!(
                "Alert Server b/{name} is going DOWN for maintenance via b/s. {active} active and 0 backup servers left. \
                 0 sessions active, 0 requeued, 0 remaining in queue."
            )
        };
        let gone = told(AdminState::Maintenance);
        assert_eq!(gone[..2], [down("t2", 1), down("t1", 0)]);
        let back =
            |name: &str| format!("Notice Server b/{name} is UP/READY (leaving maintenance).");
        assert_eq!(told(AdminState::Ready), [back("t2"), back("t1")]);
    }
}
