//! The overlays of one disk: one for each machine that boots from it, made when the machine boots.
//!
//! A thread makes the files, so that nobody else may write in their directory. Who decides that a machine
//! boots only orders one; who serves the machine waits for it.

use super::overlay::Overlay;
use crate::mac::Mac;
use part::lock;
use part::voice::write_error;
use rustix::fs::{Mode, OFlags, open, unlinkat};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Overlays of a disk.
pub const OVERLAYS_MAX: usize = 256;
/// Behind the names of their files.
const SUFFIX: &str = ".overlay";
const RUN: &str = "/proc/sys/kernel/random/boot_id";

/// Where overlays are, and how much each of them may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The directory.
    pub directory: PathBuf,
    /// What their names begin with: the network and the disk.
    pub prefix: String,
    /// Bytes that one machine can change.
    pub bytes_max: u64,
}

/// The overlays of a disk. The last one that is dropped ends their thread.
#[derive(Clone)]
pub struct Overlays(Arc<Owner>);

struct Owner {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    plan: Plan,
    run: [u8; 16],
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stop: bool,
    /// Its files of before have been looked at.
    is_ready: bool,
    machines: BTreeMap<Mac, One>,
    trouble: Option<String>,
}

enum One {
    /// It is to be made.
    Ordered,
    Made(Arc<Overlay>),
}

/// How the overlays are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Look {
    /// How many there are.
    pub count: usize,
    /// Bytes that were changed in all of them.
    pub bytes: u64,
    /// Why the last one could not be made.
    pub trouble: Option<String>,
}

impl PartialEq for Overlays {
    fn eq(&self, other: &Overlays) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Overlays {}

impl fmt::Debug for Overlays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Overlays({:?})", self.0.shared.plan)
    }
}

impl Overlays {
    /// Starts their thread. `confine` leaves a thread with one directory.
    ///
    /// # Errors
    /// The system's.
    pub fn start(plan: Plan, confine: fn(&Path) -> io::Result<()>) -> io::Result<Overlays> {
        let run = run_of_node(&fs::read_to_string(RUN)?).ok_or(io::ErrorKind::InvalidData)?;
        let shared = Arc::new(Shared {
            plan,
            run,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let makes = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("overlays".to_owned());
        let thread = thread.spawn(move || makes.run(confine))?;
        Ok(Overlays(Arc::new(Owner {
            shared,
            thread: Some(thread),
        })))
    }

    /// What they are.
    pub fn plan(&self) -> &Plan {
        &self.0.shared.plan
    }

    /// A machine boots: what it has changed before is not used any more.
    pub fn renew(&self, mac: Mac) {
        let shared = &self.0.shared;
        let mut state = lock(&shared.state);
        if state.machines.len() >= OVERLAYS_MAX && !state.machines.contains_key(&mac) {
            let told = format!("{OVERLAYS_MAX} machines have an overlay; {mac} gets none");
            state.trouble = Some(told);
            return;
        }
        state.machines.insert(mac, One::Ordered);
        shared.changed.notify_all();
    }

    /// The overlay of a machine, which is waited for if it is being made. None: it has none, and has to
    /// boot again.
    pub fn of(&self, mac: Mac, patience: Duration) -> Option<Arc<Overlay>> {
        let shared = &self.0.shared;
        let until = Instant::now() + patience;
        let mut state = lock(&shared.state);
        loop {
            match state.machines.get(&mac) {
                Some(One::Made(overlay)) => return Some(Arc::clone(overlay)),
                None if state.is_ready => return None,
                Some(One::Ordered) | None => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.stop {
                return None;
            }
            let waited = shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How they are.
    pub fn look(&self) -> Look {
        let state = lock(&self.0.shared.state);
        let made = state.machines.values().filter_map(|one| match one {
            One::Made(overlay) => Some(overlay.bytes()),
            One::Ordered => None,
        });
        let (count, bytes) = made.fold((0, 0), |(count, all), bytes| (count + 1, all + bytes));
        Look {
            count,
            bytes,
            trouble: state.trouble.clone(),
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        lock(&self.shared.state).stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It panicked, and said why.
            let _ = thread.join();
        }
    }
}

/// The number of this run of the node.
fn run_of_node(text: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()?;
    Some(number.to_be_bytes())
}

impl Shared {
    fn run(&self, confine: fn(&Path) -> io::Result<()>) {
        let directory = self.directory(confine);
        match &directory {
            Ok(directory) => self.look_back(directory),
            Err(error) => self.note(error),
        }
        lock(&self.state).is_ready = true;
        self.changed.notify_all();
        while let Some(mac) = self.next() {
            let made = match &directory {
                Ok(directory) => {
                    Overlay::create(directory, &self.name(mac), self.run, self.plan.bytes_max)
                }
                Err(error) => Err(error.kind().into()),
            };
            if let Err(error) = &made {
                self.note(error);
            }
            let mut state = lock(&self.state);
            match made {
                Ok(overlay) => {
                    state.trouble = None;
                    state.machines.insert(mac, One::Made(Arc::new(overlay)));
                }
                Err(_) => drop(state.machines.remove(&mac)),
            }
            self.changed.notify_all();
        }
    }

    /// Opens the directory, and leaves this thread with it alone.
    fn directory(&self, confine: fn(&Path) -> io::Result<()>) -> io::Result<OwnedFd> {
        let path = &self.plan.directory;
        fs::create_dir_all(path)?;
        confine(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(open(path, flags, Mode::empty())?)
    }

    fn note(&self, error: &io::Error) {
        let (path, why) = (self.plan.directory.display(), language::reason(error));
        let told = format!("cannot keep overlays in {path}: {why}");
        let mut state = lock(&self.state);
        if state.trouble.as_ref() != Some(&told) {
            write_error(&format!("evenkeel: boot: {told}\n"));
            state.trouble = Some(told);
        }
    }

    fn name(&self, mac: Mac) -> String {
        format!("{}.{}{SUFFIX}", self.plan.prefix, mac.dashed())
    }

    /// Takes over the files of a former process of this run of the node, and removes those of others.
    fn look_back(&self, directory: &OwnedFd) {
        let Ok(entries) = fs::read_dir(&self.plan.directory) else {
            return;
        };
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        for name in names {
            let own = name.strip_prefix(&self.plan.prefix);
            let own = own.and_then(|rest| rest.strip_prefix('.')?.strip_suffix(SUFFIX));
            let Some(mac) = own.and_then(|mac| mac.parse::<Mac>().ok()) else {
                continue;
            };
            let opened = Overlay::open(directory, &name, self.run, self.plan.bytes_max);
            let mut state = lock(&self.state);
            let has_room = state.machines.len() < OVERLAYS_MAX;
            match opened {
                // One that was ordered meanwhile is made anew.
                Ok(overlay) if has_room => {
                    let new = One::Made(Arc::new(overlay));
                    state.machines.entry(mac).or_insert(new);
                }
                _ => {
                    // It is of no use; if it stays, it is made anew with its machine's next boot.
                    let _ = unlinkat(directory, &name, rustix::fs::AtFlags::empty());
                }
            }
        }
    }

    /// Waits for an order.
    fn next(&self) -> Option<Mac> {
        let mut state = lock(&self.state);
        loop {
            if state.stop {
                return None;
            }
            let mut machines = state.machines.iter();
            let ordered = machines.find(|(_, one)| matches!(one, One::Ordered));
            if let Some((mac, _)) = ordered {
                return Some(*mac);
            }
            state = { self.changed.wait(state) }.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::overlay::Overlaid;
    use crate::disk::{Disk, DiskError, FileDisk};
    use lab::Scratch;

    const PATIENCE: Duration = Duration::from_secs(60);
    const ONE: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const TWO: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn start(scratch: &Scratch, bytes_max: u64) -> Overlays {
        let plan = Plan {
            directory: scratch.path().join("overlays"),
            prefix: "lan.system".to_owned(),
            bytes_max,
        };
        Overlays::start(plan, |_| Ok(())).unwrap()
    }

    fn disk(scratch: &Scratch, overlays: &Overlays, mac: Mac) -> Overlaid {
        let base = FileDisk::new(scratch.path().join("disk"), true);
        base.reach().unwrap();
        Overlaid {
            base: Arc::new(base),
            overlay: overlays.of(mac, PATIENCE).unwrap(),
        }
    }

    /// Writes of any place and length, by a fixed sequence of numbers.
    fn writes(disk: &dyn Disk, model: &mut [u8], seed: &mut u64, count: u32) {
        let mut random = |below: u64| {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (*seed >> 33) % below
        };
        for _ in 0..count {
            let offset = random(model.len() as u64);
            let length = (1 + random(20_000)).min(model.len() as u64 - offset);
            let bytes = vec![random(256) as u8; length as usize];
            disk.write(offset, &bytes).unwrap();
            model[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        let mut all = vec![0; model.len()];
        disk.read(0, &mut all).unwrap();
        assert!(all == model);
    }

    #[test]
    fn each_machine_reads_what_it_wrote_and_the_disk_stays_as_it_is() {
        let scratch = Scratch::new().unwrap();
        // It ends within a block.
        let content: Vec<u8> = (0..3_000_001_u32).map(|at| (at % 251) as u8).collect();
        scratch.write("disk", &content).unwrap();
        let (mut one, mut two, mut seed) = (content.clone(), content.clone(), 7);
        let overlays = start(&scratch, 1 << 30);
        overlays.renew(ONE);
        overlays.renew(TWO);
        writes(&disk(&scratch, &overlays, ONE), &mut one, &mut seed, 60);
        writes(&disk(&scratch, &overlays, TWO), &mut two, &mut seed, 60);
        // Another process of the role goes on with the same files.
        drop(overlays);
        let overlays = start(&scratch, 1 << 30);
        let look = overlays.look();
        writes(&disk(&scratch, &overlays, ONE), &mut one, &mut seed, 20);
        assert!(overlays.look().count == 2 && overlays.look().bytes > look.bytes.min(1));
        // The machine boots: it has the disk as it is.
        overlays.renew(ONE);
        let mut one = content.clone();
        writes(&disk(&scratch, &overlays, ONE), &mut one, &mut seed, 1);
        writes(&disk(&scratch, &overlays, TWO), &mut two, &mut seed, 1);
        assert!(fs::read(scratch.path().join("disk")).unwrap() == content);
    }

    #[test]
    fn an_overlay_is_full_at_its_limit_and_behind_the_end_of_the_disk_nothing_is_written() {
        let scratch = Scratch::new().unwrap();
        scratch.write("disk", vec![1; 64 << 10]).unwrap();
        let overlays = start(&scratch, 8192);
        overlays.renew(ONE);
        let disk = disk(&scratch, &overlays, ONE);
        disk.write(4095, &[2; 2]).unwrap();
        assert!(matches!(disk.write(8192, &[3]), Err(DiskError::Full)));
        assert!(matches!(disk.write(65_535, &[3; 2]), Err(DiskError::End)));
        // What it has, it may change again.
        disk.write(0, &[4; 8192]).unwrap();
        let mut read = [0; 3];
        disk.read(8190, &mut read).unwrap();
        assert_eq!(read, [4, 4, 1]);
    }

    #[test]
    fn a_machine_without_an_overlay_and_one_of_another_run_of_the_node_get_none() {
        let scratch = Scratch::new().unwrap();
        scratch.write("disk", [1; 8192]).unwrap();
        let overlays = start(&scratch, 1 << 20);
        assert!(overlays.of(ONE, PATIENCE).is_none());
        overlays.renew(ONE);
        disk(&scratch, &overlays, ONE).write(0, &[9]).unwrap();
        drop(overlays);
        let name = "overlays/lan.system.02-00-00-00-00-01.overlay";
        let path = scratch.path().join(name);
        let mut file = fs::read(&path).unwrap();
        file[16] ^= 1;
        fs::write(&path, &file[..40]).unwrap();
        let overlays = start(&scratch, 1 << 20);
        assert!(overlays.of(ONE, PATIENCE).is_none());
        assert!(!path.exists());
    }

    #[test]
    fn the_number_of_overlays_is_limited() {
        let scratch = Scratch::new().unwrap();
        let overlays = start(&scratch, 1 << 20);
        for number in 0..=OVERLAYS_MAX {
            let [.., high, low] = number.to_be_bytes();
            overlays.renew(Mac([2, 0, 0, 0, high, low]));
        }
        assert!(overlays.look().trouble.unwrap().contains("gets none"));
        assert!(overlays.of(Mac([2, 0, 0, 0, 1, 0]), PATIENCE).is_none());
        assert!(overlays.of(Mac([2, 0, 0, 0, 0, 255]), PATIENCE).is_some());
    }
}
