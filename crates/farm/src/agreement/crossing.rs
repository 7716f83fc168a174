//! Simulates histories, by seed, in which users log on for several collections at once at two
//! nodes, and the connection breaks now and then for less than the timeout. Checks that no user
//! gets a second host in a collection.

use super::*;
use crate::collection::{Assignee, CollectionId};
use crate::config::Balance;
use crate::directory::PENDING_MS;
use crate::directory::simulation::DirectoryDefect;
use crate::directory::tests::{farm, with_apps};
use crate::user::FarmUser;
use lab::Random;
use lab::sim::{assert_found, run_seeds};
use record::{BROKEN_MS, Defect};
use std::collections::VecDeque;

const NODES: [&str; 2] = ["alpha", "beta"];
const USERS: u64 = 4;
const STEPS: u64 = 400;

struct CrossingSimulation {
    random: Random,
    now_ms: u64,
    nodes: [Agreement; 2],
    /// Messages in flight to each node, with the time of arrival.
    packets: [VecDeque<(u64, AgreementMessage)>; 2],
    /// Time at which a broken connection works again; None while it works.
    broken_until_ms: Option<u64>,
    tickets: [BTreeMap<u64, (u64, CollectionId)>; 2],
    /// Hosts of each user by collection, with the time until which they are valid.
    hosts: BTreeMap<(u64, CollectionId), (String, u64)>,
    collections: BTreeMap<CollectionId, BTreeSet<String>>,
}

impl CrossingSimulation {
    fn new(seed: u64, defect: Option<DirectoryDefect>) -> CrossingSimulation {
        let farm = farm(Balance::Load, &[1, 2, 1, 1]);
        let farm = with_apps(farm, &[&["ts1", "ts2"], &["ts2", "ts3"], &["ts4"]]);
        let mut collections = farm.collections();
        collections.insert(CollectionId::ALL, farm.hosts.keys().cloned().collect());
        let nodes = [0_u64, 1].map(|at| {
            let mut agreement = Agreement::shared(DirectoryId(at + 1), 0);
            agreement.directory.plant(defect);
            agreement.directory.configure(&farm);
            let other = if at == 0 { "beta" } else { "alpha" };
            agreement.set_peers(&BTreeSet::from([other.to_owned()]), 0);
            agreement
        });
        let mut world = CrossingSimulation {
            random: Random::new(seed),
            now_ms: 1,
            nodes,
            packets: Default::default(),
            broken_until_ms: None,
            tickets: Default::default(),
            hosts: BTreeMap::new(),
            collections,
        };
        world.links();
        world
    }

    fn links(&mut self) {
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let origin = DirectoryId(if at == 0 { 2 } else { 1 });
            node.linked(NODES[1 - at], origin, self.now_ms);
        }
    }

    fn step(&mut self) -> Result<(), String> {
        let user = self.random.below(USERS);
        let collections: Vec<CollectionId> = self.collections.keys().copied().collect();
        match self.random.below(100) {
            0..30 => {
                let (at, of) = (self.random.index(2), *self.random.pick_ref(&collections));
                self.logs_on(at, (user, of))?;
            }
            30..45 => {
                // Logs on for two collections at the same time.
                for at in 0..2 {
                    let of = *self.random.pick_ref(&collections);
                    self.logs_on(at, (user, of))?;
                }
            }
            45..48 if self.broken_until_ms.is_none() => self.breaks(),
            48..50 if self.is_quiet() => self.now_ms += PENDING_MS + 1,
            _ => {}
        }
        for _ in 0..self.random.below(6) {
            self.slice()?;
        }
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        let has_packet = self.packets.iter().any(|packets| !packets.is_empty());
        let waits = self.tickets.iter().any(|tickets| !tickets.is_empty());
        let agrees = self.nodes.iter().all(|node| node.synced().len() == 1);
        agrees && !has_packet && !waits
    }

    fn breaks(&mut self) {
        self.packets.iter_mut().for_each(VecDeque::clear);
        for (at, node) in self.nodes.iter_mut().enumerate() {
            node.broke(NODES[1 - at], "a test", self.now_ms);
        }
        self.broken_until_ms = Some(self.now_ms + self.random.below(BROKEN_MS - 10));
    }

    fn slice(&mut self) -> Result<(), String> {
        self.now_ms += 1;
        if self
            .broken_until_ms
            .is_some_and(|until| until <= self.now_ms)
        {
            self.broken_until_ms = None;
            self.links();
        }
        for at in 0..2 {
            while let Some((due, _)) = self.packets[at].front()
                && *due <= self.now_ms
                && let Some((_, message)) = self.packets[at].pop_front()
            {
                let handled = self.nodes[at].handle(NODES[1 - at], message, self.now_ms);
                handled.map_err(|error| error.to_string())?;
            }
            self.nodes[at].tick(self.now_ms);
            if let Some((_, why)) = self.nodes[at].take_broken().first() {
                return Err(format!("a node gives the other one up: {why}"));
            }
            for (ticket, decided) in self.nodes[at].take_resolved() {
                let who = self.tickets[at]
                    .remove(&ticket)
                    .ok_or("an unknown ticket")?;
                self.decided(who, decided)?;
            }
            // Delivers a message after the previous one, which it must not overtake.
            let last = self.packets[1 - at].back().map_or(0, |(due, _)| *due);
            let due = last.max(self.now_ms + 1 + self.random.below(3));
            while let Some(message) =
                self.nodes[at].next_message(NODES[1 - at], [0; 8], self.now_ms)
            {
                self.packets[1 - at].push_back((due, message));
            }
        }
        Ok(())
    }

    fn logs_on(&mut self, at: usize, who: (u64, CollectionId)) -> Result<(), String> {
        let name = format!("user{}", who.0);
        let user = FarmUser::named(&name).expect("a name").id;
        let id = Assignee::new(user, who.1);
        let hint = None;
        match self.nodes[at].request(Logon { id, name, hint }, self.now_ms) {
            LogonOutcome::Decided(decided) => self.decided(who, decided),
            LogonOutcome::Waits(ticket) => {
                self.tickets[at].insert(ticket, who);
                Ok(())
            }
        }
    }

    fn decided(
        &mut self,
        (user, of): (u64, CollectionId),
        decided: Result<Decision, NoHost>,
    ) -> Result<(), String> {
        let decision = decided.map_err(|error| error.to_string())?;
        let (now_ms, host) = (self.now_ms, decision.host);
        let set = &self.collections[&of];
        if !set.contains(&host) {
            return Err(format!("user{user} gets {host} and not one of {set:?}"));
        }
        // Drops expired hosts from the check: around the end of a logon's timeout one node may have
        // forgotten the logon, and the other one not.
        self.hosts.retain(|_, (_, until_ms)| now_ms < *until_ms);
        let mut own = self.hosts.iter().filter(|((one, _), _)| *one == user);
        let there: BTreeSet<&String> = own
            .by_ref()
            .map(|(_, (host, _))| host)
            .filter(|host| set.contains(*host))
            .collect();
        if !there.is_empty() && !there.contains(&host) {
            return Err(format!(
                "at {now_ms} user{user} is at {there:?}, and gets {host}"
            ));
        }
        let before = self.hosts.get(&(user, of));
        if let Some((before, _)) = before.filter(|(before, _)| *before != host) {
            return Err(format!(
                "at {now_ms} user{user} goes from {before} to {host}"
            ));
        }
        self.hosts
            .insert((user, of), (host, now_ms + PENDING_MS - 2_000));
        Ok(())
    }
}

fn history(seed: u64, defect: Option<DirectoryDefect>) -> Result<(), String> {
    let mut world = CrossingSimulation::new(seed, defect);
    for step in 0..STEPS {
        let found = world.step();
        found.map_err(|found| format!("seed {seed}, step {step}: {found}"))?;
    }
    // Lets the simulation run until no logon waits.
    for _ in 0..3_000 {
        world.slice()?;
    }
    if world.tickets.iter().all(BTreeMap::is_empty) {
        Ok(())
    } else {
        Err(format!("seed {seed}: a logon waits for ever"))
    }
}

#[test]
fn two_nodes_never_split_a_user_across_a_collection() {
    run_seeds("FARM", 100, |seed| history(seed, None));
}

#[test]
fn the_checker_finds_deliberate_defects_of_collections() {
    let defects = [
        DirectoryDefect::Store(Defect::ClaimsCross),
        DirectoryDefect::LooksAtOneCollection,
        DirectoryDefect::AnyHostServes,
        DirectoryDefect::Store(Defect::AsksNobody),
    ];
    assert_found(&defects, 30, |seed, defect| history(seed, Some(defect)));
}
