//! Simulates histories of a farm, by seed: users log on, connect, return and stay away. Hosts are
//! drained, hang and return, the configuration is reloaded, and programs move to other hosts. An
//! independent checker judges each decision, and has to find deliberate defects.

use super::tests::{farm, with_apps};
use super::*;
use crate::user::{FarmUser, UserId};
use lab::Random;
use lab::sim::{assert_found, run_seeds};
use record::Defect;

/// Number of users of a history.
const USERS: u64 = 40;
const STEPS: u64 = 1_500;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DirectoryDefect {
    /// Bug: a defect of the record store.
    Store(Defect),
    /// Bug: a drained host accepts new users.
    DrainedTakes,
    /// Bug: sessions in other collections are ignored.
    LooksAtOneCollection,
    /// Bug: a host outside the collection serves it, too.
    AnyHostServes,
}

impl UserDirectory {
    pub(crate) fn plant(&mut self, defect: Option<DirectoryDefect>) {
        self.defect = defect;
        if let Some(DirectoryDefect::Store(defect)) = defect {
            self.table.set_defect(Some(defect));
        }
    }
}

/// A user in a collection, who has one host.
type Who = (u64, CollectionId);

/// Expected state of a user in a collection.
#[derive(Clone, Debug)]
struct ExpectedAssignment {
    host: String,
    last_ms: u64,
}

/// Expected state of a user at a host.
#[derive(Clone, Debug)]
struct There {
    connections: u32,
    last_ms: u64,
}

struct DirectorySimulation {
    directory: UserDirectory,
    farm: Farm,
    now_ms: u64,
    down: BTreeMap<String, u64>,
    drained: BTreeSet<String>,
    users: BTreeMap<Who, ExpectedAssignment>,
    there: BTreeMap<(u64, String), There>,
    /// All collections that have ever existed.
    collections: BTreeSet<CollectionId>,
}

impl DirectorySimulation {
    fn new(defect: Option<DirectoryDefect>, random: &mut Random) -> DirectorySimulation {
        let balance = random.pick(&[Balance::Load, Balance::Leastconn]);
        let weights: Vec<u32> = (0..random.between(2, 5))
            .map(|_| random.pick(&[1, 2, 10]))
            .collect();
        let mut directory = UserDirectory::default();
        directory.plant(defect);
        let mut world = DirectorySimulation {
            directory,
            farm: farm(balance, &weights),
            now_ms: 1,
            down: BTreeMap::new(),
            drained: BTreeSet::new(),
            users: BTreeMap::new(),
            there: BTreeMap::new(),
            collections: BTreeSet::from([CollectionId::ALL]),
        };
        world.places_apps(random);
        world
    }

    /// Moves programs to other hosts.
    fn places_apps(&mut self, random: &mut Random) {
        let hosts: Vec<String> = self.farm.hosts.keys().cloned().collect();
        let mut sets = Vec::new();
        for _ in 0..random.below(4) {
            let some = hosts.iter().filter(|_| random.percent(40));
            sets.push(some.map(String::as_str).collect::<Vec<_>>());
        }
        sets.retain(|hosts| !hosts.is_empty());
        let sets: Vec<&[&str]> = sets.iter().map(Vec::as_slice).collect();
        self.farm = with_apps(self.farm.clone(), &sets);
        self.reloads();
    }

    fn reloads(&mut self) {
        self.directory.configure(&self.farm);
        self.collections.extend(self.farm.collections().into_keys());
    }

    fn step(&mut self, random: &mut Random) -> Result<(), String> {
        self.now_ms += match random.below(100) {
            0 => random.below(26 * 3_600_000),
            1..5 => random.below(2 * PENDING_MS),
            _ => random.below(500),
        };
        self.expires();
        let hosts: Vec<String> = self.farm.hosts.keys().cloned().collect();
        let host = random.pick_ref(&hosts).clone();
        let collections: Vec<CollectionId> = if random.once_in(10) {
            self.collections.iter().copied().collect()
        } else {
            self.farm
                .collections()
                .into_keys()
                .chain([CollectionId::ALL])
                .collect()
        };
        let who = (random.below(USERS), *random.pick_ref(&collections));
        match random.below(200) {
            0..80 => self.logs_on(who)?,
            80..130 => self.connects(who),
            130..170 => self.ends(who.0, &host),
            170..180 => {
                let since_ms = self.now_ms;
                self.directory.checked(&host, Health::Down { since_ms });
                self.down.entry(host).or_insert(since_ms);
            }
            180..190 => {
                self.directory.checked(&host, Health::Up);
                self.down.remove(&host);
            }
            190..194 => {
                assert!(self.directory.drain(&host, true, 0));
                self.drained.insert(host);
            }
            194..198 => {
                assert!(self.directory.drain(&host, false, 0));
                self.drained.remove(&host);
            }
            198 => self.places_apps(random),
            _ if hosts.len() > 2 => self.remove(&host),
            _ => self.reloads(),
        }
        self.counts()
    }

    fn remove(&mut self, host: &str) {
        self.farm.hosts.remove(host);
        for app in self
            .farm
            .portal
            .iter_mut()
            .flat_map(|portal| &mut portal.apps)
        {
            app.hosts.remove(host);
        }
        self.reloads();
        // Users with a session keep their host, and no others.
        let there = &self.there;
        self.users.retain(|(user, _), known| {
            known.host != host || there.contains_key(&(*user, known.host.clone()))
        });
        self.drained.insert(host.to_owned());
    }

    /// Removes expected logons without a connection, and sessions that have ended.
    fn expires(&mut self) {
        self.directory.expire(self.now_ms);
        let (keep_ms, now_ms) = (self.farm.sessions.keep_ms, self.now_ms);
        let is_over = |there: &There| there.connections == 0 && now_ms >= there.last_ms + keep_ms;
        let there = &self.there;
        self.users.retain(
            |(user, _), known| match there.get(&(*user, known.host.clone())) {
                Some(there) => !is_over(there),
                None => now_ms < known.last_ms + PENDING_MS,
            },
        );
        self.there.retain(|_, there| !is_over(there));
    }

    /// Returns whether a user has to get another host than before.
    fn must_move(&self, user: u64, known: &ExpectedAssignment) -> bool {
        let there = self.there.get(&(user, known.host.clone()));
        let down_ms = self.down.get(&known.host).map(|since| self.now_ms - since);
        match (there, down_ms) {
            (Some(there), Some(ms)) => {
                there.connections == 0 && ms >= self.farm.sessions.lost_after_ms
            }
            (None, Some(_)) => true,
            _ => false,
        }
    }

    fn has(&self, collection: CollectionId, host: &str) -> bool {
        let collections = self.farm.collections();
        let hosts = collections.get(&collection);
        collection == CollectionId::ALL || hosts.is_some_and(|hosts| hosts.contains(host))
    }

    /// Returns the hosts of the user's sessions in other collections that also serve this
    /// collection.
    fn elsewhere(&self, (user, collection): Who) -> BTreeSet<String> {
        let own = self.users.range((user, CollectionId::ALL)..);
        let own = own.take_while(|((one, _), _)| *one == user);
        own.filter(|((_, other), known)| {
            *other != collection
                && self.has(collection, &known.host)
                && !self.must_move(user, known)
        })
        .map(|(_, known)| known.host.clone())
        .collect()
    }

    fn logs_on(&mut self, who: Who) -> Result<(), String> {
        let (user, collection) = who;
        let own = self.users.get(&who);
        let must_move = own.is_some_and(|known| self.must_move(user, known));
        let may_move = own.is_none() || must_move;
        let elsewhere = self.elsewhere(who);
        let named = FarmUser::named(&format!("user{user}")).expect("a name");
        let decided = self.directory.decide_in(&named, collection, self.now_ms);
        let is_open = |host: &String| {
            self.has(collection, host)
                && !self.down.contains_key(host)
                && !self.drained.contains(host)
        };
        let Ok(decision) = &decided else {
            if self.farm.hosts.keys().any(is_open) || !may_move || !elsewhere.is_empty() {
                return Err(format!(
                    "user{user} is refused in {collection:?}: {decided:?}, {own:?}, {elsewhere:?}"
                ));
            }
            return Ok(());
        };
        let host = decision.host.clone();
        let stays = own.is_some_and(|known| known.host == host);
        if !may_move && !stays {
            return Err(format!("user{user} comes to {host}, not back: {own:?}"));
        }
        let is_configured = self.farm.collections().contains_key(&collection);
        let is_removed = !self.farm.hosts.contains_key(&host);
        if is_configured && !is_removed && !self.has(collection, &host) {
            return Err(format!(
                "user{user} comes to {host}, which is not in the collection"
            ));
        }
        if may_move && !elsewhere.is_empty() && !elsewhere.contains(&host) {
            return Err(format!(
                "user{user} has a session at {elsewhere:?}, and gets {host}"
            ));
        }
        if may_move && elsewhere.is_empty() && !is_open(&host) {
            return Err(format!("user{user} is new on {host}, which takes nobody"));
        }
        if must_move && stays {
            return Err(format!("user{user} stays on {host}, which is lost"));
        }
        let last_ms = self.now_ms;
        let there = self.there.get(&(user, host.clone()));
        let is_over = may_move && !elsewhere.contains(&host);
        if is_over && there.is_some_and(|there| there.connections == 0) {
            // A session that had ended is a new one now.
            self.there.remove(&(user, host.clone()));
        }
        self.users.insert(who, ExpectedAssignment { host, last_ms });
        Ok(())
    }

    /// Connects the client of a logon, if it is in time.
    fn connects(&mut self, who: Who) {
        let (user, now_ms) = (who.0, self.now_ms);
        let Some(known) = self.users.get(&who) else {
            return;
        };
        if self.must_move(user, known) {
            return;
        }
        let host = known.host.clone();
        let id = FarmUser::named(&format!("user{user}")).expect("a name").id;
        let assignee = Assignee::new(id, who.1);
        self.directory.connected(assignee, &host, now_ms);
        // The connection lasts long enough for a session.
        self.directory.proved(id, &host, now_ms);
        let first = || There {
            connections: 0,
            last_ms: now_ms,
        };
        let there = self.there.entry((user, host)).or_insert_with(first);
        there.connections += 1;
    }

    fn ends(&mut self, user: u64, host: &str) {
        let now_ms = self.now_ms;
        let there = self.there.get_mut(&(user, host.to_owned()));
        if let Some(there) = there.filter(|there| there.connections > 0) {
            there.connections -= 1;
            there.last_ms = now_ms;
            let id = FarmUser::named(&format!("user{user}")).expect("a name").id;
            self.directory.ended(id, host, now_ms);
        }
    }

    /// Checks that the counters of the hosts match the users.
    fn counts(&self) -> Result<(), String> {
        for (name, state) in self.directory.hosts() {
            // A user with several sessions at a host counts once.
            let mut here: BTreeMap<UserId, Presence> = BTreeMap::new();
            for (id, entry) in self
                .directory
                .users()
                .filter(|(_, entry)| entry.host == name)
            {
                let one = here.entry(id.user).or_insert(entry.presence());
                if let (Presence::Pending, other) = (*one, entry.presence()) {
                    *one = other;
                }
            }
            let mut counts = Counts::default();
            here.into_values().for_each(|presence| counts.add(presence));
            if counts != state.counts {
                return Err(format!(
                    "{name}: {:?}, and its users are {counts:?}",
                    state.counts
                ));
            }
        }
        let waiting = self
            .directory
            .users()
            .filter(|(_, entry)| entry.until_ms.is_some());
        if waiting.count() == self.directory.table().expiring() {
            Ok(())
        } else {
            Err("the times of users are not those of the users".to_owned())
        }
    }
}

/// Runs a history; returns what the checker found.
fn history(seed: u64, defect: Option<DirectoryDefect>) -> Result<(), String> {
    let mut random = Random::new(seed);
    let mut world = DirectorySimulation::new(defect, &mut random);
    for step in 0..STEPS {
        let found = world.step(&mut random);
        found.map_err(|found| format!("seed {seed}, step {step}: {found}"))?;
    }
    Ok(())
}

#[test]
fn no_history_routes_a_user_to_a_second_host() {
    run_seeds("FARM", 300, |seed| history(seed, None));
}

#[test]
fn the_checker_finds_deliberate_defects() {
    let defects = [
        DirectoryDefect::Store(Defect::ForgetsAtEnd),
        DirectoryDefect::DrainedTakes,
        DirectoryDefect::LooksAtOneCollection,
        DirectoryDefect::AnyHostServes,
    ];
    assert_found(&defects, 20, |seed, defect| history(seed, Some(defect)));
}
