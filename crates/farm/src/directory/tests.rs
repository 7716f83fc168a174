//! Tests single decisions, and the distribution of many users.

use super::*;
use crate::config::{App, Check, Portal, SessionHost, Sessions, Tokens};
use crate::token::{Claims, NameId};
use crate::user::FarmUser;

/// Creates a farm of hosts with these weights: ts1, ts2 and so on.
pub(crate) fn farm(balance: Balance, weights: &[u32]) -> Farm {
    let host = |(at, weight): (usize, &u32)| {
        let at = u8::try_from(at + 1).unwrap();
        let host = SessionHost {
            address: ([10, 0, 0, at], 3389).into(),
            weight: *weight,
            drained: false,
        };
        (format!("ts{at}"), host)
    };
    Farm {
        name: String::new(),
        binds: Vec::new(),
        hosts: weights.iter().enumerate().map(host).collect(),
        balance,
        check: Check::default(),
        sessions: Sessions::default(),
        tokens: Tokens::default(),
        maxconn: 100,
        users: Default::default(),
        portal: None,
        web: Vec::new(),
        gateway: None,
        agents: Default::default(),
        proxies: Default::default(),
    }
}

/// Adds a program for each of these sets of hosts to a farm.
pub(crate) fn with_apps(mut farm: Farm, sets: &[&[&str]]) -> Farm {
    let app = |hosts: &&[&str]| App {
        name: hosts.join("-"),
        title: hosts.join("-"),
        path: "||APP".to_owned(),
        args: String::new(),
        icon: Vec::new(),
        groups: Vec::new(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
    };
    farm.portal = Some(Portal {
        authority: "desktop.example.org".to_owned(),
        desktop: None,
        apps: sets.iter().map(app).collect(),
        consoles: Vec::new(),
        signs: Vec::new(),
    });
    farm
}

/// Logons of a single node, without peers.
impl UserDirectory {
    pub(crate) fn decide(&mut self, user: &FarmUser, now_ms: u64) -> Result<Decision, NoHost> {
        self.decide_in(user, CollectionId::ALL, now_ms)
    }

    pub(crate) fn decide_in(
        &mut self,
        user: &FarmUser,
        collection: CollectionId,
        now_ms: u64,
    ) -> Result<Decision, NoHost> {
        let logon = Logon {
            id: Assignee::new(user.id, collection),
            name: user.name.clone(),
            hint: None,
        };
        self.decide_alone(&logon, now_ms)
    }

    fn decide_token(&mut self, claims: &Claims, now_ms: u64) -> Result<Decision, NoHost> {
        let logon = Logon {
            id: Assignee::new(claims.user, claims.collection),
            name: String::new(),
            hint: claims.host,
        };
        self.decide_alone(&logon, now_ms)
    }

    fn known_user(&mut self, user: &FarmUser, now_ms: u64) -> Option<Decision> {
        let logon = Logon {
            id: user.id.into(),
            name: user.name.clone(),
            hint: None,
        };
        self.known(&logon, now_ms)
    }
}

fn directory(balance: Balance, weights: &[u32]) -> UserDirectory {
    let mut directory = UserDirectory::default();
    directory.configure(&farm(balance, weights));
    directory
}

fn user(name: &str) -> FarmUser {
    FarmUser::named(name).unwrap()
}

/// Decides, and connects the user.
fn logs_on(directory: &mut UserDirectory, name: &str, now_ms: u64) -> String {
    let user = user(name);
    let decision = directory.decide(&user, now_ms).unwrap();
    directory.connected(user.id.into(), &decision.host, now_ms);
    decision.host
}

#[test]
fn users_are_balanced_by_weight() {
    for balance in [Balance::Load, Balance::Leastconn] {
        let mut directory = directory(balance, &[10, 5, 1]);
        let hosts: Vec<String> = (0..1_600)
            .map(|number| logs_on(&mut directory, &format!("user{number}"), 0))
            .collect();
        let count = |host: &str| hosts.iter().filter(|one| *one == host).count();
        assert_eq!(["ts1", "ts2", "ts3"].map(count), [1_000, 500, 100]);
    }
}

#[test]
fn simultaneous_logons_are_balanced_before_any_arrives() {
    let mut directory = directory(Balance::Load, &[1, 1]);
    let mut count = [0, 0];
    for number in 0..100 {
        let decision = directory
            .decide(&user(&format!("user{number}")), 0)
            .unwrap();
        count[usize::from(decision.host == "ts2")] += 1;
    }
    assert_eq!(count, [50, 50]);
}

#[test]
fn sessions_without_connection_count_by_load_and_not_by_connections() {
    for (balance, next) in [(Balance::Load, "ts2"), (Balance::Leastconn, "ts1")] {
        let mut directory = directory(balance, &[1, 1]);
        let names = ["anna", "bert", "cleo", "dora", "emil"];
        let hosts = names.map(|name| logs_on(&mut directory, name, 0));
        assert_eq!(hosts, ["ts1", "ts2", "ts1", "ts2", "ts1"]);
        for name in ["anna", "cleo", "emil"] {
            directory.ended(user(name).id, "ts1", 1_000);
        }
        assert_eq!(logs_on(&mut directory, "fred", 2_000), next);
    }
}

#[test]
fn a_user_returns_to_the_session_until_it_ends() {
    let mut directory = directory(Balance::Load, &[1, 1]);
    let host = logs_on(&mut directory, "anna", 0);
    let anna = user("ANNA@example.org");
    directory.proved(anna.id, &host, 1);
    assert_eq!(directory.decide(&anna, 5).unwrap().why, Why::Connected);
    directory.ended(anna.id, &host, 10);
    let day = Sessions::default().keep_ms;
    let decision = directory.decide(&anna, 10 + day - 1).unwrap();
    assert_eq!((decision.host, decision.why), (host, Why::Session));
    let after = directory.decide(&anna, 10 + day).unwrap();
    assert!(
        matches!(
            after.why,
            Why::Room {
                has_lost: false,
                ..
            }
        ),
        "{after:?}"
    );
}

#[test]
fn a_logon_that_never_arrives_is_forgotten() {
    let mut directory = directory(Balance::Load, &[1, 1]);
    let anna = user("anna");
    directory.decide(&anna, 0).unwrap();
    assert_eq!(
        directory.decide(&anna, PENDING_MS - 1).unwrap().why,
        Why::Pending
    );
    // The second logon has its own timeout.
    assert_eq!(
        directory.decide(&anna, 2 * PENDING_MS - 2).unwrap().why,
        Why::Pending
    );
    directory.expire(3 * PENDING_MS);
    assert_eq!(directory.users().count(), 0);
    assert!(
        directory
            .hosts()
            .all(|(_, state)| state.counts == Counts::default())
    );
}

#[test]
fn a_drained_or_hung_host_gets_only_its_own_users() {
    let drained = |directory: &mut UserDirectory| assert!(directory.drain("ts1", true, 0));
    let hung =
        |directory: &mut UserDirectory| directory.checked("ts1", Health::Down { since_ms: 0 });
    for leave_out in [drained, hung as fn(&mut UserDirectory)] {
        let mut directory = directory(Balance::Load, &[100, 1]);
        assert_eq!(logs_on(&mut directory, "anna", 0), "ts1");
        directory.ended(user("anna").id, "ts1", 0);
        leave_out(&mut directory);
        for number in 0..20 {
            assert_eq!(logs_on(&mut directory, &format!("user{number}"), 1), "ts2");
        }
        assert_eq!(logs_on(&mut directory, "anna", 2), "ts1");
    }
    let mut directory = directory(Balance::Load, &[1, 1]);
    drained(&mut directory);
    directory.checked("ts2", Health::Down { since_ms: 0 });
    let told = directory.decide(&user("anna"), 1).unwrap_err();
    assert_eq!(
        told.to_string(),
        "no host accepts new users: 1 down, 1 drained or full"
    );
    assert!(!directory.drain("ts3", true, 0));
}

#[test]
fn disconnected_sessions_of_a_down_host_are_lost() {
    let mut directory = directory(Balance::Load, &[100, 1]);
    for name in ["anna", "bert"] {
        assert_eq!(logs_on(&mut directory, name, 0), "ts1");
    }
    directory.ended(user("anna").id, "ts1", 0);
    directory.checked("ts1", Health::Down { since_ms: 1_000 });
    // A later failure does not restart the timeout.
    directory.checked("ts1", Health::Down { since_ms: 30_000 });
    let before = directory.decide(&user("anna"), 60_999).unwrap();
    assert_eq!((before.host.as_str(), before.why), ("ts1", Why::Tried));
    let after = directory.decide(&user("anna"), 61_000).unwrap();
    assert_eq!(after.host, "ts2");
    assert!(
        matches!(after.why, Why::Room { has_lost: true, .. }),
        "{after:?}"
    );
    assert_eq!(directory.decide(&user("bert"), 61_000).unwrap().host, "ts1");
}

#[test]
fn a_token_selects_the_host_of_an_unknown_user() {
    let claims = Claims {
        collection: CollectionId::ALL,
        farm: NameId::of("office"),
        user: user("anna").id,
        host: Some(NameId::of("ts2")),
        expires_s: 0,
    };
    let mut directory = directory(Balance::Load, &[100, 1]);
    let decision = directory.decide_token(&claims, 0).unwrap();
    assert_eq!((decision.host.as_str(), decision.why), ("ts2", Why::Token));
    // The directory's entry takes precedence, and a removed host is never chosen.
    let other = Claims {
        host: Some(NameId::of("ts1")),
        ..claims
    };
    assert_eq!(directory.decide_token(&other, 1).unwrap().host, "ts2");
    let mut directory = directory_with_lost();
    assert_eq!(
        directory.decide_token(&claims, 100_000).unwrap().host,
        "ts1"
    );
}

#[test]
fn a_token_without_a_host_selects_the_least_loaded() {
    let claims = Claims {
        collection: CollectionId::ALL,
        farm: NameId::of("office"),
        user: user("anna").id,
        host: None,
        expires_s: 0,
    };
    let mut directory = directory(Balance::Load, &[1, 100]);
    let decision = directory.decide_token(&claims, 0).unwrap();
    assert_eq!(decision.host, "ts2");
    assert!(matches!(decision.why, Why::Room { .. }), "{decision:?}");
}

fn directory_with_lost() -> UserDirectory {
    let mut directory = directory(Balance::Load, &[1, 1]);
    directory.checked("ts2", Health::Down { since_ms: 0 });
    directory
}

#[test]
fn only_users_with_sessions_return_to_a_removed_host() {
    let mut directory = directory(Balance::Load, &[1, 1, 1]);
    let hosts = ["anna", "bert", "cleo"].map(|name| logs_on(&mut directory, name, 0));
    let dora = directory.decide(&user("dora"), 0).unwrap().host;
    assert_eq!(dora, hosts[0]);
    let mut smaller = farm(Balance::Load, &[1, 1, 1]);
    smaller.hosts.remove(&hosts[0]);
    directory.configure(&smaller);
    assert_eq!(directory.decide(&user("anna"), 1).unwrap().host, hosts[0]);
    assert_eq!(directory.decide(&user("bert"), 1).unwrap().host, hosts[1]);
    // A user who was only sent to the host has no session to lose.
    assert_ne!(directory.decide(&user("dora"), 1).unwrap().host, hosts[0]);
    for number in 0..20 {
        let new = logs_on(&mut directory, &format!("user{number}"), 1);
        assert_ne!(new, hosts[0]);
    }
    directory.ended(user("anna").id, &hosts[0], 2);
    assert_eq!(directory.decide(&user("anna"), 3).unwrap().host, hosts[0]);
    // Without a session the entry is forgotten.
    let over_ms = 2 + directory.table().keep_ms(false);
    directory.expire(over_ms);
    assert!(directory.hosts().all(|(name, _)| name != hosts[0]));
    assert_ne!(
        directory.decide(&user("anna"), over_ms).unwrap().host,
        hosts[0]
    );
    // The end of a connection to the old host does not affect the new one.
    directory.ended(user("anna").id, &hosts[0], over_ms);
    assert_eq!(
        directory.user(user("anna").id).unwrap().presence(),
        Presence::Pending
    );
}

#[test]
fn a_returning_host_has_its_previous_users() {
    let mut directory = directory(Balance::Load, &[1, 1]);
    assert_eq!(logs_on(&mut directory, "anna", 0), "ts1");
    let mut smaller = farm(Balance::Load, &[1, 1]);
    smaller.hosts.remove("ts1");
    directory.configure(&smaller);
    directory.checked("ts1", Health::Up);
    directory.configure(&farm(Balance::Load, &[1, 1]));
    let (_, host) = directory.hosts().find(|(name, _)| *name == "ts1").unwrap();
    assert!(host.accepts_new_users() && host.counts.connected == 1);
    assert_eq!(directory.decide(&user("anna"), 1).unwrap().host, "ts1");
}

#[test]
fn a_pending_logon_leaves_a_host_that_is_down_at_once() {
    let mut directory = directory(Balance::Load, &[1, 1]);
    let anna = user("anna");
    assert_eq!(directory.decide(&anna, 0).unwrap().host, "ts1");
    directory.checked("ts1", Health::Down { since_ms: 1 });
    let decision = directory.decide(&anna, 2).unwrap();
    assert_eq!(decision.host, "ts2");
    assert!(matches!(
        decision.why,
        Why::Room {
            has_lost: false,
            ..
        }
    ));
}

#[test]
fn arbitrary_names_are_bounded_and_evict_no_session() {
    let mut directory = directory(Balance::Load, &[1, 1]);
    let sessions: Vec<FarmUser> = ["anna", "bert", "cleo"].map(user).into();
    for one in &sessions {
        let host = logs_on(&mut directory, &one.name, 0);
        directory.proved(one.id, &host, 0);
        directory.ended(one.id, &host, 0);
    }
    let connected = user("dora");
    logs_on(&mut directory, "dora", 0);
    // Some sessions end at once, some users only log on, and all of them return later.
    for number in 0..2 * UNPROVED_MAX {
        let name = format!("invented{number}");
        let user = user(&name);
        let decision = directory.decide(&user, 1_000).unwrap();
        if number % 2 == 0 {
            directory.connected(user.id.into(), &decision.host, 1_000);
            directory.ended(user.id, &decision.host, 1_000);
        }
    }
    assert_eq!(directory.users().count(), UNPROVED_MAX + 4);
    for one in sessions.iter().chain([&connected]) {
        assert!(directory.user(one.id).is_some(), "{}", one.name);
    }
    directory.expire(1_000 + SHORT_MS);
    assert_eq!(directory.users().count(), 4);
}

#[test]
fn pending_logons_are_not_evicted_by_later_ones() {
    let mut directory = directory(Balance::Load, &[1, 1]);
    for number in 0..UNPROVED_MAX {
        let user = user(&format!("invented{number}"));
        let decision = directory.decide(&user, 1_000).unwrap();
        directory.connected(user.id.into(), &decision.host, 1_000);
        directory.ended(user.id, &decision.host, 1_000);
    }
    let crowd: Vec<FarmUser> = (0..100)
        .map(|number| user(&format!("user{number}")))
        .collect();
    for one in &crowd {
        directory.decide(one, 2_000).unwrap();
    }
    for one in &crowd {
        assert!(directory.user(one.id).is_some(), "{}", one.name);
    }
    assert_eq!(directory.users().count(), UNPROVED_MAX);
}

#[test]
fn a_short_connection_is_remembered_for_a_while() {
    let mut directory = directory(Balance::Load, &[1, 1]);
    let anna = user("anna");
    let host = logs_on(&mut directory, "anna", 0);
    directory.ended(anna.id, &host, 0);
    let known = directory.known_user(&anna, SHORT_MS - 1).unwrap();
    assert_eq!((known.host, known.why), (host.clone(), Why::Tried));
    // In a session, until that ends.
    directory.connected(anna.id.into(), &host, SHORT_MS - 1);
    directory.proved(anna.id, &host, SHORT_MS - 1);
    directory.ended(anna.id, &host, SHORT_MS - 1);
    assert!(directory.known_user(&anna, 2 * SHORT_MS).is_some());
    directory.connected(anna.id.into(), &host, 2 * SHORT_MS);
    directory.ended(anna.id, &host, 2 * SHORT_MS);
    assert!(directory.known_user(&anna, 4 * SHORT_MS).is_some());
}

fn of(hosts: &[&str]) -> CollectionId {
    CollectionId::of(&hosts.iter().map(|host| (*host).to_owned()).collect())
}

/// Three hosts; one program is on ts1 only, one on ts2 and ts3.
fn with_collections() -> UserDirectory {
    let mut directory = UserDirectory::default();
    let farm = farm(Balance::Load, &[1, 1, 1]);
    directory.configure(&with_apps(farm, &[&["ts1"], &["ts2", "ts3"]]));
    directory
}

#[test]
fn a_user_gets_hosts_of_the_collection_only() {
    let mut directory = with_collections();
    for number in 0..9 {
        let user = user(&format!("user{number}"));
        let decision = directory.decide_in(&user, of(&["ts1"]), 0).unwrap();
        assert_eq!(decision.host, "ts1");
    }
    let decision = directory.decide_in(&user("anna"), of(&["ts2", "ts3"]), 0);
    assert_eq!(decision.unwrap().host, "ts2");
    // A token for a host outside the collection is ignored there.
    let claims = Claims {
        collection: of(&["ts2", "ts3"]),
        farm: NameId::of("office"),
        user: user("bert").id,
        host: Some(NameId::of("ts1")),
        expires_s: 0,
    };
    assert_eq!(directory.decide_token(&claims, 0).unwrap().host, "ts3");
}

#[test]
fn the_session_at_a_host_serves_each_collection_that_has_it() {
    let mut directory = with_collections();
    let anna = user("anna");
    let (one, two) = (of(&["ts1"]), of(&["ts2", "ts3"]));
    assert_eq!(directory.decide_in(&anna, two, 0).unwrap().host, "ts2");
    directory.connected(Assignee::new(anna.id, two), "ts2", 0);
    // The desktop is on all hosts, so anna's session serves it, and counts once.
    let desktop = directory.decide(&anna, 1).unwrap();
    assert_eq!(
        (desktop.host.as_str(), desktop.why),
        ("ts2", Why::Connected)
    );
    let counts = |directory: &UserDirectory, host: &str| {
        let mut hosts = directory.hosts();
        hosts.find(|(name, _)| *name == host).unwrap().1.counts
    };
    let connected = Counts {
        connected: 1,
        ..Counts::default()
    };
    assert_eq!(counts(&directory, "ts2"), connected);
    // The host does not have the other program, and the desktop stays where it was.
    assert_eq!(directory.decide_in(&anna, one, 2).unwrap().host, "ts1");
    directory.connected(Assignee::new(anna.id, one), "ts1", 2);
    directory.ended(anna.id, "ts2", 3);
    assert_eq!(directory.decide(&anna, 4).unwrap().host, "ts2");
    assert_eq!(directory.sessions().count(), 2);
    assert_eq!(counts(&directory, "ts1"), connected);
}

#[test]
fn a_drained_collection_refuses_only_new_users() {
    let mut directory = with_collections();
    let (anna, bert, one) = (user("anna"), user("bert"), of(&["ts1"]));
    directory.decide_in(&anna, one, 0).unwrap();
    directory.connected(Assignee::new(anna.id, one), "ts1", 0);
    assert!(directory.drain("ts1", true, 0));
    assert_eq!(directory.decide_in(&anna, one, 1).unwrap().host, "ts1");
    let refused = directory.decide_in(&bert, one, 1);
    let all_drained = NoHost::NoneTakes {
        down: 0,
        drained: 1,
    };
    assert_eq!(refused, Err(all_drained));
    let is_open = |user: &FarmUser| directory.is_open(Assignee::new(user.id, one), 1);
    assert_eq!([&anna, &bert].map(is_open), [true, false]);
}

#[test]
fn a_session_serves_the_current_collection_of_its_host() {
    let mut directory = with_collections();
    let (anna, two) = (user("anna"), of(&["ts2", "ts3"]));
    directory.decide_in(&anna, two, 0).unwrap();
    directory.connected(Assignee::new(anna.id, two), "ts2", 0);
    let farm = farm(Balance::Load, &[1, 1, 1]);
    directory.configure(&with_apps(farm, &[&["ts1", "ts2"], &["ts3"]]));
    let get = |directory: &mut UserDirectory, user: &FarmUser, hosts: &[&str]| {
        directory.decide_in(user, of(hosts), 1).map(|one| one.host)
    };
    assert_eq!(get(&mut directory, &anna, &["ts1", "ts2"]).unwrap(), "ts2");
    assert_eq!(get(&mut directory, &anna, &["ts3"]).unwrap(), "ts3");
    // A token of an old collection: anna's session is still at that host, and no other user has one
    // there.
    assert_eq!(get(&mut directory, &anna, &["ts2", "ts3"]).unwrap(), "ts2");
    let refused = get(&mut directory, &user("bert"), &["ts2", "ts3"]);
    assert_eq!(refused, Err(NoHost::NoCollection));
}

/// Tests orders of two directories that were not connected, whose clocks may be equal.
#[test]
fn the_later_of_two_orders_during_a_cut_wins() {
    for origins in [[1, 2], [2, 1]] {
        let mut nodes = origins.map(|origin| {
            let mut directory = UserDirectory::of(DirectoryId(origin), true);
            directory.configure(&farm(Balance::Load, &[1, 1]));
            directory
        });
        assert!(nodes[0].drain("ts2", true, 5_000));
        // The host is not drained at this node.
        assert!(nodes[1].drain("ts2", false, 6_000));
        let orders = nodes.each_ref().map(|one| one.orders().clone());
        nodes[0].take_orders(&orders[1]);
        nodes[1].take_orders(&orders[0]);
        let drains = |one: &UserDirectory| one.hosts().any(|(_, state)| state.is_ordered);
        assert!(!nodes.iter().any(drains), "{origins:?}");
        // The second node's clock is slow, but the node knows the order that it revokes.
        assert!(nodes[1].drain("ts2", true, 1_000));
        let orders = nodes[1].orders().clone();
        assert!(nodes[0].take_orders(&orders));
        assert!(nodes.iter().all(drains), "{origins:?}");
    }
}
