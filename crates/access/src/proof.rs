//! What somebody proves who they are with: a password, or a code of the second factor; each within what
//! they may try.

use crate::ldap::{Asked, Directory, Found, Standing};
use crate::limiter::{Key, Limiter};
use crate::peers::{Change, Peers};
use crate::session::Sessions;
use crate::user::{SecondFactor, User, Users};
use crate::{device, pam, session};
use configuration::{Account, Password};
use part::lock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

/// Whether a password is that of an account. It may take its time.
pub type Verify = fn(&Account, &[u8]) -> bool;

/// How many passwords of users of the system are asked for at one time: `saslauthd` has five threads, and
/// PAM makes each wrong password take some seconds.
const ASKED_AT_ONE_TIME: usize = 3;
/// How many passwords a directory is asked for at one time: fewer than an address has free tries, since each counts
/// until it is right, and an office is behind one address.
const BOUND_AT_ONE_TIME: usize = 4;
/// How many servers judge a password at most, until one does.
const JUDGES: usize = 2;
/// How long somebody waits until a directory can be asked.
const TURN_LIMIT: Duration = Duration::from_secs(15);

/// The longest name and the longest password that are looked at.
const NAME_MAX: usize = 128;
const PASSWORD_MAX: usize = 512;

/// Why somebody does not come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It is not theirs, or there is no such user.
    Wrong,
    /// It can be the password of nobody, as an empty one, and was not tried.
    NoTry,
    /// They tried too often: seconds until the next try.
    TooOften(u64),
    /// Nobody can say: the system that checks the password does not answer. The log says more.
    Unavailable,
}

impl Refused {
    /// They tried too often: milliseconds until the next try.
    pub fn after(wait_ms: u64) -> Refused {
        Refused::TooOften(wait_ms.div_ceil(1_000))
    }
}

/// Where somebody tries.
pub struct Client<'h> {
    from: IpAddr,
    /// The cookies of browsers in which somebody has signed in.
    devices: Vec<&'h str>,
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    now_ms() / 1_000
}

impl<'h> Client<'h> {
    /// Of a request with these headers `Cookie`; `device` is the name of the cookie of known browsers.
    pub fn of(from: IpAddr, cookies: impl Iterator<Item = &'h str>, device: &str) -> Client<'h> {
        let devices = cookies.filter_map(|value| session::value_in(value, device));
        Client {
            from,
            devices: devices.collect(),
        }
    }

    /// A program: it keeps no cookies.
    pub fn program(from: IpAddr) -> Client<'static> {
        Client {
            from,
            devices: Vec::new(),
        }
    }

    /// Whether this user has signed in here before.
    fn known(&self, desk: &Desk, name: &str) -> Option<device::Id> {
        let sessions = lock(&desk.sessions);
        let mut devices = self.devices.iter();
        devices.find_map(|cookie| sessions.device_of(cookie, name, now_s()))
    }

    /// What counts their tries for a password. Who has signed in here before is not held up by what
    /// others do.
    fn keys(&self, known: Option<device::Id>, name: &str) -> Vec<Key> {
        match known {
            Some(id) => vec![Key::Device(id)],
            None => Key::of_stranger(self.from, name),
        }
    }
}

/// Who may have a password verified.
#[derive(Debug)]
struct Verifying {
    /// One password at a time, so that a failure counts before the next try.
    own: Turns,
    /// Passwords that the system checks. Each counts as a failure until it has the answer.
    of_system: Turns,
    /// Passwords that a directory checks, in the same way.
    of_directory: Turns,
}

/// Turns at one kind of password.
#[derive(Debug)]
struct Turns {
    /// Of anybody.
    strangers: Semaphore,
    /// Of those who have signed in before in their browser: strangers do not hold them up.
    known: Semaphore,
}

impl Default for Verifying {
    fn default() -> Verifying {
        let turns = |strangers| Turns {
            strangers: Semaphore::new(strangers),
            known: Semaphore::new(1),
        };
        Verifying {
            own: turns(1),
            of_system: turns(ASKED_AT_ONE_TIME),
            of_directory: turns(BOUND_AT_ONE_TIME),
        }
    }
}

/// A try whose outcome is not known yet, until it is dropped.
struct Pending<'d> {
    desk: &'d Desk,
    keys: Vec<Key>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let mut pending = lock(&self.desk.pending);
        for key in &self.keys {
            if let Some(count) = pending.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    pending.remove(key);
                }
            }
        }
        drop(pending);
        self.desk.settled.notify_waiters();
    }
}

/// Where somebody proves who they are.
pub struct Desk {
    /// Who has signed in.
    pub sessions: Mutex<Sessions>,
    /// Who tries to.
    pub limiter: Mutex<Limiter>,
    /// Tries whose outcome is not known yet. They count as failed, and who would have a try without them waits.
    pending: Mutex<HashMap<Key, u64>>,
    settled: Notify,
    verifying: Verifying,
    verify: Verify,
    /// Which servers of the directory answer.
    standing: Arc<Standing>,
}

impl Desk {
    /// With the sessions that there are; `name` is what the log calls it.
    pub fn new(name: &str, sessions: Sessions, verify: Verify) -> Desk {
        Desk {
            sessions: Mutex::new(sessions),
            limiter: Mutex::default(),
            pending: Mutex::default(),
            settled: Notify::new(),
            verifying: Verifying::default(),
            verify,
            standing: Arc::new(Standing::new(name)),
        }
    }

    /// Which servers of the directory answer.
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing)
    }

    /// Shares tries and used codes with the other nodes.
    pub fn share(&self, peers: Arc<dyn Peers>) {
        lock(&self.limiter).share(peers);
    }

    /// What another node that connects has to know.
    pub fn left(&self) -> Vec<Change> {
        let mut changes = lock(&self.limiter).left(now_ms());
        let sessions = lock(&self.sessions);
        let codes = sessions.used_codes();
        changes.extend(codes.map(|(user, step)| Change::Code(user.to_owned(), step)));
        changes
    }

    /// Applies changes that another node reports.
    pub fn learn(&self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Code(user, step) => drop(self.claimed_code(user, *step)),
                change => lock(&self.limiter).apply(change, now_ms()),
            }
        }
    }

    /// Notes that a code was used at another node. Returns whether it was not used here.
    pub fn claimed_code(&self, user: &str, step: u64) -> bool {
        lock(&self.sessions).claim_code(user, step, now_s())
    }

    /// Verifies a password. One that is right does not give the tries back yet if a code is to come.
    ///
    /// # Errors
    /// Why they do not come in.
    pub async fn password(
        &self,
        users: &dyn Users,
        client: &Client<'_>,
        name: &str,
        password: &str,
    ) -> Result<User, Refused> {
        if name.len() > NAME_MAX || password.len() > PASSWORD_MAX {
            return Err(Refused::NoTry);
        }
        if let Some(directory) = users.directory().filter(|_| users.find(name).is_none()) {
            return self.of_directory(directory, client, name, password).await;
        }
        let known = client.known(self, name);
        let keys = client.keys(known, name);
        let user = users.find(name).map(|(account, second)| User {
            account: account.clone(),
            second_factor: second.clone(),
        });
        // Whether there is such a user is not to be seen from the time that it takes.
        let account = match (&user, users.any()) {
            (Some(user), _) => user.account.clone(),
            (None, Some(decoy)) => decoy.clone(),
            (None, None) => nobody(),
        };
        let asks_system = users.asks_system();
        let turns = match asks_system {
            true => &self.verifying.of_system,
            false => &self.verifying.own,
        };
        let turns = match known {
            Some(_) => &turns.known,
            None => &turns.strangers,
        };
        let Ok(_turn) = turns.acquire().await else {
            return Err(Refused::Wrong);
        };
        // Who does not wait for the answer has tried.
        let _pending = self.begins(&keys).await?;
        let verified = self.verified(users, user.as_ref(), account, password).await;
        let is_right = verified.inspect_err(|_| {
            // What nobody could check was no guess.
            lock(&self.limiter).uncount(&keys, now_ms());
        })?;
        // An account with an empty password has none.
        match user.filter(|_| is_right && !password.is_empty()) {
            Some(user) => {
                self.was_right(&user.second_factor, &keys, asks_system);
                Ok(user)
            }
            None => Err(Refused::Wrong),
        }
    }

    /// A password was right that has counted as a failure. If a code is to come, a user whose password somebody else
    /// checks keeps the try until the code was right, too: the other side has to be asked for each.
    fn was_right(&self, second_factor: &SecondFactor, keys: &[Key], asks_others: bool) {
        let mut limiter = lock(&self.limiter);
        match second_factor {
            SecondFactor::None => limiter.succeed(keys, now_ms()),
            _ if asks_others => {
                let addresses = keys.iter().filter(|key| key.is_of_address());
                let addresses: Vec<Key> = addresses.cloned().collect();
                limiter.uncount(&addresses, now_ms());
            }
            _ => limiter.uncount(keys, now_ms()),
        }
    }

    /// Verifies the password of a user of a directory.
    async fn of_directory(
        &self,
        directory: &Directory,
        client: &Client<'_>,
        name: &str,
        password: &str,
    ) -> Result<User, Refused> {
        // With an empty password a bind would prove nothing, and be accepted.
        let asked = Asked::read(name).filter(|_| !password.is_empty() && !password.contains('\0'));
        let asked = asked.ok_or(Refused::NoTry)?;
        let known = client.known(self, &asked.short);
        let mut keys = client.keys(known, &asked.short);
        let turns = match known {
            Some(_) => &self.verifying.of_directory.known,
            None => &self.verifying.of_directory.strangers,
        };
        let came = Instant::now();
        let turn = timeout(TURN_LIMIT, turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Refused::Unavailable);
        };
        // What somebody before heard meanwhile is true for everybody who waits.
        if self.standing.had_none_since(came) {
            return Err(Refused::Unavailable);
        }
        self.tries_silent_servers(directory);
        // Who does not wait for the answer has tried: a directory locks who is guessed at too often.
        let _pending = self.begins(&keys).await?;
        let asks = (directory, &asked, password);
        let (is_right, found) = self
            .asks_directory(asks, &mut keys, known.is_some())
            .await?;
        let found = found.filter(|_| is_right).ok_or(Refused::Wrong)?;
        if !directory.admits(&found.groups) {
            let words = format!("{} is in no group that may sign in", found.name);
            self.standing.log(&words);
            return Err(Refused::Wrong);
        }
        let second_factor = directory.second_factor(&found.name);
        self.was_right(&second_factor, &keys, true);
        Ok(User {
            account: Account {
                name: found.name,
                groups: found.groups,
                password: Password::Directory,
            },
            second_factor,
        })
    }

    /// Asks a directory whether a password is right, and of whom. A server that finds the user and does not judge the
    /// password is followed by another one.
    async fn asks_directory(
        &self,
        (directory, asked, password): (&Directory, &Asked, &str),
        keys: &mut Vec<Key>,
        is_known: bool,
    ) -> Result<(bool, Option<Found>), Refused> {
        let unavailable = |keys: &[Key], words: &str| {
            lock(&self.limiter).uncount(keys, now_ms());
            self.standing.log(words);
            Refused::Unavailable
        };
        let mut why = String::new();
        for _ in 0..JUDGES {
            let found = directory.find(asked, &self.standing).await;
            let (seat, found) = found.map_err(|unfound| {
                // Who knows of a search that is too slow or too large could ask it for ever.
                let is_counted = unfound.has_answer;
                unavailable(if is_counted { &[] } else { keys }, &unfound.words)
            })?;
            // A directory may find one user by several names: their tries count together.
            let other = found.as_ref().filter(|found| found.name != asked.short);
            let other = other.filter(|_| !is_known);
            if let Some(key) = other.map(|found| Key::For(found.name.clone()))
                && !keys.contains(&key)
            {
                let counted = self.counted(std::slice::from_ref(&key));
                // It was no guess.
                counted.inspect_err(|_| lock(&self.limiter).uncount(keys, now_ms()))?;
                keys.push(key);
            }
            let proof = (found.as_ref(), password);
            match directory.verify(seat, proof, &self.standing).await {
                Ok(is_right) => return Ok((is_right, found)),
                Err(words) => why = words,
            }
        }
        Err(unavailable(keys, &why))
    }

    /// Has the servers tried that did not answer, if it is time. Nobody waits for that.
    fn tries_silent_servers(&self, directory: &Directory) {
        if self.standing.has_due(Instant::now()) {
            let (directory, standing) = (directory.clone(), self.standing());
            tokio::spawn(async move { directory.tries(&standing).await });
        }
    }

    /// Begins a try: it counts as failed until it is known to be right. Tries under way of others at the same address
    /// are waited for: an office is behind one address, and most of them are right.
    async fn begins(&self, keys: &[Key]) -> Result<Pending<'_>, Refused> {
        let until = tokio::time::Instant::now() + TURN_LIMIT;
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            // Before the look: what is settled after it wakes.
            settled.as_mut().enable();
            {
                let mut limiter = lock(&self.limiter);
                let mut pending = lock(&self.pending);
                let Some(ms) = limiter.wait(keys, now_ms()) else {
                    limiter.count(keys, now_ms());
                    for key in keys {
                        *pending.entry(key.clone()).or_default() += 1;
                    }
                    let keys = keys.to_vec();
                    return Ok(Pending { desk: self, keys });
                };
                let under_way = |key: &Key| pending.get(key).copied().unwrap_or_default();
                let under_way = keys.iter().map(under_way).max().unwrap_or_default();
                if !limiter.has_without(keys, under_way, now_ms()) {
                    return Err(Refused::after(ms));
                }
            }
            if tokio::time::timeout_at(until, settled).await.is_err() {
                return Err(Refused::Unavailable);
            }
        }
    }

    /// Counts a try as failed until it is known to be right, if there is one left.
    fn counted(&self, keys: &[Key]) -> Result<(), Refused> {
        let mut limiter = lock(&self.limiter);
        if let Some(ms) = limiter.wait(keys, now_ms()) {
            return Err(Refused::after(ms));
        }
        limiter.count(keys, now_ms());
        Ok(())
    }

    /// Whether a password is that of an account. Where the system checks some passwords, it is asked at each try
    /// that is not right already, by a name that no user has if need be: else the time that it takes would tell
    /// whose these are.
    async fn verified(
        &self,
        users: &dyn Users,
        user: Option<&User>,
        account: Account,
        password: &str,
    ) -> Result<bool, Refused> {
        let is_of_system = account.password == Password::System;
        if !is_of_system {
            let (verify, password) = (self.verify, password.to_owned());
            let verified =
                tokio::task::spawn_blocking(move || verify(&account, password.as_bytes()));
            let is_right = verified.await.unwrap_or_default() && user.is_some();
            if is_right || !users.asks_system() {
                return Ok(is_right);
            }
        }
        let name = user.filter(|_| is_of_system);
        let name = name.map_or(pam::NOBODY, |user| &user.account.name);
        match users.system().verify(name, password).await {
            Ok(is_right) => Ok(is_right && is_of_system),
            // It was only to take its time.
            Err(_) if user.is_some() && !is_of_system => Ok(false),
            Err(words) => {
                self.standing.log(&words);
                Err(Refused::Unavailable)
            }
        }
    }

    /// Verifies the code of a user who has given the password. A code that was used, here or at another node, is
    /// wrong.
    ///
    /// # Errors
    /// Why they do not come in.
    pub async fn code(&self, client: &Client<'_>, user: &User, typed: &str) -> Result<(), Refused> {
        let name = &user.account.name;
        let SecondFactor::Codes(secret) = &user.second_factor else {
            return Err(Refused::Wrong);
        };
        let known = client.known(self, name);
        let key = match known {
            Some(id) => Key::CodeOf(id),
            None => Key::Code(name.clone()),
        };
        // Counted before anything is waited for: who does not wait has tried.
        self.counted(std::slice::from_ref(&key))?;
        let step = lock(&self.sessions).use_code(name, secret, typed, now_s());
        let peers = lock(&self.limiter).peers();
        let is_new = match (step, peers) {
            (Some(step), Some(peers)) => peers.claim_code(name, step).await,
            (step, _) => step.is_some(),
        };
        if !is_new {
            return Err(Refused::Wrong);
        }
        // The try of the password is back already.
        let mut limiter = lock(&self.limiter);
        limiter.reset(&client.keys(known, name), now_ms());
        limiter.succeed(&[key], now_ms());
        Ok(())
    }
}

fn nobody() -> Account {
    Account {
        name: String::new(),
        groups: Vec::new(),
        password: Password::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::List;
    use std::future::ready;
    use std::sync::atomic::{AtomicBool, Ordering};

    static IS_HELD: AtomicBool = AtomicBool::new(false);

    /// Takes as long as it is held.
    fn verify(_: &Account, password: &[u8]) -> bool {
        while IS_HELD.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        password == b"quince"
    }

    #[test]
    fn who_gives_up_while_the_password_is_hashed_has_tried() {
        let anna = User::new(Account {
            name: "anna".to_owned(),
            groups: Vec::new(),
            password: Password::Hashed("$6$x".to_owned()),
        });
        let list = List {
            users: vec![anna],
            ..List::default()
        };
        let desk = Desk::new("test", Sessions::new(None).unwrap(), verify);
        let client = Client::program(IpAddr::from([192, 0, 2, 1]));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let asks = |password| desk.password(&list, &client, "anna", password);
            assert!(asks("quince").await.is_ok());
            IS_HELD.store(true, Ordering::Relaxed);
            for _ in 0..5 {
                tokio::select! {
                    biased;
                    outcome = asks("guess") => panic!("{outcome:?}"),
                    () = ready(()) => {}
                }
            }
            IS_HELD.store(false, Ordering::Relaxed);
            let refused = asks("guess").await;
            assert!(matches!(refused, Err(Refused::TooOften(_))), "{refused:?}");
        });
    }
}
