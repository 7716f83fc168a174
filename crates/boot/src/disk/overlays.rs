//! Manages the overlays of one disk: one for each machine that boots from the disk, created when
//! the machine boots.
//!
//! A thread of its own creates the files, so that no other thread needs write access to their
//! directory. The code that decides that a machine boots only orders an overlay; the code that
//! serves the machine waits for it.

use super::overlay::{Limits, Overlay};
use crate::mac::Mac;
use part::lock;
use part::voice::write_error;
use rustix::fs::{AtFlags, Mode, OFlags, open, unlinkat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const OVERLAYS_MAX: usize = 256;
/// Suffix of the name of an overlay that is not kept. Kept overlays have another suffix, so that a
/// configuration without `keep` does not remove them.
const SUFFIX: &str = ".overlay";
/// Suffix of the name of a kept overlay: `SECTION.DISK.MAC.kept`.
pub const KEPT_SUFFIX: &str = ".kept";
/// Retry interval for a file that connections of the previous process have locked.
const AGAIN: Duration = Duration::from_millis(50);
const AGAIN_MAX: Duration = Duration::from_secs(10);
const RUN: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OverlayConfig {
    pub directory: PathBuf,
    /// Prefix of the file names: the network and the disk.
    pub prefix: String,
    pub limits: Limits,
}

/// Overlays of a disk. Dropping the last clone ends their thread.
#[derive(Clone)]
pub struct Overlays(Arc<OverlayThread>);

struct OverlayThread {
    shared: Arc<SharedOverlays>,
    thread: Option<JoinHandle<()>>,
}

struct SharedOverlays {
    plan: OverlayConfig,
    run: [u8; 16],
    state: Mutex<OverlayState>,
    changed: Condvar,
}

#[derive(Default)]
struct OverlayState {
    stop: bool,
    /// True if the files of the previous process have been read.
    is_ready: bool,
    machines: BTreeMap<Mac, MachineOverlayState>,
    trouble: Option<String>,
}

enum MachineOverlayState {
    /// The overlay must be created, and replaces an existing file.
    Ordered,
    /// The overlay must be created unless its file exists.
    Wanted,
    Made(Arc<Overlay>),
    Unusable(String),
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OverlayStatus {
    pub count: usize,
    pub bytes: u64,
    /// Reason why the last overlay could not be created.
    pub trouble: Option<String>,
    pub unusable: Vec<String>,
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
    /// Starts the thread that creates the overlays. `confine` restricts this thread to one
    /// directory.
    ///
    /// # Errors
    ///
    /// A system call fails.
    pub fn start(
        plan: OverlayConfig,
        confine: fn(&Path) -> io::Result<()>,
    ) -> io::Result<Overlays> {
        let run = run_of_node(&fs::read_to_string(RUN)?).ok_or(io::ErrorKind::InvalidData)?;
        let shared = Arc::new(SharedOverlays {
            plan,
            run,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let makes = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("overlays".to_owned());
        let thread = thread.spawn(move || makes.run(confine))?;
        Ok(Overlays(Arc::new(OverlayThread {
            shared,
            thread: Some(thread),
        })))
    }

    pub fn plan(&self) -> &OverlayConfig {
        &self.0.shared.plan
    }

    /// Orders an overlay for a machine that boots. The earlier changes of the machine are dropped
    /// unless they are kept.
    pub fn boot(&self, mac: Mac) {
        let shared = &self.0.shared;
        let mut state = lock(&shared.state);
        let is_kept = shared.plan.limits.is_kept;
        if is_kept && state.machines.contains_key(&mac) {
            return;
        }
        let new = if is_kept {
            MachineOverlayState::Wanted
        } else {
            MachineOverlayState::Ordered
        };
        shared.put(&mut state, mac, new);
    }

    /// Orders an empty overlay for a machine: its earlier changes are dropped, even kept ones.
    pub fn renew(&self, mac: Mac) {
        let shared = &self.0.shared;
        shared.put(&mut lock(&shared.state), mac, MachineOverlayState::Ordered);
    }

    /// Returns whether a machine has an overlay, even an unusable one, or one is ordered.
    pub fn has(&self, mac: Mac) -> bool {
        lock(&self.0.shared.state).machines.contains_key(&mac)
    }

    /// Returns the overlay of a machine, and waits up to `patience` while it is being created.
    /// None: there is no usable overlay by then, and the machine has to boot again.
    pub fn of(&self, mac: Mac, patience: Duration) -> Option<Arc<Overlay>> {
        let shared = &self.0.shared;
        let until = Instant::now() + patience;
        let mut state = lock(&shared.state);
        loop {
            match state.machines.get(&mac) {
                Some(MachineOverlayState::Made(overlay)) => return Some(Arc::clone(overlay)),
                None if state.is_ready => return None,
                Some(MachineOverlayState::Unusable(_)) => return None,
                Some(MachineOverlayState::Ordered | MachineOverlayState::Wanted) | None => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.stop {
                return None;
            }
            let waited = shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub fn overlay_status(&self) -> OverlayStatus {
        let state = lock(&self.0.shared.state);
        let made = state.machines.values().filter_map(|one| match one {
            MachineOverlayState::Made(overlay) => Some(overlay.bytes()),
            _ => None,
        });
        let (count, bytes) = made.fold((0, 0), |(count, all), bytes| (count + 1, all + bytes));
        let unusable = state.machines.iter().filter_map(|(mac, one)| match one {
            MachineOverlayState::Made(overlay) => {
                Some(format!("that of {mac} {}", overlay.trouble()?))
            }
            MachineOverlayState::Unusable(why) => {
                Some(format!("that of {mac} cannot be used: {why}"))
            }
            MachineOverlayState::Ordered | MachineOverlayState::Wanted => None,
        });
        OverlayStatus {
            count,
            bytes,
            trouble: state.trouble.clone(),
            unusable: unusable.collect(),
        }
    }
}

impl Drop for OverlayThread {
    fn drop(&mut self) {
        lock(&self.shared.state).stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // Ignores a panic of the thread, whose message has been printed.
            let _ = thread.join();
        }
    }
}

fn run_of_node(text: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()?;
    Some(number.to_be_bytes())
}

impl SharedOverlays {
    fn put(&self, state: &mut OverlayState, mac: Mac, new: MachineOverlayState) {
        if state.machines.len() >= OVERLAYS_MAX && !state.machines.contains_key(&mac) {
            let told = format!("{OVERLAYS_MAX} machines have an overlay; {mac} gets none");
            state.trouble = Some(told);
            return;
        }
        state.machines.insert(mac, new);
        self.changed.notify_all();
    }

    fn run(&self, confine: fn(&Path) -> io::Result<()>) {
        let directory = self.directory(confine);
        match &directory {
            Ok(directory) => self.adopt_previous_files(directory),
            Err(error) => self.note(error),
        }
        lock(&self.state).is_ready = true;
        self.changed.notify_all();
        while let Some((mac, replaces)) = self.next() {
            let made = match &directory {
                Ok(directory) => self.make(directory, mac, replaces),
                Err(error) => Err(error.kind().into()),
            };
            if let Err(error) = &made {
                self.note(error);
            }
            let mut state = lock(&self.state);
            match made {
                Ok(one) => {
                    state.trouble = None;
                    state.machines.insert(mac, one);
                }
                Err(_) => drop(state.machines.remove(&mac)),
            }
            self.changed.notify_all();
        }
    }

    /// Creates the overlay of a machine. `replaces`: true if an existing file is removed first;
    /// otherwise the overlay in an existing file is opened.
    fn make(
        &self,
        directory: &OwnedFd,
        mac: Mac,
        replaces: bool,
    ) -> io::Result<MachineOverlayState> {
        let name = self.name(mac);
        let made = |overlay| MachineOverlayState::Made(Arc::new(overlay));
        if replaces {
            match unlinkat(directory, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        } else {
            match self.open(directory, &name) {
                Ok(overlay) => return Ok(made(overlay)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Ok(unusable(&name, &error)),
            }
        }
        Overlay::create(directory, &name, self.run, self.plan.limits).map(made)
    }

    /// Creates and opens the directory of the overlays, and confines this thread to it.
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
        format!("{}.{}{}", self.plan.prefix, mac.dashed(), self.suffix())
    }

    fn suffix(&self) -> &'static str {
        if self.plan.limits.is_kept {
            KEPT_SUFFIX
        } else {
            SUFFIX
        }
    }

    /// Opens an existing overlay. Waits up to [`AGAIN_MAX`] while connections of the previous
    /// process have the file locked.
    fn open(&self, directory: &OwnedFd, name: &str) -> io::Result<Overlay> {
        let until = Instant::now() + AGAIN_MAX;
        loop {
            let opened = Overlay::open(directory, name, self.run, self.plan.limits);
            let is_in_use = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
            match opened {
                Err(error) if is_in_use(&error) && Instant::now() < until => {}
                opened => return opened,
            }
            let state = lock(&self.state);
            if state.stop {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            drop(
                self.changed
                    .wait_timeout(state, AGAIN)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }

    /// Adopts the overlay files of the previous process. Removes files that are not kept and cannot
    /// be adopted, such as those of an earlier boot of the node.
    fn adopt_previous_files(&self, directory: &OwnedFd) {
        let Ok(entries) = fs::read_dir(&self.plan.directory) else {
            return;
        };
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        for name in names {
            let own = name.strip_prefix(&self.plan.prefix);
            let own = own.and_then(|rest| rest.strip_prefix('.')?.strip_suffix(self.suffix()));
            let Some(mac) = own.and_then(|mac| mac.parse::<Mac>().ok()) else {
                continue;
            };
            let opened = self.open(directory, &name);
            let mut state = lock(&self.state);
            if state.stop {
                return;
            }
            let has_room = state.machines.len() < OVERLAYS_MAX;
            match opened {
                // Skips a machine whose overlay was ordered meanwhile: the order replaces the file.
                _ if matches!(state.machines.get(&mac), Some(MachineOverlayState::Ordered)) => {}
                Ok(overlay) if has_room || state.machines.contains_key(&mac) => {
                    state
                        .machines
                        .insert(mac, MachineOverlayState::Made(Arc::new(overlay)));
                }
                Ok(_) if self.plan.limits.is_kept => {}
                Err(error) if self.plan.limits.is_kept => {
                    state.machines.insert(mac, unusable(&name, &error));
                }
                _ => {
                    // Removes the useless file. If that fails, the machine's next boot replaces it.
                    let _ = unlinkat(directory, &name, AtFlags::empty());
                }
            }
        }
    }

    /// Waits for an order to create an overlay. Returns the machine, and whether its existing
    /// overlay is replaced; None: the thread must stop.
    fn next(&self) -> Option<(Mac, bool)> {
        let mut state = lock(&self.state);
        loop {
            if state.stop {
                return None;
            }
            let ordered = state.machines.iter().find_map(|(mac, one)| match one {
                MachineOverlayState::Ordered => Some((*mac, true)),
                MachineOverlayState::Wanted => Some((*mac, false)),
                MachineOverlayState::Made(_) | MachineOverlayState::Unusable(_) => None,
            });
            if ordered.is_some() {
                return ordered;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn unusable(name: &str, error: &io::Error) -> MachineOverlayState {
    let why = match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => "it is damaged".to_owned(),
        _ => language::reason(error),
    };
    write_error(&format!(
        "evenkeel: boot: cannot use overlay {name}: {why}\n"
    ));
    MachineOverlayState::Unusable(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::overlay::OverlayDisk;
    use crate::disk::{Disk, DiskError, FileDisk};
    use lab::ScratchDirectory;
    use std::os::unix::fs::FileExt;

    const PATIENCE: Duration = Duration::from_secs(60);
    const ONE: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const TWO: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn start(scratch: &ScratchDirectory, bytes_max: u64) -> Overlays {
        start_with(scratch, bytes_max, false)
    }

    fn start_with(scratch: &ScratchDirectory, bytes_max: u64, is_kept: bool) -> Overlays {
        let plan = OverlayConfig {
            directory: scratch.path().join("overlays"),
            prefix: "lan.system".to_owned(),
            limits: Limits { is_kept, bytes_max },
        };
        Overlays::start(plan, |_| Ok(())).unwrap()
    }

    fn disk(scratch: &ScratchDirectory, overlays: &Overlays, mac: Mac) -> OverlayDisk {
        let base = FileDisk::new(scratch.path().join("disk"), true, "lan.a".to_owned());
        base.reach().unwrap();
        OverlayDisk::new(Arc::new(base), overlays.of(mac, PATIENCE).unwrap()).unwrap()
    }

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
        let scratch = ScratchDirectory::new().unwrap();
        // The disk ends within a block.
        let content: Vec<u8> = (0..3_000_001_u32).map(|at| (at % 251) as u8).collect();
        scratch.write("disk", &content).unwrap();
        let (mut one, mut two, mut seed) = (content.clone(), content.clone(), 7);
        let overlays = start(&scratch, 1 << 30);
        overlays.renew(ONE);
        overlays.renew(TWO);
        writes(&disk(&scratch, &overlays, ONE), &mut one, &mut seed, 60);
        writes(&disk(&scratch, &overlays, TWO), &mut two, &mut seed, 60);
        // Another process of the role continues with the same files.
        drop(overlays);
        let overlays = start(&scratch, 1 << 30);
        let look = overlays.overlay_status();
        writes(&disk(&scratch, &overlays, ONE), &mut one, &mut seed, 20);
        assert!(
            overlays.overlay_status().count == 2
                && overlays.overlay_status().bytes > look.bytes.min(1)
        );
        // The machine boots: it sees the base disk without changes.
        overlays.renew(ONE);
        let mut one = content.clone();
        writes(&disk(&scratch, &overlays, ONE), &mut one, &mut seed, 1);
        writes(&disk(&scratch, &overlays, TWO), &mut two, &mut seed, 1);
        assert!(fs::read(scratch.path().join("disk")).unwrap() == content);
    }

    #[test]
    fn an_overlay_is_full_at_its_limit_and_behind_the_end_of_the_disk_nothing_is_written() {
        let scratch = ScratchDirectory::new().unwrap();
        scratch.write("disk", vec![1; 64 << 10]).unwrap();
        let overlays = start(&scratch, 8192);
        overlays.renew(ONE);
        let disk = disk(&scratch, &overlays, ONE);
        disk.write(4095, &[2; 2]).unwrap();
        assert!(matches!(disk.write(8192, &[3]), Err(DiskError::Full)));
        assert!(matches!(disk.write(65_535, &[3; 2]), Err(DiskError::End)));
        // A block that has changed already may change again.
        disk.write(0, &[4; 8192]).unwrap();
        let mut read = [0; 3];
        disk.read(8190, &mut read).unwrap();
        assert_eq!(read, [4, 4, 1]);
    }

    #[test]
    fn a_machine_without_an_overlay_and_one_of_another_run_of_the_node_get_none() {
        let scratch = ScratchDirectory::new().unwrap();
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
        let scratch = ScratchDirectory::new().unwrap();
        let overlays = start(&scratch, 1 << 20);
        for number in 0..=OVERLAYS_MAX {
            let [.., high, low] = number.to_be_bytes();
            overlays.renew(Mac([2, 0, 0, 0, high, low]));
        }
        assert!(
            overlays
                .overlay_status()
                .trouble
                .unwrap()
                .contains("gets none")
        );
        assert!(overlays.of(Mac([2, 0, 0, 0, 1, 0]), PATIENCE).is_none());
        assert!(overlays.of(Mac([2, 0, 0, 0, 0, 255]), PATIENCE).is_some());
    }

    const KEPT: &str = "overlays/lan.system.02-00-00-00-00-01.kept";

    fn restart(scratch: &ScratchDirectory) {
        let path = scratch.path().join(KEPT);
        let file = fs::File::options().write(true).open(path).unwrap();
        file.write_all_at(&[7; 16], 16).unwrap();
    }

    #[test]
    fn changes_that_are_kept_outlive_boots_and_processes_and_those_that_were_flushed_the_node() {
        let scratch = ScratchDirectory::new().unwrap();
        let content = vec![1; 1 << 20];
        scratch.write("disk", &content).unwrap();
        let (mut model, mut seed) = (content.clone(), 3);
        for _ in 0..2 {
            let overlays = start_with(&scratch, 1 << 20, true);
            overlays.boot(ONE);
            let one = disk(&scratch, &overlays, ONE);
            writes(&one, &mut model, &mut seed, 20);
            overlays.boot(ONE);
            writes(&disk(&scratch, &overlays, ONE), &mut model, &mut seed, 1);
            one.flush().unwrap();
        }
        // Only what was written after the last flush is lost with the node.
        let overlays = start_with(&scratch, 1 << 20, true);
        let one = disk(&scratch, &overlays, ONE);
        let untouched = (0..256).find(|block| {
            let at = block * 4096;
            model[at..at + 4096] == content[at..at + 4096]
        });
        let at = untouched.expect("a block that was not written") * 4096;
        one.write(at as u64, &[7; 4096]).unwrap();
        drop(one);
        drop(overlays);
        restart(&scratch);
        let overlays = start_with(&scratch, 1 << 20, true);
        let one = disk(&scratch, &overlays, ONE);
        let mut all = vec![0; model.len()];
        one.read(0, &mut all).unwrap();
        assert!(all == model);
        // The overlay is writable again, and an operator can drop all of it.
        writes(&one, &mut model, &mut seed, 5);
        drop(one);
        overlays.renew(ONE);
        disk(&scratch, &overlays, ONE).read(0, &mut all).unwrap();
        assert!(all == content);
    }

    #[test]
    fn a_kept_overlay_is_not_used_over_another_content_of_the_disk() {
        let scratch = ScratchDirectory::new().unwrap();
        scratch.write("disk", [1; 8192]).unwrap();
        let overlays = start_with(&scratch, 1 << 20, true);
        overlays.boot(ONE);
        disk(&scratch, &overlays, ONE).write(0, &[9]).unwrap();
        scratch.write("disk", [1; 16384]).unwrap();
        let base = FileDisk::new(scratch.path().join("disk"), true, "lan.a".to_owned());
        base.reach().unwrap();
        let base: Arc<dyn Disk> = Arc::new(base);
        let overlay = overlays.of(ONE, PATIENCE).unwrap();
        assert!(OverlayDisk::new(Arc::clone(&base), overlay).is_err());
        let words = overlays.overlay_status().unusable;
        assert_eq!(
            words,
            ["that of 02:00:00:00:00:01 is of another content of the disk"]
        );
        overlays.renew(ONE);
        let overlay = overlays.of(ONE, PATIENCE).unwrap();
        assert!(OverlayDisk::new(base, overlay).is_ok());
    }

    #[test]
    fn a_damaged_file_that_is_kept_stays_until_an_operator_drops_it() {
        let scratch = ScratchDirectory::new().unwrap();
        fs::create_dir(scratch.path().join("overlays")).unwrap();
        scratch.write(KEPT, "damaged").unwrap();
        scratch.write("disk", [1; 8192]).unwrap();
        let overlays = start_with(&scratch, 1 << 20, true);
        overlays.boot(ONE);
        assert!(overlays.of(ONE, PATIENCE).is_none());
        assert!(overlays.overlay_status().unusable[0].contains("cannot be used"));
        assert_eq!(fs::read(scratch.path().join(KEPT)).unwrap(), b"damaged");
        // Overlays that are dropped at each boot have files of their own.
        drop(overlays);
        drop(start(&scratch, 1 << 20));
        assert!(scratch.path().join(KEPT).exists());
        let overlays = start_with(&scratch, 1 << 20, true);
        overlays.renew(ONE);
        assert!(overlays.of(ONE, PATIENCE).is_some());
    }

    #[test]
    fn a_kept_overlay_that_is_full_says_so() {
        let scratch = ScratchDirectory::new().unwrap();
        scratch.write("disk", vec![1; 64 << 10]).unwrap();
        let overlays = start_with(&scratch, 4096, true);
        overlays.boot(ONE);
        let one = disk(&scratch, &overlays, ONE);
        one.write(0, &[2; 4096]).unwrap();
        assert!(overlays.overlay_status().unusable.is_empty());
        assert!(matches!(one.write(4096, &[2]), Err(DiskError::Full)));
        assert_eq!(
            overlays.overlay_status().unusable,
            ["that of 02:00:00:00:00:01 is full"]
        );
    }
}
