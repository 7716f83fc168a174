//! Histories of a farm by seed: users who log on, connect, come back and stay away, hosts that are
//! drained, hang and come back, reloads. A checker with a memory of its own judges each decision; it
//! must find deliberate defects.

use super::tests::farm;
use super::*;
use lab::{Random, setting};

/// Users of a history, and steps of it.
const USERS: u64 = 40;
const STEPS: u64 = 1_500;

/// A deliberate defect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Defect {
    /// The end of a connection ends the session.
    ForgetsAtEnd,
    /// A drained host takes new users.
    DrainedTakes,
    /// Of two decisions the one that comes last holds.
    LastMergeHolds,
    /// The connections of a node that is gone still count.
    GoneStaysConnected,
    /// A node decides without asking the other one.
    AsksNobody,
}

/// What the checker knows of a user.
#[derive(Clone, Debug)]
struct Known {
    host: String,
    connections: u32,
    has_been_there: bool,
    /// The last logon, or the end of the last connection.
    last_ms: u64,
}

struct World {
    directory: Directory,
    farm: Farm,
    now_ms: u64,
    down: BTreeMap<String, u64>,
    drained: BTreeSet<String>,
    users: BTreeMap<u64, Known>,
}

impl World {
    fn new(defect: Option<Defect>, random: &mut Random) -> World {
        let balance = random.pick(&[Balance::Load, Balance::Leastconn]);
        let weights: Vec<u32> = (0..random.between(2, 5))
            .map(|_| random.pick(&[1, 2, 10]))
            .collect();
        let farm = farm(balance, &weights);
        let mut directory = Directory::default();
        directory.configure(&farm);
        directory.defect = defect;
        World {
            directory,
            farm,
            now_ms: 1,
            down: BTreeMap::new(),
            drained: BTreeSet::new(),
            users: BTreeMap::new(),
        }
    }

    fn step(&mut self, random: &mut Random) -> Result<(), String> {
        self.now_ms += match random.below(100) {
            0 => random.below(26 * 3_600_000),
            1..5 => random.below(2 * PENDING_MS),
            _ => random.below(500),
        };
        let user = random.below(USERS);
        let hosts: Vec<String> = self.farm.hosts.keys().cloned().collect();
        let host = random.of(&hosts).clone();
        match random.below(100) {
            0..40 => self.logs_on(user)?,
            40..65 => self.connects(user),
            65..85 => self.ends(user),
            85..90 => {
                let since_ms = self.now_ms;
                self.directory.checked(&host, Health::Down { since_ms });
                self.down.entry(host).or_insert(since_ms);
            }
            90..95 => {
                self.directory.checked(&host, Health::Up);
                self.down.remove(&host);
            }
            95..97 => {
                assert!(self.directory.drain(&host, true));
                self.drained.insert(host);
            }
            97..99 => {
                assert!(self.directory.drain(&host, false));
                self.drained.remove(&host);
            }
            _ if hosts.len() > 2 => self.remove(&host),
            _ => self.directory.configure(&self.farm),
        }
        self.counts()
    }

    fn remove(&mut self, host: &str) {
        self.farm.hosts.remove(host);
        self.directory.configure(&self.farm);
        self.users.retain(|_, known| known.host != host);
        self.down.remove(host);
        self.drained.remove(host);
    }

    /// Whether a user may, and whether a user must get another host than before.
    fn may_move(&self, known: &Known) -> (bool, bool) {
        let is_forgotten = known.connections == 0
            && match known.has_been_there {
                true => self.now_ms >= known.last_ms + self.farm.sessions.keep_ms,
                false => self.now_ms >= known.last_ms + PENDING_MS,
            };
        let down_ms = self.down.get(&known.host).map(|since| self.now_ms - since);
        let is_lost = match (known.connections, known.has_been_there, down_ms) {
            (0, true, Some(ms)) => ms >= self.farm.sessions.lost_after_ms,
            (0, false, Some(_)) => true,
            _ => false,
        };
        (is_forgotten || is_lost, is_lost)
    }

    fn logs_on(&mut self, user: u64) -> Result<(), String> {
        let known = self.users.get(&user);
        let (may_move, must_move) = known.map_or((true, false), |known| self.may_move(known));
        let named = User::named(&format!("user{user}")).expect("a name");
        let decision = match self.directory.decide(&named, self.now_ms) {
            Ok(decision) => decision,
            Err(_) => {
                let open = |host: &&String| {
                    !self.down.contains_key(*host) && !self.drained.contains(*host)
                };
                if self.farm.hosts.keys().any(|host| open(&host)) || !may_move {
                    return Err(format!("user{user} is refused"));
                }
                return Ok(());
            }
        };
        let host = decision.host;
        let stays = known.is_some_and(|known| known.host == host);
        if !stays && !may_move {
            return Err(format!("user{user} comes to {host}, not back: {known:?}"));
        }
        let is_new = !stays || may_move;
        if is_new && (self.down.contains_key(&host) || self.drained.contains(&host)) {
            return Err(format!("user{user} is new on {host}, which takes nobody"));
        }
        if must_move && stays {
            return Err(format!("user{user} stays on {host}, which is lost"));
        }
        let before = self.users.remove(&user).filter(|_| !is_new);
        let now_ms = self.now_ms;
        let known = match before {
            Some(known) if known.connections > 0 || known.has_been_there => known,
            Some(known) => Known {
                last_ms: now_ms,
                ..known
            },
            None => Known {
                host,
                connections: 0,
                has_been_there: false,
                last_ms: now_ms,
            },
        };
        self.users.insert(user, known);
        Ok(())
    }

    /// The client of a logon comes, if it is in time.
    fn connects(&mut self, user: u64) {
        let now_ms = self.now_ms;
        let Some(known) = self.users.get(&user) else {
            return;
        };
        if self.may_move(known).0 {
            return;
        }
        let id = User::named(&format!("user{user}")).expect("a name").id;
        self.directory.connected(id, &known.host, now_ms);
        // It lasts long enough.
        self.directory.proved(id, &known.host, now_ms);
        if let Some(known) = self.users.get_mut(&user) {
            known.connections += 1;
            known.has_been_there = true;
        }
    }

    fn ends(&mut self, user: u64) {
        let now_ms = self.now_ms;
        if let Some(known) = self
            .users
            .get_mut(&user)
            .filter(|known| known.connections > 0)
        {
            known.connections -= 1;
            known.last_ms = now_ms;
            let id = User::named(&format!("user{user}")).expect("a name").id;
            self.directory.ended(id, &known.host, now_ms);
        }
    }

    /// The counts of the hosts are those of the users.
    fn counts(&self) -> Result<(), String> {
        for (name, state) in self.directory.hosts() {
            let mut counts = Counts::default();
            let here = self
                .directory
                .users()
                .filter(|(_, entry)| entry.host == name);
            here.for_each(|(_, entry)| counts.add(entry.presence));
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
        match waiting.count() == self.directory.due.len() {
            true => Ok(()),
            false => Err("the times of users are not those of the users".to_owned()),
        }
    }
}

/// Runs a history; returns what the checker found.
fn history(seed: u64, defect: Option<Defect>) -> Result<(), String> {
    let mut random = Random::new(seed);
    let mut world = World::new(defect, &mut random);
    for step in 0..STEPS {
        let found = world.step(&mut random);
        found.map_err(|found| format!("seed {seed}, step {step}: {found}"))?;
    }
    Ok(())
}

#[test]
fn no_history_leads_a_user_to_a_second_host() {
    if let Some(seed) = setting("FARM_SEED") {
        return history(seed, None).unwrap();
    }
    for seed in 0..setting("FARM_SEEDS").unwrap_or(300) {
        history(seed, None).unwrap();
    }
}

#[test]
fn the_checker_finds_deliberate_defects() {
    for defect in [Defect::ForgetsAtEnd, Defect::DrainedTakes] {
        let found = (0..20).find_map(|seed| history(seed, Some(defect)).err());
        assert!(found.is_some(), "{defect:?}");
    }
}
