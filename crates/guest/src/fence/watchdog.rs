//! Feeds the watchdog of this node (linux/watchdog.h), a device that resets the machine unless it
//! is fed.
//!
//! The device is opened when the first guest exists. It is fed as long as each guest here may run
//! here or is confirmed paused. A node that lost its leases and cannot stop a guest is therefore
//! reset within [`TIMEOUT_S`]; a node that is merely busy is not. Closing the device without the
//! magic character leaves it armed: if the role is killed, its successor opens and feeds the
//! device again.

use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::{Errno, write};
use rustix::ioctl::{self, Updater, opcode};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Timeout after which an unfed device resets the machine, seconds.
pub const TIMEOUT_S: i32 = 10;
/// Maximum interval between two feeds, milliseconds.
pub const FEED_MS: u64 = 2_000;
/// Interval at which a device that could not be opened is tried again, milliseconds: the previous
/// role process may still have it open.
const AGAIN_MS: u64 = 1_000;
/// Character that disarms the device if it is written before the device is closed.
const MAGIC: &[u8] = b"V";
/// Device number of `/dev/watchdog`, an alias of `watchdog0`.
const MISC: (u32, u32) = (10, 130);

#[derive(Debug)]
struct Device {
    fd: OwnedFd,
    /// Timeout that the device has, in seconds, or the reason why it could not be set.
    timeout: Result<i32, String>,
    /// True if the device cannot be disarmed (`nowayout`).
    stays: bool,
}

/// Watchdog of this node. [`Watchdog::turn`] opens the device with the first guest, and feeds it
/// unless a guest may run without its lease. The device resets the machine if it is not fed for
/// [`TIMEOUT_S`].
#[derive(Debug, Default)]
pub struct Watchdog {
    path: Option<PathBuf>,
    device: Option<Device>,
    /// Time of the last feed or attempt to open, milliseconds.
    last: Option<u64>,
    why: String,
    unsafe_guest: Option<String>,
}

/// State of the guests of this node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LocalGuestState {
    pub any: bool,
    pub unsafe_guest: Option<String>,
}

impl Watchdog {
    /// Sets the device; None: no watchdog. The previous device is disarmed.
    pub fn set(&mut self, path: Option<&Path>) {
        if self.path.as_deref() != path {
            self.disarm(true);
            self.path = path.map(Path::to_owned);
            self.why.clear();
            self.last = None;
        }
    }

    pub fn turn(&mut self, here: &LocalGuestState, now: u64) {
        self.unsafe_guest.clone_from(&here.unsafe_guest);
        let Some(path) = self.path.clone() else {
            return;
        };
        if !here.any {
            self.disarm(false);
        } else if self.device.is_none() && self.is_due(AGAIN_MS, now) {
            self.last = Some(now);
            match Device::open(&path) {
                Ok(device) => {
                    self.why.clear();
                    self.device = Some(device);
                    self.last = None;
                }
                Err(errno) => self.why = reason(errno),
            }
        }
        // Feeds the device early, because the next turn may be late.
        if here.unsafe_guest.is_none() && self.is_due(FEED_MS / 2, now) {
            self.feed(now);
        }
    }

    fn is_due(&self, every: u64, now: u64) -> bool {
        self.last
            .is_none_or(|last| now >= last.saturating_add(every))
    }

    fn feed(&mut self, now: u64) {
        let Some(device) = &self.device else { return };
        self.last = Some(now);
        match write(&device.fd, b"\0") {
            // Ignores a full pipe, which occurs only in tests.
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => {
                self.why = format!("cannot feed it: {}", reason(errno));
                self.device = None;
            }
        }
    }

    fn disarm(&mut self, always: bool) {
        if let Some(device) = self.device.take_if(|device| always || !device.stays) {
            // Ignores an error: if the device cannot be disarmed, it resets the machine; nothing
            // else can be tried.
            let _ = write(&device.fd, MAGIC);
            self.last = None;
        }
    }

    /// Returns whether the device is armed and resets the machine within [`TIMEOUT_S`].
    pub fn is_armed(&self) -> bool {
        let timeout = self.device.as_ref().map(|device| &device.timeout);
        matches!(timeout, Some(Ok(..=TIMEOUT_S)))
    }

    /// Disarms the device when the role stops in an orderly way without guests, because nobody
    /// feeds the device then.
    pub fn stop(&mut self, here: &LocalGuestState) {
        if !here.any {
            self.disarm(true);
        }
    }

    pub fn deadline(&self, here: &LocalGuestState) -> Option<u64> {
        self.path.as_ref()?;
        let every = match &self.device {
            Some(_) => FEED_MS,
            None if here.any => AGAIN_MS,
            None => return None,
        };
        Some(self.last.map_or(0, |last| last.saturating_add(every)))
    }

    /// Returns the status as text, and whether it is as configured; None: no watchdog.
    pub fn words(&self) -> Option<(String, bool)> {
        let path = self.path.as_ref()?.display();
        if let Some(guest) = self.unsafe_guest.as_ref().filter(|_| self.device.is_some()) {
            let words = format!(
                "{path}: not fed, because guest {guest} has no lease, and is not confirmed to be paused or \
                 has written to a storage system"
            );
            return Some((words, false));
        }
        Some(match &self.device {
            Some(Device {
                timeout: Ok(seconds),
                ..
            }) => (format!("{path} is fed, resets after {seconds} s"), true),
            Some(Device {
                timeout: Err(why), ..
            }) => (
                format!("{path} is fed, but its timeout is unknown: {why}"),
                false,
            ),
            None if self.why.is_empty() => (format!("{path}: no guest on this node"), true),
            None => (
                format!("{path}: {}; guests run without it", self.why),
                false,
            ),
        })
    }
}

impl Device {
    fn open(path: &Path) -> Result<Device, Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = open(path, flags, Mode::empty())?;
        let mut seconds = TIMEOUT_S;
        // SAFETY: WDIOC_SETTIMEOUT reads and writes an int.
        let set = unsafe {
            const SET_TIMEOUT: ioctl::Opcode = opcode::read_write::<i32>(b'W', 6);
            ioctl::ioctl(&fd, Updater::<SET_TIMEOUT, i32>::new(&mut seconds))
        };
        let timeout = match set {
            Ok(()) => Ok(seconds),
            Err(errno) => Err(reason(errno)),
        };
        let stays = has_no_way_out(&fd);
        Ok(Device { fd, timeout, stays })
    }
}

fn has_no_way_out(fd: &OwnedFd) -> bool {
    let Ok(stat) = fstat(fd) else { return false };
    let number = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    let path = match number {
        (0, 0) => return false,
        MISC => "/sys/class/watchdog/watchdog0/nowayout".to_owned(),
        (major, minor) => format!("/sys/dev/char/{major}:{minor}/nowayout"),
    };
    fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
}

fn reason(errno: Errno) -> String {
    match errno {
        Errno::NOENT | Errno::NXIO | Errno::NODEV => "there is no such device".to_owned(),
        Errno::BUSY => "another program uses it".to_owned(),
        Errno::NOTTY | Errno::INVAL => "it is no watchdog, or does not support that".to_owned(),
        errno => language::reason(&errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;
    use rustix::fs::{CWD, FileType, mknodat};

    /// FIFO instead of a device: the test reads what was written.
    struct Fake {
        scratch: ScratchDirectory,
        reader: OwnedFd,
        watchdog: Watchdog,
    }

    impl Fake {
        fn new() -> Fake {
            let scratch = ScratchDirectory::new().unwrap();
            let path = scratch.path().join("watchdog");
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let reader = open(&path, flags, Mode::empty()).unwrap();
            let mut watchdog = Watchdog::default();
            watchdog.set(Some(&path));
            Fake {
                scratch,
                reader,
                watchdog,
            }
        }

        fn written(&self) -> Vec<u8> {
            let mut bytes = [0; 64];
            let count = rustix::io::read(&self.reader, &mut bytes).unwrap_or(0);
            bytes[..count].to_vec()
        }
    }

    fn guests() -> LocalGuestState {
        LocalGuestState {
            any: true,
            unsafe_guest: None,
        }
    }

    #[test]
    fn the_device_is_fed_from_the_first_guest_to_the_last() {
        let mut fake = Fake::new();
        fake.watchdog.turn(&LocalGuestState::default(), 0);
        assert_eq!(fake.watchdog.deadline(&LocalGuestState::default()), None);
        assert!(fake.written().is_empty());
        fake.watchdog.turn(&guests(), 100);
        assert_eq!(fake.written(), b"\0");
        assert_eq!(fake.watchdog.deadline(&guests()), Some(2100));
        fake.watchdog.turn(&guests(), 200);
        assert!(fake.written().is_empty());
        fake.watchdog.turn(&guests(), 1100);
        assert_eq!(fake.written(), b"\0");
        fake.watchdog.turn(&LocalGuestState::default(), 1200);
        assert_eq!(fake.written(), b"V");
        fake.watchdog.turn(&guests(), 1201);
        assert_eq!(fake.written(), b"\0");
    }

    #[test]
    fn the_device_is_not_fed_for_a_guest_without_lease() {
        let mut fake = Fake::new();
        fake.watchdog.turn(&guests(), 0);
        fake.written();
        let here = LocalGuestState {
            any: true,
            unsafe_guest: Some("mail".to_owned()),
        };
        fake.watchdog.turn(&here, 5000);
        assert!(fake.written().is_empty());
        let (words, good) = fake.watchdog.words().unwrap();
        assert!(
            !good && words.contains("not fed, because guest mail"),
            "{words}"
        );
        fake.watchdog.turn(&guests(), 5001);
        assert_eq!(fake.written(), b"\0");
    }

    #[test]
    fn the_next_role_feeds_the_device_of_a_killed_one() {
        let mut fake = Fake::new();
        fake.watchdog.turn(&guests(), 0);
        fake.written();
        let path = fake.scratch.path().join("watchdog");
        fake.watchdog = Watchdog::default();
        assert!(fake.written().is_empty());
        fake.watchdog.set(Some(&path));
        fake.watchdog.turn(&guests(), 900);
        assert_eq!(fake.written(), b"\0");
    }

    #[test]
    fn a_clean_stop_disarms_the_device_only_without_guests() {
        let mut fake = Fake::new();
        fake.watchdog.turn(&guests(), 0);
        fake.written();
        fake.watchdog.stop(&guests());
        assert!(fake.written().is_empty());
        fake.watchdog.stop(&LocalGuestState::default());
        assert_eq!(fake.written(), b"V");
    }

    #[test]
    fn a_device_whose_timeout_cannot_be_set_is_fed_and_reported() {
        let mut fake = Fake::new();
        fake.watchdog.turn(&guests(), 0);
        let (words, good) = fake.watchdog.words().unwrap();
        assert!(!good && words.contains("its timeout is unknown"), "{words}");
    }

    #[test]
    fn a_device_that_is_missing_is_reported_and_tried_again() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut watchdog = Watchdog::default();
        watchdog.set(Some(&scratch.path().join("none")));
        watchdog.turn(&guests(), 0);
        let (words, good) = watchdog.words().unwrap();
        assert!(!good && words.contains("there is no such device; guests run without it"));
        assert_eq!(watchdog.deadline(&guests()), Some(1_000));
        watchdog.set(None);
        assert_eq!(watchdog.words(), None);
        assert_eq!(watchdog.deadline(&guests()), None);
    }

    #[test]
    fn a_removed_line_disarms_the_device() {
        let mut fake = Fake::new();
        fake.watchdog.turn(&guests(), 0);
        fake.written();
        fake.watchdog.set(None);
        assert_eq!(fake.written(), b"V");
    }
}
