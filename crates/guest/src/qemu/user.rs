//! Chooses the Unix user of a guest's QEMU process: a number that no account and no other guest on
//! this node has. Code that escapes from a guest owns only `own/` in the guest's directory. It
//! cannot signal, trace or connect to processes of root or of other guests.
//!
//! QEMU starts as root with no rights other than to change its user. It opens the boot files and
//! changes to this user before the guest's first instruction.

use super::home::GuestDirectory;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// User IDs that no other program assigns (systemd, "Users, Groups, UIDs and GIDs on systemd
/// systems").
const NUMBERS: Range<u32> = 0x7000_0000..0x7100_0000;
/// User IDs for a user namespace with only 65,536 users, as in a container.
const FEW: Range<u32> = 60_706..61_184;

/// Unix user of a guest's QEMU process, and group with the same number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QemuUser(u32);

impl QemuUser {
    /// Returns the user of a guest on this node: the owner of its directory, or an unused user.
    /// None for a role that is not root, which cannot change to another user.
    ///
    /// # Errors
    /// The runtime directory cannot be read, or all numbers are taken.
    pub fn of_guest(home: &GuestDirectory) -> io::Result<Option<QemuUser>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let numbers = if maps(&map, &NUMBERS) { NUMBERS } else { FEW };
        let owner = |home: &GuestDirectory| fs::symlink_metadata(home.own()).map(|data| data.uid());
        let others = home.others()?.into_iter();
        let taken: BTreeSet<u32> = others.filter_map(|other| owner(&other).ok()).collect();
        let own = owner(home).ok();
        let own = own.filter(|own| numbers.contains(own) && !taken.contains(own));
        let found = own.or_else(|| free(home.path(), &numbers, &taken));
        let none = || io::Error::other("no free user id for another guest");
        found.map(|number| Some(QemuUser(number))).ok_or_else(none)
    }

    pub fn number(self) -> u32 {
        self.0
    }

    pub fn option(self, program: &Path) -> (&'static str, String) {
        let ids = format!("{0}:{0}", self.0);
        if supports_run_with(program) {
            ("-run-with", format!("user={ids}"))
        } else {
            ("-runas", ids)
        }
    }
}

fn free(home: &Path, numbers: &Range<u32>, taken: &BTreeSet<u32>) -> Option<u32> {
    let bytes = home.file_name().unwrap_or_default().as_encoded_bytes();
    // Starts at a hash of the directory's name, so that a guest gets the same number again in most
    // cases.
    let hash = part::fnv::fnv1a_32(bytes.iter().copied());
    let count = numbers.end - numbers.start;
    let mut all = (0..count).map(|step| numbers.start + (hash % count + step) % count);
    all.find(|number| !taken.contains(number))
}

/// Returns whether these users exist in this user namespace (`user_namespaces(7)`: first inside,
/// first outside, count).
fn maps(map: &str, numbers: &Range<u32>) -> bool {
    map.lines().any(|line| {
        let mut fields = line
            .split_whitespace()
            .map(|field| field.parse::<u64>().ok());
        let (first, count) = (fields.next().flatten(), fields.nth(1).flatten());
        first.zip(count).is_some_and(|(first, count)| {
            first <= u64::from(numbers.start)
                && u64::from(numbers.end) <= first.saturating_add(count)
        })
    })
}

/// Identity of the program file that was examined, and the result. An upgrade of QEMU replaces the
/// file.
type CachedUserSupport = ((u64, u64, i64), bool);
static ASKED: Mutex<Option<CachedUserSupport>> = Mutex::new(None);

/// Returns whether this QEMU has `-run-with user=`, which replaces `-runas` since 9.1.
fn supports_run_with(program: &Path) -> bool {
    let Ok(data) = fs::metadata(program) else {
        return false;
    };
    let file = (data.dev(), data.ino(), data.mtime());
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    match *asked {
        Some((of, says)) if of == file => return says,
        _ => {}
    }
    let mut command = Command::new(program);
    command.arg("--help").env_clear();
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    // Ignores an error: if QEMU cannot be started, that is reported when the guest starts.
    let Ok(output) = output else {
        return false;
    };
    let help = String::from_utf8_lossy(&output.stdout);
    let says = help
        .split("\n-run-with")
        .nth(1)
        .and_then(|rest| rest.split("\n-").next())
        .is_some_and(|words| words.contains("user="));
    *asked = Some((file, says));
    says
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn each_guest_has_a_number_of_its_own_and_keeps_it() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let scratch = ScratchDirectory::new().unwrap();
        let mut seen = BTreeSet::new();
        for name in ["mail", "web", "mail2", "a"] {
            let home = GuestDirectory::new(scratch.path(), name);
            home.make().unwrap();
            let user = QemuUser::of_guest(&home).unwrap().unwrap();
            assert!(seen.insert(user.number()), "{name}");
            home.make_own(Some(user)).unwrap();
            let again = QemuUser::of_guest(&home).unwrap();
            assert_eq!(again, Some(user), "{name}");
        }
        // Two guests with one number, as after somebody has copied a directory: the second one gets
        // another number.
        let [mail, web] = ["mail", "web"].map(|name| GuestDirectory::new(scratch.path(), name));
        let own = fs::metadata(mail.own()).unwrap().uid();
        std::os::unix::fs::chown(web.own(), Some(own), Some(own)).unwrap();
        let user = QemuUser::of_guest(&web).unwrap().unwrap();
        assert_ne!(user.number(), own);
        // A directory of root does not determine a user.
        std::os::unix::fs::chown(web.own(), Some(0), Some(0)).unwrap();
        let user = QemuUser::of_guest(&web).unwrap().unwrap();
        assert!(NUMBERS.contains(&user.number()) || FEW.contains(&user.number()));
    }

    #[test]
    fn used_numbers_are_skipped_with_wraparound() {
        let numbers = 10..13;
        let home = Path::new("/run/guest-mail");
        let mut taken = BTreeSet::new();
        while let Some(number) = free(home, &numbers, &taken) {
            assert!(taken.insert(number));
        }
        assert_eq!(taken, BTreeSet::from([10, 11, 12]));
    }

    #[test]
    fn a_map_of_users_has_to_cover_the_numbers() {
        let all = "         0          0 4294967295\n";
        assert!(maps(all, &NUMBERS) && maps(all, &FEW));
        let few = "0 100000 65536\n";
        assert!(!maps(few, &NUMBERS) && maps(few, &FEW));
        assert!(maps("0 0 18446744073709551615\n\n", &FEW));
        assert!(!maps("18446744073709551615 0 18446744073709551615\n", &FEW));
        for nothing in ["", "0 0\n", "x y z\n"] {
            assert!(!maps(nothing, &FEW), "{nothing}");
        }
    }

    #[test]
    fn the_option_exists_in_the_installed_qemu() {
        let scratch = ScratchDirectory::new().unwrap();
        let user = QemuUser(1_900_000_000);
        let ids = "1900000000:1900000000";
        let old = "-name string\n-runas user     change to user id user\n-run-with async-teardown=on|off\n-sandbox user=no\n";
        let new = "-name string\n-run-with [async-teardown=on|off][,chroot=dir][user=username|uid:gid]\n   words\n-sandbox\n";
        for (name, help, option) in [
            ("old", old, ("-runas", ids.to_owned())),
            ("new", new, ("-run-with", format!("user={ids}"))),
        ] {
            let program = scratch.path().join(name);
            fs::write(&program, format!("#!/bin/sh\ncat <<'END'\n{help}END\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(user.option(&program), option);
            assert_eq!(user.option(&program), option);
        }
        let none = user.option(Path::new("/nowhere/qemu"));
        assert_eq!(none, ("-runas", ids.to_owned()));
    }
}
