//! Verifies passwords, by a list, the operating system or a directory, and one-time codes, within
//! the limit of attempts.

use crate::ldap::{DirectoryUser, LdapAvailability, LdapDirectory, TypedName};
use crate::limiter::{Key, Limiter};
use crate::peers::{AttemptChange, Peers};
use crate::session::Sessions;
use crate::user::{AuthorizedUser, SecondFactor, Users};
use crate::{device, pam, session};
use configuration::{Account, Password};
pub use part::clock::unix_ms as now_ms;
use part::lock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

/// Function that returns whether a password is that of an account. May block.
pub type Verify = fn(&Account, &[u8]) -> bool;

/// Number of passwords of the operating system that are verified at a time. `saslauthd` has five
/// threads, and PAM delays each wrong password by some seconds.
const ASKED_AT_ONE_TIME: usize = 3;
/// Number of passwords that a directory verifies at a time. Lower than the number of attempts of an
/// address, because each attempt counts as failed until it succeeds, and an office shares one
/// address.
const BOUND_AT_ONE_TIME: usize = 4;
const JUDGES: usize = 2;
const TURN_LIMIT: Duration = Duration::from_secs(15);

const NAME_MAX: usize = 128;
const PASSWORD_MAX: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignInError {
    Wrong,
    /// No user can have this password, for example because it is empty. The attempt does not count.
    NoTry,
    /// Too many attempts. Seconds until the next one.
    TooOften(u64),
    /// The system that checks the password does not respond. The log has the reason.
    Unavailable,
}

impl SignInError {
    /// Creates the refusal for too many attempts, from the milliseconds until the next one.
    pub fn after(wait_ms: u64) -> SignInError {
        SignInError::TooOften(wait_ms.div_ceil(1_000))
    }
}

/// Origin of an attempt: the client's address, and the cookies of known browsers that it sends.
pub struct SignInOrigin<'h> {
    from: IpAddr,
    devices: Vec<&'h str>,
}

pub fn now_s() -> u64 {
    now_ms() / 1_000
}

impl<'h> SignInOrigin<'h> {
    /// Reads the `Cookie` headers of a request. `device` is the name of the cookie of known
    /// browsers.
    pub fn of(
        from: IpAddr,
        cookies: impl Iterator<Item = &'h str>,
        device: &str,
    ) -> SignInOrigin<'h> {
        let devices = cookies.filter_map(|value| session::value_in(value, device));
        SignInOrigin {
            from,
            devices: devices.collect(),
        }
    }

    pub fn program(from: IpAddr) -> SignInOrigin<'static> {
        SignInOrigin {
            from,
            devices: Vec::new(),
        }
    }

    /// Returns the identifier of the browser if this user has signed in with it before.
    fn known_browser(&self, desk: &Authenticator, name: &str) -> Option<device::Id> {
        let sessions = lock(&desk.sessions);
        let mut devices = self.devices.iter();
        devices.find_map(|cookie| sessions.device_of(cookie, name, now_s()))
    }

    /// Returns the keys that count the attempts for a password. Attempts of others do not block a
    /// known browser.
    fn keys(&self, known: Option<device::Id>, name: &str) -> Vec<Key> {
        match known {
            Some(id) => vec![Key::Device(id)],
            None => Key::of_stranger(self.from, name),
        }
    }
}

/// Concurrency limits for the verification of passwords.
#[derive(Debug)]
struct Verifying {
    /// Passwords of a list. Only one at a time, so that a failure counts before the next attempt.
    own: PasswordConcurrency,
    /// Passwords that the operating system verifies. Each attempt counts as failed until the
    /// response arrives.
    of_system: PasswordConcurrency,
    /// Passwords that a directory verifies. Each attempt counts as failed until the response
    /// arrives.
    of_directory: PasswordConcurrency,
}

/// Concurrency limits for one kind of password.
#[derive(Debug)]
struct PasswordConcurrency {
    unknown_clients: Semaphore,
    /// For known browsers, so that attempts of strangers do not delay them.
    known_browsers: Semaphore,
}

impl Default for Verifying {
    fn default() -> Verifying {
        let turns = |strangers| PasswordConcurrency {
            unknown_clients: Semaphore::new(strangers),
            known_browsers: Semaphore::new(1),
        };
        Verifying {
            own: turns(1),
            of_system: turns(ASKED_AT_ONE_TIME),
            of_directory: turns(BOUND_AT_ONE_TIME),
        }
    }
}

/// An attempt whose outcome is not known yet, until it is dropped.
struct PendingAttempt<'d> {
    authenticator: &'d Authenticator,
    keys: Vec<Key>,
}

impl Drop for PendingAttempt<'_> {
    fn drop(&mut self) {
        let mut pending = lock(&self.authenticator.pending);
        for key in &self.keys {
            if let Some(count) = pending.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    pending.remove(key);
                }
            }
        }
        drop(pending);
        self.authenticator.settled.notify_waiters();
    }
}

/// Sessions of users, and the limits of their attempts to authenticate.
pub struct Authenticator {
    pub sessions: Mutex<Sessions>,
    pub limiter: Mutex<Limiter>,
    /// Number of attempts of each key whose outcome is not known yet. They count as failed. A
    /// client that would have an attempt left without them waits for their outcome.
    pending: Mutex<HashMap<Key, u64>>,
    settled: Notify,
    verifying: Verifying,
    verify: Verify,
    standing: Arc<LdapAvailability>,
}

impl Authenticator {
    /// Creates the authenticator of a part or section, with its existing sessions. `name`
    /// identifies the part or section in the log.
    pub fn new(name: &str, sessions: Sessions, verify: Verify) -> Authenticator {
        Authenticator {
            sessions: Mutex::new(sessions),
            limiter: Mutex::default(),
            pending: Mutex::default(),
            settled: Notify::new(),
            verifying: Verifying::default(),
            verify,
            standing: Arc::new(LdapAvailability::new(name)),
        }
    }

    pub fn standing(&self) -> Arc<LdapAvailability> {
        Arc::clone(&self.standing)
    }

    pub fn share_attempts(&self, peers: Arc<dyn Peers>) {
        lock(&self.limiter).report_changes_to(peers);
    }

    /// Returns the changes that another node needs when it connects.
    pub fn changes_for_new_node(&self) -> Vec<AttemptChange> {
        let mut changes = lock(&self.limiter).current_failures(now_ms());
        let sessions = lock(&self.sessions);
        let codes = sessions.used_codes();
        changes.extend(codes.map(|(user, step)| AttemptChange::Code(user.to_owned(), step)));
        changes
    }

    pub fn apply_remote_changes(&self, changes: &[AttemptChange]) {
        for change in changes {
            match change {
                AttemptChange::Code(user, step) => drop(self.record_remote_code(user, *step)),
                change => lock(&self.limiter).apply(change, now_ms()),
            }
        }
    }

    /// Records that a code was used at another node. Returns false if it was used here before.
    pub fn record_remote_code(&self, user: &str, step: u64) -> bool {
        lock(&self.sessions).claim_code(user, step, now_s())
    }

    /// Verifies a password. If a one-time code must follow, success does not reset the failures
    /// yet.
    ///
    /// # Errors
    /// The reason for the refusal.
    pub async fn password(
        &self,
        users: &dyn Users,
        client: &SignInOrigin<'_>,
        name: &str,
        password: &str,
    ) -> Result<AuthorizedUser, SignInError> {
        if name.len() > NAME_MAX || password.len() > PASSWORD_MAX {
            return Err(SignInError::NoTry);
        }
        if let Some(directory) = users.directory().filter(|_| users.find(name).is_none()) {
            return self.of_directory(directory, client, name, password).await;
        }
        let known = client.known_browser(self, name);
        let keys = client.keys(known, name);
        let user = users.find(name).map(|(account, second)| AuthorizedUser {
            account: account.clone(),
            second_factor: second.clone(),
        });
        // Uses a decoy account for an unknown user, so that the duration does not reveal whether
        // the user exists.
        let account = match (&user, users.any()) {
            (Some(user), _) => user.account.clone(),
            (None, Some(decoy)) => decoy.clone(),
            (None, None) => unknown_account(),
        };
        let asks_system = users.has_system_users();
        let turns = if asks_system {
            &self.verifying.of_system
        } else {
            &self.verifying.own
        };
        let turns = match known {
            Some(_) => &turns.known_browsers,
            None => &turns.unknown_clients,
        };
        let Ok(_turn) = turns.acquire().await else {
            return Err(SignInError::Wrong);
        };
        // Counts the attempt before the response arrives, because a client that does not wait for
        // the response has still used an attempt.
        let _pending = self.begin_attempt(&keys).await?;
        let verified = self
            .verify_password(users, user.as_ref(), account, password)
            .await;
        let is_right = verified.inspect_err(|_| {
            // Undoes the attempt if no server could verify the password: it was no guess.
            lock(&self.limiter).undo_attempt(&keys, now_ms());
        })?;
        // Refuses an empty password, which means that the account has no password.
        match user.filter(|_| is_right && !password.is_empty()) {
            Some(user) => {
                self.undo_correct_attempt(&user.second_factor, &keys, asks_system);
                Ok(user)
            }
            None => Err(SignInError::Wrong),
        }
    }

    /// Undoes an attempt with a correct password that has counted as failed. If a one-time code
    /// must follow and an external system verifies the password, the attempt of the user stays
    /// counted until the code was correct, because each attempt is a request to that system.
    fn undo_correct_attempt(&self, second_factor: &SecondFactor, keys: &[Key], asks_others: bool) {
        let mut limiter = lock(&self.limiter);
        match second_factor {
            SecondFactor::None => limiter.record_success(keys, now_ms()),
            _ if asks_others => {
                let addresses = keys.iter().filter(|key| key.is_of_address());
                let addresses: Vec<Key> = addresses.cloned().collect();
                limiter.undo_attempt(&addresses, now_ms());
            }
            _ => limiter.undo_attempt(keys, now_ms()),
        }
    }

    async fn of_directory(
        &self,
        directory: &LdapDirectory,
        client: &SignInOrigin<'_>,
        name: &str,
        password: &str,
    ) -> Result<AuthorizedUser, SignInError> {
        // Refuses an empty password: a bind with it succeeds, but proves nothing (unauthenticated
        // bind).
        let asked = TypedName::parse_name(name)
            .filter(|_| !password.is_empty() && !password.contains('\0'));
        let asked = asked.ok_or(SignInError::NoTry)?;
        let known = client.known_browser(self, &asked.short);
        let mut keys = client.keys(known, &asked.short);
        let turns = match known {
            Some(_) => &self.verifying.of_directory.known_browsers,
            None => &self.verifying.of_directory.unknown_clients,
        };
        let came = Instant::now();
        let turn = timeout(TURN_LIMIT, turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(SignInError::Unavailable);
        };
        // Fails without a request if, while this attempt waited for its turn, another one found
        // that no server responds: waiting attempts would otherwise spend the timeout one by one.
        if self.standing.had_no_server_since(came) {
            return Err(SignInError::Unavailable);
        }
        self.probe_silent_servers(directory);
        // Counts the attempt before the response arrives, because a client that does not wait for
        // it has still used an attempt. A directory locks an account after too many wrong
        // passwords.
        let _pending = self.begin_attempt(&keys).await?;
        let (is_right, found) = self
            .query_directory(directory, &asked, password, &mut keys, known.is_some())
            .await?;
        let found = found.filter(|_| is_right).ok_or(SignInError::Wrong)?;
        if !directory.can_sign_in(&found.groups) {
            let words = format!("no group of {} may sign in", found.name);
            self.standing.log(&words);
            return Err(SignInError::Wrong);
        }
        let second_factor = directory.second_factor(&found.name);
        self.undo_correct_attempt(&second_factor, &keys, true);
        Ok(AuthorizedUser {
            account: Account {
                name: found.name,
                groups: found.groups,
                password: Password::Directory,
            },
            second_factor,
        })
    }

    /// Queries a directory whether a password is correct, and for which user. If a server finds the
    /// user but gives no result for the password, another one is tried.
    async fn query_directory(
        &self,
        directory: &LdapDirectory,
        asked: &TypedName,
        password: &str,
        keys: &mut Vec<Key>,
        is_known: bool,
    ) -> Result<(bool, Option<DirectoryUser>), SignInError> {
        let unavailable = |keys: &[Key], words: &str| {
            lock(&self.limiter).undo_attempt(keys, now_ms());
            self.standing.log(words);
            SignInError::Unavailable
        };
        let mut why = String::new();
        for _ in 0..JUDGES {
            let found = directory.find(asked, &self.standing).await;
            let (seat, found) = found.map_err(|unfound| {
                // Keeps a search that is too slow or too large counted, because a client could
                // otherwise repeat it without limit.
                let is_counted = unfound.has_answer;
                unavailable(if is_counted { &[] } else { keys }, &unfound.words)
            })?;
            // Counts the attempts of several names together, by which a directory may find one
            // user.
            let other = found.as_ref().filter(|found| found.name != asked.short);
            let other = other.filter(|_| !is_known);
            if let Some(key) = other.map(|found| Key::For(found.name.clone()))
                && !keys.contains(&key)
            {
                let counted = self.count_attempt(std::slice::from_ref(&key));
                // Undoes the attempt, which was no guess at a password.
                counted.inspect_err(|_| lock(&self.limiter).undo_attempt(keys, now_ms()))?;
                keys.push(key);
            }
            match directory
                .verify(seat, found.as_ref(), password, &self.standing)
                .await
            {
                Ok(is_right) => return Ok((is_right, found)),
                Err(words) => why = words,
            }
        }
        Err(unavailable(keys, &why))
    }

    /// Starts the probes of servers that did not respond, if they are due. No sign-in waits for
    /// them.
    fn probe_silent_servers(&self, directory: &LdapDirectory) {
        if self.standing.has_due(Instant::now()) {
            let (directory, standing) = (directory.clone(), self.standing());
            tokio::spawn(async move { directory.probe_due_servers(&standing).await });
        }
    }

    /// Begins an attempt, which counts as failed until it succeeds. If no attempt is left, waits
    /// for the outcome of attempts in progress with the same keys, if their success would leave
    /// one: an office shares one address, and most attempts succeed.
    async fn begin_attempt(&self, keys: &[Key]) -> Result<PendingAttempt<'_>, SignInError> {
        let until = tokio::time::Instant::now() + TURN_LIMIT;
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            // Enables the notification before the check, so that an attempt settled after the check
            // wakes this task.
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
                    return Ok(PendingAttempt {
                        authenticator: self,
                        keys,
                    });
                };
                let under_way = |key: &Key| pending.get(key).copied().unwrap_or_default();
                let under_way = keys.iter().map(under_way).max().unwrap_or_default();
                if !limiter.has_without(keys, under_way, now_ms()) {
                    return Err(SignInError::after(ms));
                }
            }
            if tokio::time::timeout_at(until, settled).await.is_err() {
                return Err(SignInError::Unavailable);
            }
        }
    }

    /// Counts an attempt as failed until it succeeds, if each of its keys has an attempt left.
    fn count_attempt(&self, keys: &[Key]) -> Result<(), SignInError> {
        let mut limiter = lock(&self.limiter);
        if let Some(ms) = limiter.wait(keys, now_ms()) {
            return Err(SignInError::after(ms));
        }
        limiter.count(keys, now_ms());
        Ok(())
    }

    /// Returns whether a password is that of an account. If the operating system checks some
    /// passwords, it is queried for each attempt that has not already succeeded, if need be with a
    /// name that no user has. Otherwise the duration would reveal whose passwords these are.
    async fn verify_password(
        &self,
        users: &dyn Users,
        user: Option<&AuthorizedUser>,
        account: Account,
        password: &str,
    ) -> Result<bool, SignInError> {
        let is_of_system = account.password == Password::System;
        if !is_of_system {
            let (verify, password) = (self.verify, password.to_owned());
            let verified =
                tokio::task::spawn_blocking(move || verify(&account, password.as_bytes()));
            let is_right = verified.await.unwrap_or_default() && user.is_some();
            if is_right || !users.has_system_users() {
                return Ok(is_right);
            }
        }
        let name = user.filter(|_| is_of_system);
        let name = name.map_or(pam::NOBODY, |user| &user.account.name);
        match users.system().verify(name, password).await {
            Ok(is_right) => Ok(is_right && is_of_system),
            // Ignores the error, because the operating system was queried only so that the duration
            // is the same.
            Err(_) if user.is_some() && !is_of_system => Ok(false),
            Err(words) => {
                self.standing.log(&words);
                Err(SignInError::Unavailable)
            }
        }
    }

    /// Verifies the one-time code of a user whose password was correct. A code that was used
    /// before, here or at another node, is refused.
    ///
    /// # Errors
    /// The reason for the refusal.
    pub async fn code(
        &self,
        client: &SignInOrigin<'_>,
        user: &AuthorizedUser,
        typed: &str,
    ) -> Result<(), SignInError> {
        let name = &user.account.name;
        let SecondFactor::Codes(secret) = &user.second_factor else {
            return Err(SignInError::Wrong);
        };
        let known = client.known_browser(self, name);
        let key = match known {
            Some(id) => Key::CodeOf(id),
            None => Key::Code(name.clone()),
        };
        // Counts the attempt before anything is awaited, because a client that does not wait has
        // still used an attempt.
        self.count_attempt(std::slice::from_ref(&key))?;
        let step = lock(&self.sessions).use_code(name, secret, typed, now_s());
        let peers = lock(&self.limiter).peers();
        let is_new = match (step, peers) {
            (Some(step), Some(peers)) => peers.claim_code(name, step).await,
            (step, _) => step.is_some(),
        };
        if !is_new {
            return Err(SignInError::Wrong);
        }
        // Resets only the failures for the password, whose attempt has already been undone.
        let mut limiter = lock(&self.limiter);
        limiter.reset(&client.keys(known, name), now_ms());
        limiter.record_success(&[key], now_ms());
        Ok(())
    }
}

fn unknown_account() -> Account {
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

    /// Verifies a password as the test's verifier; blocks while `IS_HELD` is set.
    fn verify(_: &Account, password: &[u8]) -> bool {
        while IS_HELD.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        password == b"quince"
    }

    #[test]
    fn cancelling_during_the_hash_counts_as_an_attempt() {
        let anna = AuthorizedUser::new(Account {
            name: "anna".to_owned(),
            groups: Vec::new(),
            password: Password::Hashed("$6$x".to_owned()),
        });
        let list = List {
            users: vec![anna],
            ..List::default()
        };
        let desk = Authenticator::new("test", Sessions::new(None).unwrap(), verify);
        let client = SignInOrigin::program(IpAddr::from([192, 0, 2, 1]));
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
            assert!(
                matches!(refused, Err(SignInError::TooOften(_))),
                "{refused:?}"
            );
        });
    }
}
