//! Verifies passwords with slow hashes on a bounded number of threads of low priority. The
//! threads exit when there is no work.
//!
//! The number of waiting passwords is limited in total and for each client, and clients take
//! turns. A client that sends thousands of wrong passwords only delays itself.

use super::cache;
use crate::password::{Busy, PasswordCheck};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::sync::oneshot;

/// Maximum number of verifying threads.
const THREADS_MAX: usize = 4;
/// Maximum number of waiting passwords in total.
const WAITING_MAX: usize = 1024;
/// Maximum number of waiting passwords of one client.
const WAITING_OF_CLIENT_MAX: usize = 64;
/// Nice value of a verifying thread, so that serving threads go first.
const NICENESS: i32 = 10;

/// A client for the order of turns: an IPv4 address, or an IPv6 /64 network.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Client(u128);

impl Client {
    pub fn of(ip: Option<IpAddr>) -> Client {
        Client(match ip {
            Some(IpAddr::V4(ip)) => u128::from(ip.to_bits()),
            Some(IpAddr::V6(ip)) => ip.to_bits() >> 64 << 64,
            None => 0,
        })
    }
}

impl PasswordCheck {
    /// Returns whether the password is correct, and caches the result. Takes milliseconds or even
    /// seconds.
    fn run(&self) -> bool {
        // Uses the cached result if the same password was verified while this job waited.
        if let Some(right) = cache::known(&self.key) {
            return right;
        }
        let right = self.hash.is_of(&self.password) && self.exists;
        cache::keep(self.key, right);
        right
    }
}

struct PendingVerification {
    job: PasswordCheck,
    done: oneshot::Sender<bool>,
}

/// Waiting passwords, and the number of verifying threads.
#[derive(Default)]
struct Queue {
    turns: VecDeque<Client>,
    waiting: HashMap<Client, VecDeque<PendingVerification>>,
    count: usize,
    threads: usize,
}

static QUEUE: LazyLock<Mutex<Queue>> = LazyLock::new(Mutex::default);

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    fn push(&mut self, client: Client, waiting: PendingVerification) -> Result<(), Busy> {
        let own = self.waiting.get(&client).map_or(0, VecDeque::len);
        if self.count >= WAITING_MAX || own >= WAITING_OF_CLIENT_MAX {
            self.forget_who_has_gone();
        }
        if self.count >= WAITING_MAX {
            return Err(Busy);
        }
        let own = self.waiting.entry(client).or_default();
        if own.len() >= WAITING_OF_CLIENT_MAX {
            return Err(Busy);
        }
        if own.is_empty() {
            self.turns.push_back(client);
        }
        own.push_back(waiting);
        self.count += 1;
        Ok(())
    }

    /// Removes the jobs of clients that have disconnected.
    fn forget_who_has_gone(&mut self) {
        self.waiting.retain(|_, own| {
            own.retain(|waiting| !waiting.done.is_closed());
            !own.is_empty()
        });
        self.turns
            .retain(|client| self.waiting.contains_key(client));
        self.count = self.waiting.values().map(VecDeque::len).sum();
    }

    /// Returns the next job of the client whose turn it is.
    fn pop(&mut self) -> Option<PendingVerification> {
        let client = self.turns.pop_front()?;
        let own = self.waiting.get_mut(&client)?;
        let first = own.pop_front();
        self.count -= usize::from(first.is_some());
        if own.is_empty() {
            self.waiting.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        first
    }

    fn clear(&mut self) {
        self.turns.clear();
        self.waiting.clear();
        self.count = 0;
    }
}

/// Queues the verification of a password, and starts another verifying thread if there are few.
/// `threads` is the number of threads that serve clients. The verification is skipped if the client
/// disconnects first.
///
/// # Errors
/// Too many passwords are waiting, in total or of this client, or no thread can be started.
pub fn begin(
    job: PasswordCheck,
    client: Client,
    threads: usize,
) -> Result<oneshot::Receiver<bool>, Busy> {
    let (done, result) = oneshot::channel();
    let mut queue = queue();
    queue.push(client, PendingVerification { job, done })?;
    let wanted = threads.div_ceil(2).clamp(1, THREADS_MAX);
    if queue.threads < wanted {
        queue.threads += 1;
        let builder = thread::Builder::new().name("password".into());
        if builder.spawn(work).is_err() {
            queue.threads -= 1;
            if queue.threads == 0 {
                // Drops the waiting jobs, which no thread would process.
                queue.clear();
                return Err(Busy);
            }
        }
    }
    Ok(result)
}

/// Decrements the number of threads when its thread ends, even by a panic.
struct AtWork {
    over: bool,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if !self.over {
            queue().threads -= 1;
        }
    }
}

fn work() {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
    let mut at_work = AtWork { over: false };
    loop {
        let next = {
            let mut queue = queue();
            let next = queue.pop();
            if next.is_none() {
                // Decrements the number under the same lock as the check, so that no new job is
                // left without a thread.
                queue.threads -= 1;
                at_work.over = true;
            }
            next
        };
        let Some(waiting) = next else { return };
        if !waiting.done.is_closed() {
            // Ignores a client that has disconnected meanwhile.
            let _ = waiting.done.send(waiting.job.run());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::{Hash, Key};
    use std::sync::Arc;
    use zeroize::Zeroizing;

    fn waiting(n: usize) -> (PendingVerification, oneshot::Receiver<bool>) {
        let (done, result) = oneshot::channel();
        let hash = Hash::read(b"abNANd1rDfiNc").unwrap();
        let job = PasswordCheck {
            key: Key::of(b"test", b"user", n.to_string().as_bytes()),
            hash: Arc::new(hash),
            password: Zeroizing::new(n.to_string().into_bytes()),
            exists: true,
        };
        (PendingVerification { job, done }, result)
    }

    #[test]
    fn clients_take_turns_and_one_of_them_cannot_fill_the_queue() {
        let client = |n: u8| Client::of(Some([192, 0, 2, n].into()));
        let mut queue = Queue::default();
        let mut results = Vec::new();
        let mut push = |queue: &mut Queue, client, n| {
            let (waiting, result) = waiting(n);
            results.push(result);
            queue.push(client, waiting)
        };
        let mut taken = 0;
        while push(&mut queue, client(1), taken).is_ok() {
            taken += 1;
        }
        assert_eq!(taken, WAITING_OF_CLIENT_MAX);
        push(&mut queue, client(2), 1000).unwrap();
        let order: Vec<Vec<u8>> = (0..3)
            .map(|_| queue.pop().unwrap().job.password.to_vec())
            .collect();
        assert_eq!(order, [&b"0"[..], b"1000", b"1"]);
        for n in 3..=255 {
            while push(&mut queue, client(n), 0).is_ok() {}
        }
        assert_eq!(queue.count, WAITING_MAX);
        while queue.pop().is_some() {}
        assert_eq!((queue.count, queue.waiting.len()), (0, 0));
    }

    #[test]
    fn who_has_gone_takes_no_room() {
        let client = |n: u8| Client::of(Some([192, 0, 2, n].into()));
        let mut queue = Queue::default();
        let stays = waiting(0);
        queue.push(client(1), stays.0).unwrap();
        let mut gone = Vec::new();
        for n in 1..=100 {
            let (waiting, result) = waiting(n);
            if queue.push(client(1), waiting).is_ok() {
                gone.push(result);
            }
        }
        assert_eq!(gone.len(), WAITING_OF_CLIENT_MAX - 1);
        let other = waiting(101);
        queue.push(client(2), other.0).unwrap();
        drop((gone, other.1));
        let late = waiting(102);
        queue.push(client(1), late.0).unwrap();
        assert_eq!((queue.count, queue.waiting.len()), (2, 1));
        let order: Vec<Vec<u8>> = (0..2)
            .map(|_| queue.pop().unwrap().job.password.to_vec())
            .collect();
        assert_eq!(order, [&b"0"[..], b"102"]);
        assert!(queue.pop().is_none());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let of = |text: &str| Client::of(Some(text.parse().unwrap()));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }

    #[test]
    fn threads_verify_all_that_wait_and_then_end() {
        let results: Vec<_> = (0..40)
            .map(|n| {
                let (waiting, _) = waiting(n % 20);
                let mut job = waiting.job;
                if n == 39 {
                    job.password = Zeroizing::new(b"secret".to_vec());
                    job.key = Key::of(b"test", b"user", b"secret");
                }
                begin(job, Client::of(None), 4).unwrap()
            })
            .collect();
        for (n, result) in results.into_iter().enumerate() {
            assert_eq!(result.blocking_recv(), Ok(n == 39), "{n}");
        }
        assert_eq!(
            cache::known(&Key::of(b"test", b"user", b"secret")),
            Some(true)
        );
    }
}
