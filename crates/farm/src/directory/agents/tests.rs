//! Tests single agent reports, and simulates histories of two nodes that both poll, by seed.
//! Sessions begin and end with and without the farm, reports are old, and both nodes lose all they
//! knew.

use super::super::tests::{farm, with_apps};
use super::super::{Decision, DirectoryId, Why};
use super::*;
use crate::collection::CollectionId;
use crate::config::{Agent, Balance, Farm};
use crate::directory::Health;
use crate::user::FarmUser;
use lab::Random;
use lab::sim::run_seeds;

fn user(name: &str) -> FarmUser {
    FarmUser::named(name).unwrap()
}

fn with_agents(weights: &[u32]) -> Farm {
    let mut farm = farm(Balance::Load, weights);
    let agent = Agent {
        port: 9_707,
        interval_ms: 5_000,
    };
    farm.agents.hosts = farm
        .hosts
        .keys()
        .map(|name| (name.clone(), agent))
        .collect();
    farm
}

fn directory(weights: &[u32]) -> UserDirectory {
    let mut directory = UserDirectory::default();
    directory.configure(&with_agents(weights));
    directory
}

fn report(text: &str) -> AgentReply {
    AgentReply::read(text.as_bytes()).unwrap()
}

/// Returns a report with all sessions of a host.
fn naming(names: &[&str]) -> AgentReply {
    let all: Vec<_> = names.iter().map(|name| (*name, false, None)).collect();
    report(&crate::agent::report::write("up", &all, 0))
}

fn hears(directory: &mut UserDirectory, host: &str, report: &AgentReply, now_ms: u64) -> News {
    let times = Times {
        asked_ms: now_ms,
        now_ms,
    };
    directory.reported(host, report, times, |_| false)
}

fn decides(directory: &mut UserDirectory, name: &str, now_ms: u64) -> Decision {
    directory.decide(&user(name), now_ms).unwrap()
}

#[test]
fn a_user_is_routed_to_an_agent_session() {
    let mut directory = directory(&[100, 1]);
    let text = "up\nsessions 2\nsession EXAMPLE\\Anna disconnected 90\nsession bert active\n";
    let news = hears(&mut directory, "ts2", &report(text), 100_000);
    assert_eq!(news.known.len(), 2);
    let decision = decides(&mut directory, "anna", 100_001);
    assert_eq!(
        (decision.host.as_str(), decision.why),
        ("ts2", Why::Session)
    );
    let anna = directory.user(user("anna").id).unwrap();
    assert_eq!((anna.name.as_str(), anna.since_ms), ("anna", 10_000));
    let seen = directory.seen(user("anna").id, "ts2").unwrap();
    assert_eq!((seen.is_active, seen.since_s), (false, Some(90)));
    assert_eq!(
        hears(&mut directory, "ts2", &report(text), 105_000),
        News::default()
    );
}

#[test]
fn agent_sessions_belong_to_the_collections_of_their_hosts() {
    let mut directory = UserDirectory::default();
    directory.configure(&with_apps(
        with_agents(&[1, 1, 1]),
        &[&["ts1"], &["ts2", "ts3"]],
    ));
    let of =
        |hosts: &[&str]| CollectionId::of(&hosts.iter().map(|host| (*host).to_owned()).collect());
    hears(&mut directory, "ts1", &naming(&["anna"]), 0);
    let news = hears(&mut directory, "ts3", &naming(&["anna"]), 0);
    assert_eq!(news.known, [user("anna").id]);
    let gets = |directory: &mut UserDirectory, of: CollectionId, now_ms| {
        directory.decide_in(&user("anna"), of, now_ms).unwrap().host
    };
    assert_eq!(gets(&mut directory, of(&["ts1"]), 1), "ts1");
    assert_eq!(gets(&mut directory, of(&["ts2", "ts3"]), 1), "ts3");
    assert_eq!(gets(&mut directory, CollectionId::ALL, 1), "ts1");
    // The end of a session ends it in each collection that it served.
    for now_ms in [5_000, 10_000, 15_000] {
        hears(&mut directory, "ts1", &naming(&[]), now_ms);
    }
    assert_eq!(directory.of_user(user("anna").id).count(), 1);
    assert_eq!(gets(&mut directory, CollectionId::ALL, 15_001), "ts3");
}

#[test]
fn an_agent_session_prevents_a_second_host_in_its_collection() {
    let mut directory = UserDirectory::default();
    directory.configure(&with_apps(with_agents(&[1, 1]), &[&["ts2"]]));
    // The user is sent to ts1 for the desktop, although the session is at ts2.
    assert_eq!(decides(&mut directory, "anna", 0).host, "ts1");
    let news = hears(&mut directory, "ts2", &naming(&["anna"]), 1);
    assert_eq!(news.known, [user("anna").id]);
    assert_eq!(decides(&mut directory, "anna", 2).host, "ts2");
}

#[test]
fn a_session_that_is_no_longer_reported_is_over_after_two_reports() {
    let mut directory = directory(&[100, 1]);
    hears(&mut directory, "ts2", &naming(&["anna"]), 0);
    let none = naming(&[]);
    assert_eq!(hears(&mut directory, "ts2", &none, 5_000).over, []);
    assert_eq!(decides(&mut directory, "anna", 5_001).host, "ts2");
    // The new logon restarts the count of reports without the session.
    assert_eq!(hears(&mut directory, "ts2", &none, 10_000).over, []);
    let over = [user("anna").id];
    assert_eq!(hears(&mut directory, "ts2", &none, 15_000).over, over);
    assert_eq!(decides(&mut directory, "anna", 15_001).host, "ts1");
}

#[test]
fn a_session_stays_without_a_complete_agent_report() {
    for text in [
        "up\n",
        "down\n",
        "up\nsessions 3\nsession bert active\n",
        "drain",
    ] {
        let mut directory = directory(&[100, 1]);
        hears(&mut directory, "ts2", &naming(&["anna"]), 0);
        for round in 1..10 {
            let news = hears(&mut directory, "ts2", &report(text), round * 5_000);
            assert_eq!(news.over, [], "{text}");
        }
        assert_eq!(
            decides(&mut directory, "anna", 60_000).host,
            "ts2",
            "{text}"
        );
    }
}

#[test]
fn connected_or_never_reported_sessions_are_not_ended() {
    let mut directory = directory(&[1, 1]);
    let none = naming(&[]);
    for name in ["anna", "bert"] {
        let host = decides(&mut directory, name, 0).host;
        directory.connected(user(name).id.into(), &host, 0);
    }
    // The agent has another name for anna, as with a principal name.
    directory.ended(user("anna").id, "ts1", 1);
    for round in 1..5 {
        hears(&mut directory, "ts1", &none, round * 5_000);
    }
    assert_eq!(decides(&mut directory, "anna", 30_000).host, "ts1");
    hears(&mut directory, "ts2", &naming(&["bert"]), 30_000);
    for round in 7..12 {
        assert_eq!(hears(&mut directory, "ts2", &none, round * 5_000).over, []);
    }
    directory.ended(user("bert").id, "ts2", 60_000);
    assert_eq!(hears(&mut directory, "ts2", &none, 65_000).over, []);
    assert_eq!(hears(&mut directory, "ts2", &none, 70_000).over.len(), 1);
}

#[test]
fn a_session_between_two_reports_is_ended() {
    let mut directory = directory(&[1, 1]);
    let none = naming(&[]);
    hears(&mut directory, "ts1", &none, 0);
    assert_eq!(decides(&mut directory, "anna", 1_000).host, "ts1");
    directory.connected(user("anna").id.into(), "ts1", 1_000);
    directory.ended(user("anna").id, "ts1", 4_000);
    assert_eq!(hears(&mut directory, "ts1", &none, 5_000).over, []);
    assert_eq!(hears(&mut directory, "ts1", &none, 10_000).over.len(), 1);
    // Another user is connected, and the agent has another name for this user.
    assert_eq!(decides(&mut directory, "bert", 11_000).host, "ts1");
    directory.connected(user("bert").id.into(), "ts1", 11_000);
    hears(&mut directory, "ts1", &report(OTHER_NAME), 15_000);
    directory.ended(user("bert").id, "ts1", 16_000);
    // The same again, with a shorter time.
    directory.connected(user("bert").id.into(), "ts1", 17_000);
    directory.ended(user("bert").id, "ts1", 18_000);
    for round in 4..200 {
        assert_eq!(
            hears(&mut directory, "ts1", &none, round * 5_000)
                .over
                .len(),
            usize::from(round == 5)
        );
    }
    let known = directory.user(user("bert").id);
    assert!(known.is_none_or(|entry| entry.host == "ts1"));
}

/// Report with a session under a name that the farm does not know.
const OTHER_NAME: &str = "up\nsessions 1\nsession hbert active 3\n";

#[test]
fn a_logon_without_a_session_ends_after_two_reports() {
    for text in [
        "up\nsessions 0\n",
        // Other users have sessions, one of them old and not through the farm.
        "up\nsessions 2\nsession anna active 600\nsession emil active 900\n",
    ] {
        let mut directory = directory(&[100, 1]);
        let text = report(text);
        assert_eq!(decides(&mut directory, "anna", 0).host, "ts1");
        directory.connected(user("anna").id.into(), "ts1", 0);
        hears(&mut directory, "ts1", &text, 900_000);
        assert_eq!(decides(&mut directory, "bert", 1_000_000).host, "ts1");
        directory.connected(user("bert").id.into(), "ts1", 1_000_000);
        for round in 1..60 {
            assert_eq!(
                hears(&mut directory, "ts1", &text, 1_000_000 + round * 1_000).over,
                []
            );
        }
        directory.ended(user("bert").id, "ts1", 1_061_000);
        let why = decides(&mut directory, "bert", 1_061_001).why;
        assert_eq!(why, Why::Tried);
        assert_eq!(hears(&mut directory, "ts1", &text, 1_062_000).over, []);
        let over = hears(&mut directory, "ts1", &text, 1_063_000).over;
        assert_eq!(over, [user("bert").id]);
    }
}

#[test]
fn a_short_logon_with_a_different_name_stays() {
    // The report with the session arrives while the user is connected, or later.
    for ended_ms in [14_000, 16_000] {
        let mut directory = directory(&[100, 1]);
        hears(&mut directory, "ts1", &naming(&[]), 5_000);
        assert_eq!(decides(&mut directory, "bert", 11_000).host, "ts1");
        directory.connected(user("bert").id.into(), "ts1", 11_000);
        let at_end = |directory: &mut UserDirectory, now_ms| {
            if now_ms >= ended_ms {
                directory.ended(user("bert").id, "ts1", ended_ms);
            }
        };
        at_end(&mut directory, 15_000);
        hears(&mut directory, "ts1", &report(OTHER_NAME), 15_000);
        at_end(&mut directory, 20_000);
        for round in 4..20 {
            let news = hears(&mut directory, "ts1", &naming(&["hbert"]), round * 5_000);
            assert_eq!(news.over, [], "{ended_ms}");
        }
        assert!(directory.user(user("bert").id).is_some());
    }
}

#[test]
fn a_report_requested_before_a_logon_does_not_move_it() {
    let mut directory = directory(&[100, 1]);
    assert_eq!(decides(&mut directory, "anna", 1_000).host, "ts1");
    let times = |asked_ms| Times {
        asked_ms,
        now_ms: 2_000,
    };
    let says = naming(&["anna"]);
    directory.reported("ts2", &says, times(999), |_| false);
    assert_eq!(decides(&mut directory, "anna", 2_001).host, "ts1");
    // A pending claim decides about its user, so the report does not.
    directory.reported("ts2", &says, times(1_500), |id| id == user("anna").id);
    assert_eq!(decides(&mut directory, "anna", 2_001).host, "ts1");
    directory.reported("ts2", &says, times(1_500), |_| false);
    assert_eq!(decides(&mut directory, "anna", 2_002).host, "ts2");
    // A user who has connected to a host stays there.
    directory.connected(user("anna").id.into(), "ts2", 3_000);
    hears(&mut directory, "ts1", &naming(&["anna"]), 8_000);
    assert_eq!(decides(&mut directory, "anna", 8_001).host, "ts2");
}

#[test]
fn a_reported_session_is_kept_beyond_the_time_of_the_farm() {
    let mut directory = directory(&[100, 1]);
    let day_ms = 86_400_000;
    for hour in 0..40 {
        hears(
            &mut directory,
            "ts2",
            &naming(&["anna"]),
            hour * day_ms / 24,
        );
    }
    assert_eq!(
        decides(&mut directory, "anna", 40 * day_ms / 24).host,
        "ts2"
    );
}

#[test]
fn agent_words_drain_a_host_and_set_its_weight() {
    let mut directory = directory(&[1, 1]);
    let mut hosts = |text: &str, count: usize| -> Vec<String> {
        let mut new = directory.clone();
        hears(&mut new, "ts1", &report(text), 0);
        directory = new.clone();
        let names = (0..count).map(|number| format!("user{number}"));
        names.map(|name| decides(&mut new, &name, 1).host).collect()
    };
    let ts1 = |hosts: Vec<String>| hosts.iter().filter(|one| *one == "ts1").count();
    assert_eq!(ts1(hosts("up 50%", 30)), 10);
    assert_eq!(ts1(hosts("up", 30)), 10);
    assert_eq!(ts1(hosts("200%", 30)), 20);
    assert_eq!(ts1(hosts("0%", 30)), 0);
    assert_eq!(ts1(hosts("100%", 30)), 15);
    for out in ["drain", "maint"] {
        assert_eq!(ts1(hosts(out, 30)), 0);
        assert_eq!(ts1(hosts("up", 30)), 0, "{out} holds until `ready`");
        assert_eq!(ts1(hosts("ready", 30)), 15);
    }
    assert_eq!(ts1(hosts("down", 30)), 0);
    assert_eq!(ts1(hosts("up maxconn:3", 30)), 3);
    // A host that its agent reports as down keeps its sessions.
    hears(&mut directory, "ts1", &naming(&["anna"]), 0);
    hears(&mut directory, "ts1", &report("down"), 0);
    assert_eq!(decides(&mut directory, "anna", 100_000).host, "ts1");
    // Without an agent the host accepts users.
    directory.configure(&farm(Balance::Load, &[1, 1]));
    assert!(
        directory
            .hosts()
            .all(|(_, state)| state.accepts_new_users())
    );
}

#[test]
fn sessions_not_routed_by_the_farm_count() {
    for (balance, first) in [(Balance::Load, 4), (Balance::Leastconn, 2)] {
        let mut farm = with_agents(&[1, 1]);
        farm.balance = balance;
        let mut directory = UserDirectory::default();
        directory.configure(&farm);
        // Two of the four sessions belong to the same user, and another one has no name.
        let text = "up\nsessions 4\nsession a active\nsession b active\nsession b disconnected\n";
        hears(&mut directory, "ts1", &report(text), 0);
        let hosts: Vec<String> = (0..first + 1)
            .map(|number| decides(&mut directory, &format!("user{number}"), 1).host)
            .collect();
        assert_eq!(hosts[first - 1], "ts2", "{hosts:?}");
        assert_eq!(hosts[first], "ts1", "{hosts:?}");
    }
}

#[test]
fn users_known_from_an_agent_are_bounded() {
    let mut directory = directory(&[1, 1]);
    let names: Vec<String> = (0..2_000).map(|number| format!("{number:x}")).collect();
    for round in 0..6 {
        let mut text = "up\nsessions 9999\n".to_owned();
        for name in &names {
            text.push_str(&format!("session r{round}-{name} active\n"));
        }
        hears(&mut directory, "ts1", &report(&text), round * 5_000);
    }
    assert_eq!(directory.users().count(), SEEN_MAX);
    // Sessions that are missing in a complete list end in time.
    for round in 6..9 {
        hears(&mut directory, "ts1", &naming(&["anna"]), round * 5_000);
    }
    assert_eq!(directory.users().count(), 1);
}

const HOSTS: [&str; 3] = ["ts1", "ts2", "ts3"];
const USERS: u64 = 12;
const ROUND_MS: u64 = 5_000;

/// Report that a node has requested and that has not arrived yet.
struct PendingReport {
    node: usize,
    host: &'static str,
    asked_ms: u64,
    due_ms: u64,
    report: AgentReply,
}

/// Session on a host, and the node that carries its connection.
#[derive(Clone, Copy, Debug)]
struct Session {
    host: &'static str,
    by: Option<usize>,
}

struct AgentSimulation {
    now_ms: u64,
    random: Random,
    nodes: [UserDirectory; 2],
    is_cut: bool,
    sessions: BTreeMap<u64, Session>,
    asked: Vec<PendingReport>,
    /// Before this time the nodes may not know all sessions: the agents' first reports after the
    /// start of a node or of a session have not arrived. Logons are not checked before it.
    settled_ms: u64,
}

fn name(user: u64) -> String {
    format!("user{user}")
}

impl AgentSimulation {
    fn new(seed: u64) -> AgentSimulation {
        let mut world = AgentSimulation {
            now_ms: 1_000,
            random: Random::new(seed),
            nodes: Default::default(),
            is_cut: false,
            sessions: BTreeMap::new(),
            asked: Vec::new(),
            settled_ms: 0,
        };
        world.begin();
        world
    }

    /// Starts both nodes without state.
    fn begin(&mut self) {
        for at in 0..2 {
            let mut directory = UserDirectory::of(DirectoryId(self.random.next()), true);
            directory.configure(&with_agents(&[1, 2, 1]));
            self.nodes[at] = directory;
            self.asked.clear();
        }
        for session in self.sessions.values_mut() {
            session.by = None;
        }
        self.settled_ms = self.now_ms + 3 * ROUND_MS;
    }

    fn share(&mut self) {
        if self.is_cut {
            return;
        }
        for from in 0..2 {
            let touched = self.nodes[from].table_mut().take_unsent();
            let origin = self.nodes[from].table().origin();
            for (id, by) in touched {
                let to = &mut self.nodes[1 - from];
                if by == Some(to.table().origin()) {
                    continue;
                }
                if let Some(record) = self.nodes[from].record(id, self.now_ms) {
                    self.nodes[1 - from].merge(&record, origin, self.now_ms);
                }
            }
        }
    }

    /// Disconnects the nodes: each assumes that the other one's connections have ended.
    fn cut(&mut self) {
        self.is_cut = true;
        for at in 0..2 {
            let other = self.nodes[1 - at].table().origin();
            self.nodes[at].lost(other, self.now_ms);
        }
    }

    /// Reconnects the nodes: each receives everything that the other one knows.
    fn heal(&mut self) {
        self.is_cut = false;
        self.share();
        for from in 0..2 {
            let origin = self.nodes[from].table().origin();
            let all: Vec<Assignee> = self.nodes[from].users().map(|(id, _)| id).collect();
            for id in all {
                if let Some(record) = self.nodes[from].record(id, self.now_ms) {
                    self.nodes[1 - from].merge(&record, origin, self.now_ms);
                }
            }
        }
        self.share();
    }

    fn asks(&mut self, node: usize, host: &'static str, delay_ms: u64) {
        let here = self.sessions.iter().filter(|(_, one)| one.host == host);
        let names: Vec<(String, bool)> = here
            .map(|(user, one)| (name(*user), one.by.is_some()))
            .collect();
        let all: Vec<_> = names
            .iter()
            .map(|(name, is_active)| (name.as_str(), *is_active, None))
            .collect();
        self.asked.push(PendingReport {
            node,
            host,
            asked_ms: self.now_ms,
            due_ms: self.now_ms + delay_ms,
            report: report(&crate::agent::report::write("up", &all, 0)),
        });
    }

    fn hear(&mut self) {
        let now_ms = self.now_ms;
        let all = std::mem::take(&mut self.asked);
        let (due, later) = all.into_iter().partition(|one| one.due_ms <= now_ms);
        self.asked = later;
        let due: Vec<PendingReport> = due;
        for one in due {
            let asked_ms = one.asked_ms;
            let times = Times { asked_ms, now_ms };
            self.nodes[one.node].reported(one.host, &one.report, times, |_| false);
            self.share();
        }
    }

    /// Polls all agents from both nodes.
    fn round(&mut self, delay_ms: u64) {
        for node in 0..2 {
            for host in HOSTS {
                let delay_ms = self.random.below(delay_ms + 1);
                self.asks(node, host, delay_ms);
            }
        }
        let end = self.now_ms + ROUND_MS;
        while self.now_ms < end {
            self.now_ms += 100;
            self.hear();
        }
    }

    fn logs_on(&mut self, user: u64, comes: bool) -> Result<(), String> {
        let at = self.random.index(2);
        if self.is_cut || self.now_ms < self.settled_ms {
            return Ok(());
        }
        let now_ms = self.now_ms;
        let decision = self.nodes[at].decide(&self::user(&name(user)), now_ms);
        self.share();
        let host = decision.map_err(|error| error.to_string())?.host;
        let host = HOSTS.into_iter().find(|one| *one == host).unwrap();
        match self.sessions.get(&user) {
            Some(session) if session.host != host => {
                return Err(format!("user{user} comes to {host}, not to {session:?}"));
            }
            Some(session) if session.by.is_some() => return Ok(()),
            _ => {}
        }
        if comes {
            let id = self::user(&name(user)).id;
            self.nodes[at].connected(id.into(), host, now_ms);
            let by = Some(at);
            self.sessions.insert(user, Session { host, by });
            self.share();
        }
        Ok(())
    }

    fn disconnects(&mut self, user: u64) {
        let now_ms = self.now_ms;
        if let Some(session) = self.sessions.get_mut(&user)
            && let Some(by) = session.by.take()
        {
            let id = self::user(&name(user)).id;
            self.nodes[by].ended(id, session.host, now_ms);
            self.share();
        }
    }

    fn step(&mut self) -> Result<(), String> {
        let user = self.random.below(USERS);
        match self.random.below(100) {
            0..30 => self.logs_on(user, true)?,
            30..40 => self.logs_on(user, false)?,
            40..55 => self.disconnects(user),
            55..70 => {
                // The user signs out.
                self.disconnects(user);
                self.sessions.remove(&user);
            }
            // A session that was started at the host itself; the farm may be sending the user to
            // another host at the same time.
            70..75 if !self.is_known(user) => {
                let host = self.random.pick(&HOSTS);
                self.sessions.insert(user, Session { host, by: None });
                self.settled_ms = self.settled_ms.max(self.now_ms + 3 * ROUND_MS);
            }
            75..78 => self.cut(),
            78..84 => self.heal(),
            84 => self.begin(),
            _ => self.round(4_900),
        }
        self.now_ms += self.random.below(500);
        self.hear();
        Ok(())
    }

    fn is_known(&self, user: u64) -> bool {
        let id = self::user(&name(user)).id;
        let knows = |node: &UserDirectory| node.user(id).is_some();
        self.sessions.contains_key(&user) || self.nodes.iter().any(knows)
    }

    /// Checks that both directories end up with the existing sessions.
    fn compare(&mut self) -> Result<(), String> {
        self.heal();
        self.hear();
        // Logons without a connection have expired.
        self.now_ms += 70_000;
        self.hear();
        for _ in 0..4 {
            self.round(0);
        }
        for (at, node) in self.nodes.iter().enumerate() {
            for user in 0..USERS {
                let id = self::user(&name(user)).id;
                let host = node.user(id).map(|entry| entry.host.as_str());
                let session = self.sessions.get(&user).map(|session| session.host);
                if host != session {
                    return Err(format!(
                        "node {at}: user{user} at {host:?}, not {session:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn history(seed: u64) -> Result<(), String> {
    let mut world = AgentSimulation::new(seed);
    for step in 0..400 {
        let found = world.step();
        found.map_err(|found| format!("seed {seed}, step {step}: {found}"))?;
    }
    world
        .compare()
        .map_err(|found| format!("seed {seed}: {found}"))
}

#[test]
fn two_polling_nodes_know_all_sessions() {
    run_seeds("FARM", 100, history);
}

#[test]
fn a_down_host_loses_its_reported_sessions_too() {
    let mut directory = directory(&[1, 1]);
    hears(&mut directory, "ts2", &naming(&["anna"]), 0);
    directory.checked("ts2", Health::Down { since_ms: 0 });
    assert_eq!(decides(&mut directory, "anna", 59_999).host, "ts2");
    assert_eq!(decides(&mut directory, "anna", 60_000).host, "ts1");
}
