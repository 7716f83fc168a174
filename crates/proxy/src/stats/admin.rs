//! Executes the actions that an operator submits by the form of the statistics page
//! (`stats admin`).

use super::asked::{ActionStatus, decode};
use crate::health::orders;
use model::config::{Config, Proxy, Server};
use model::state::{AdminState, HealthState, Shutdown};
use std::collections::{HashMap, HashSet};

/// Maximum number of form parameters: enough for a large backend with every server selected.
const PARAMETERS_MAX: usize = 16_384;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AdminAction {
    Admin(AdminState),
    Health(HealthState),
    /// Enables or disables health checks.
    Checks(bool),
    AgentChecks(bool),
    Agent(bool),
    Shutdown,
}

/// Actions with their form value, their text on the page and their effect.
static ACTIONS: &[(&str, &str, AdminAction)] = &[
    (
        "ready",
        "Set state to READY",
        AdminAction::Admin(AdminState::Ready),
    ),
    (
        "drain",
        "Set state to DRAIN",
        AdminAction::Admin(AdminState::Drain),
    ),
    (
        "maint",
        "Set state to MAINT",
        AdminAction::Admin(AdminState::Maintenance),
    ),
    (
        "dhlth",
        "Health: disable checks",
        AdminAction::Checks(false),
    ),
    ("ehlth", "Health: enable checks", AdminAction::Checks(true)),
    (
        "hrunn",
        "Health: force UP",
        AdminAction::Health(HealthState::Up),
    ),
    (
        "hnolb",
        "Health: force NOLB",
        AdminAction::Health(HealthState::Stopping),
    ),
    (
        "hdown",
        "Health: force DOWN",
        AdminAction::Health(HealthState::Down),
    ),
    (
        "dagent",
        "Agent: disable checks",
        AdminAction::AgentChecks(false),
    ),
    (
        "eagent",
        "Agent: enable checks",
        AdminAction::AgentChecks(true),
    ),
    ("arunn", "Agent: force UP", AdminAction::Agent(true)),
    ("adown", "Agent: force DOWN", AdminAction::Agent(false)),
    ("shutdown", "Kill Sessions", AdminAction::Shutdown),
];

/// Form values of old versions of the page, which scripts still send.
static OLD_WORDS: &[(&str, AdminAction)] = &[
    ("enable", AdminAction::Admin(AdminState::Ready)),
    ("disable", AdminAction::Admin(AdminState::Maintenance)),
    ("stop", AdminAction::Admin(AdminState::Drain)),
    ("start", AdminAction::Admin(AdminState::Ready)),
];

fn action(word: &[u8]) -> Option<AdminAction> {
    let now = ACTIONS.iter().map(|(known, _, action)| (known, action));
    let old = OLD_WORDS.iter().map(|(known, action)| (known, action));
    let mut all = now.chain(old);
    all.find(|(known, _)| known.as_bytes() == word)
        .map(|(_, action)| *action)
}

/// Returns the form values and texts of the actions.
pub fn actions() -> impl Iterator<Item = (&'static str, &'static str)> {
    ACTIONS.iter().map(|(word, text, _)| (*word, *text))
}

#[derive(Default)]
struct AdminForm {
    backend: Vec<u8>,
    action: Option<Vec<u8>>,
    servers: Vec<Vec<u8>>,
    /// A person submitted the form on the page, so ending sessions requires a confirmation. Forms
    /// of scripts do not.
    ask: bool,
}

#[derive(Debug)]
pub enum AdminOutcome<'c> {
    Ended(ActionStatus),
    Ask(Kill<'c>),
}

/// Servers whose sessions are to be ended, if confirmed.
#[derive(Debug)]
pub struct Kill<'c> {
    pub backend: &'c Proxy,
    pub servers: Vec<&'c Server>,
}

/// Performs the action of a form on the proxies that `shown` selects.
pub fn run<'c>(
    config: &'c Config,
    body: &[u8],
    shown: impl Fn(&Proxy) -> bool,
) -> AdminOutcome<'c> {
    let form = match AdminForm::parse(body) {
        Ok(form) => form,
        Err(status) => return AdminOutcome::Ended(status),
    };
    let Some(word) = form.action.as_deref().filter(|_| !form.servers.is_empty()) else {
        return AdminOutcome::Ended(ActionStatus::None);
    };
    let backend = find(config, &form.backend).filter(|proxy| shown(proxy));
    let (Some(action), Some(backend)) = (action(word), backend) else {
        return AdminOutcome::Ended(ActionStatus::Wrong);
    };
    if form.ask && action == AdminAction::Shutdown {
        let named: HashSet<&[u8]> = form.servers.iter().map(|name| &**name).collect();
        let is_named = |server: &&Server| named.contains(server.name.as_bytes());
        let servers: Vec<&Server> = backend.servers.iter().filter(is_named).collect();
        if !servers.is_empty() {
            return AdminOutcome::Ask(Kill { backend, servers });
        }
    }
    AdminOutcome::Ended(apply(config, backend, action, &form.servers))
}

impl AdminForm {
    fn parse(body: &[u8]) -> Result<AdminForm, ActionStatus> {
        let mut form = AdminForm::default();
        for (n, pair) in body.split(|b| *b == b'&').enumerate() {
            if n >= PARAMETERS_MAX {
                return Err(ActionStatus::TooMany);
            }
            let mut parts = pair.splitn(2, |b| *b == b'=');
            let name = parts.next().unwrap_or_default();
            let value = decode(parts.next().unwrap_or_default());
            match name {
                b"b" => form.backend = value,
                // Keeps the first action, because a button counts if the list gives an action, too.
                b"action" if !value.is_empty() && form.action.is_none() => {
                    form.action = Some(value)
                }
                b"s" => form.servers.push(value),
                b"ask" => form.ask = value == b"1",
                _ => {}
            }
        }
        Ok(form)
    }
}

/// Finds a backend by its name, or by `#` and its id.
fn find<'c>(config: &'c Config, name: &[u8]) -> Option<&'c Proxy> {
    let name = std::str::from_utf8(name).ok()?;
    let id = name.strip_prefix('#').and_then(|id| id.parse::<u32>().ok());
    config
        .proxies
        .iter()
        .filter(|proxy| proxy.kind.is_backend())
        .find(|proxy| match id {
            Some(id) => proxy.id == id,
            None => *proxy.name == *name,
        })
}

fn apply(config: &Config, backend: &Proxy, action: AdminAction, names: &[Vec<u8>]) -> ActionStatus {
    let known: HashMap<&[u8], _> = backend
        .servers
        .iter()
        .map(|server| (server.name.as_bytes(), server))
        .collect();
    let (mut found, mut changed) = (0, 0);
    for server in names.iter().filter_map(|name| known.get(&**name)) {
        found += 1;
        match action {
            AdminAction::Admin(admin) => orders::set_admin(config, backend, server, admin),
            AdminAction::Health(health) => orders::set_health(config, backend, server, health),
            AdminAction::Checks(checked) if server.options.check => {
                server.state.stop_checks(!checked)
            }
            AdminAction::AgentChecks(on) if server.options.agent.check => {
                server.state.stop_agent(!on);
            }
            AdminAction::Agent(up) if server.state.has_agent() => {
                orders::set_agent(config, backend, server, up, "changed from Web interface");
            }
            // Skips servers that have neither a check nor an agent, and thus no such setting.
            AdminAction::Checks(_) | AdminAction::AgentChecks(_) | AdminAction::Agent(_) => {
                continue;
            }
            AdminAction::Shutdown => server.state.shut_sessions_down(Shutdown::Killed),
        }
        changed += 1;
    }
    match (found, changed) {
        (0, _) => ActionStatus::Wrong,
        (_, 0) => ActionStatus::None,
        (n, _) if n < names.len() => ActionStatus::Part,
        _ => ActionStatus::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyword::testing::load_text;
    use model::state;

    fn ended(config: &Config, body: &[u8], shown: impl Fn(&Proxy) -> bool) -> ActionStatus {
        match run(config, body, shown) {
            AdminOutcome::Ended(status) => status,
            AdminOutcome::Ask(kill) => panic!("it asks about {:?}", kill.servers.len()),
        }
    }

    #[test]
    fn form_changes_its_servers_and_reports_the_result() {
        let file =
            "listen b\nbind 127.0.0.1:1\nserver s1 127.0.0.1:80 check\nserver s+2 127.0.0.1:81\n";
        let mut config = load_text(&file.replace("s+2", "s:2")).config.unwrap();
        model::control::install(&mut config, None, state::now_ms());
        let id = config.proxies[0].id;
        let by_id = format!("s=s1&s=s%3A2&action=drain&b=%23{id}");
        let run = |body: &str| ended(&config, body.as_bytes(), |_| true);
        let status = |n: usize| {
            config.proxies[0].servers[n]
                .state
                .report(state::now_ms())
                .status_text()
        };
        assert_eq!(run(&by_id), ActionStatus::Done);
        assert_eq!((status(0), status(1)), ("DRAIN 1/3".into(), "DRAIN".into()));
        assert_eq!(run("s=s1&s=nope&action=maint&b=b"), ActionStatus::Part);
        assert_eq!((status(0), status(1)), ("MAINT".into(), "DRAIN".into()));
        assert_eq!(run("s=s1&action=ready&b=b"), ActionStatus::Done);
        assert_eq!(run("s=s1&s=s:2&action=dhlth&b=b"), ActionStatus::Done);
        assert!(config.proxies[0].servers[0].state.checks_stopped());
        assert_eq!(status(0), "no check");
        assert_eq!(run("s=s1&action=ehlth&b=b"), ActionStatus::Done);
        assert!(!config.proxies[0].servers[0].state.checks_stopped());
        assert_eq!(run("s=s1&action=dagent&b=b"), ActionStatus::None);
        assert_eq!(run("s=s1&action=disable&b=b"), ActionStatus::Done);
        assert_eq!(status(0), "MAINT");
        assert_eq!(run("s=s1&action=enable&b=b"), ActionStatus::Done);
        assert_eq!(run("s=s1&action=hdown&b=b"), ActionStatus::Done);
        assert_eq!(status(0), "DOWN");
        for (body, outcome) in [
            ("s=nope&action=ready&b=b", ActionStatus::Wrong),
            ("s=s1&action=fly&b=b", ActionStatus::Wrong),
            ("s=s1&action=ready&b=c", ActionStatus::Wrong),
            ("s=s1&action=ready&b=%23999", ActionStatus::Wrong),
            ("action=ready&b=b", ActionStatus::None),
            ("s=s1&action=&b=b", ActionStatus::None),
            ("s=s1&b=b", ActionStatus::None),
            ("", ActionStatus::None),
            ("%zz&&&=", ActionStatus::None),
        ] {
            assert_eq!(run(body), outcome, "{body}");
        }
        let many = format!("s=s1&action=ready&b=b{}", "&".repeat(PARAMETERS_MAX));
        assert_eq!(run(&many), ActionStatus::TooMany);
    }

    #[test]
    fn a_form_changes_agents_also_of_servers_without_a_check() {
        let file = "listen b\nbind 127.0.0.1:1\nserver s 127.0.0.1:80 agent-check agent-port 1\n";
        let mut config = load_text(file).config.unwrap();
        model::control::install(&mut config, None, state::now_ms());
        let state = &config.proxies[0].servers[0].state;
        let run = |action: &str| {
            let body = format!("s=s&action={action}&b=b");
            ended(&config, body.as_bytes(), |_| true)
        };
        assert_eq!(run("adown"), ActionStatus::Done);
        assert_eq!(state.report(state::now_ms()).status_text(), "DOWN (agent)");
        assert_eq!(run("arunn"), ActionStatus::Done);
        assert_eq!(state.report(state::now_ms()).status_text(), "no check");
        assert_eq!(run("dagent"), ActionStatus::Done);
        assert!(state.agent_stopped());
        assert_eq!(run("adown"), ActionStatus::None);
        assert_eq!(run("eagent"), ActionStatus::Done);
        assert!(!state.agent_stopped());
    }

    #[test]
    fn hidden_proxy_cannot_be_changed() {
        let file = "listen b\nbind 127.0.0.1:1\nserver s1 127.0.0.1:80\n";
        let config = load_text(file).config.unwrap();
        let outcome = ended(&config, b"s=s1&action=maint&b=b", |_| false);
        assert_eq!(outcome, ActionStatus::Wrong);
    }

    #[test]
    fn killing_sessions_needs_a_confirmation() {
        let file = "listen b\nbind 127.0.0.1:1\nserver s1 127.0.0.1:80\nserver s2 127.0.0.1:81\n";
        let mut config = load_text(file).config.unwrap();
        model::control::install(&mut config, None, state::now_ms());
        let asks = |body: &str| match run(&config, body.as_bytes(), |_| true) {
            AdminOutcome::Ask(kill) => kill.servers.iter().map(|s| s.name.to_string()).collect(),
            AdminOutcome::Ended(_) => Vec::new(),
        };
        assert_eq!(asks("s=s2&s=nope&action=shutdown&b=b&ask=1"), ["s2"]);
        for body in [
            // The form as a script or the confirmation page sends it.
            "s=s2&action=shutdown&b=b",
            "s=s2&action=drain&b=b&ask=1",
            "s=nope&action=shutdown&b=b&ask=1",
            "action=shutdown&b=b&ask=1",
            // If a button and the list both give an action, the button counts.
            "s=s2&action=drain&action=shutdown&b=b&ask=1",
        ] {
            assert!(asks(body).is_empty(), "{body}");
        }
        let status = config.proxies[0].servers[1].state.report(state::now_ms());
        assert_eq!(status.status_text(), "DRAIN");
    }
}
