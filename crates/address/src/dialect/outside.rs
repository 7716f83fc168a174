//! Supplies the facts that the loader needs about the machine that a `keepalived.conf` is for:
//! files, accounts, interfaces, scripts, host names. [`LocalMachine`] queries the machine of this
//! process; a test or a check for another machine implements [`Outside`] otherwise.

use crate::config::Account;
use crate::programs;
use nix::unistd::{Group, User};
use std::io::{self, Read};
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Maximum size of a file in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Maximum number of names in a directory.
const ENTRIES_MAX: usize = 100_000;

/// The state of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interface {
    Present,
    /// The interface exists and is a loopback.
    Loopback,
    /// The interface does not exist.
    Missing,
    /// The local machine is not the one that the file is for.
    Unknown,
}

/// The state of a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Program {
    /// The account may execute the script.
    Usable,
    /// The script does not exist, or is not a regular file.
    Missing,
    /// The account may not execute the script.
    NotExecutable,
    /// Users other than root can change this part of the script's path.
    Unsafe(PathBuf),
    /// The local machine is not the one that the file is for.
    Unknown,
}

/// Reason why there is no account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoAccount {
    /// There is no such user.
    User,
    /// There is no such group.
    Group,
}

/// Queries about the machine that a configuration file is for.
pub trait Outside {
    /// Returns the host name, with its domain if it has one.
    fn host_name(&mut self) -> String;
    /// Reads a file.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>>;
    /// Returns the names in a directory, sorted.
    ///
    /// # Errors
    /// Fails if the directory cannot be read.
    fn list(&mut self, directory: &Path) -> io::Result<Vec<String>>;
    /// Looks up an account by its user name and, if given, its group name.
    ///
    /// # Errors
    /// Returns which of the two does not exist.
    fn account(&mut self, user: &str, group: Option<&str>) -> Result<Account, NoAccount>;
    /// Returns the state of an interface.
    fn interface(&mut self, name: &str) -> Interface;
    /// Returns the state of a script, given by its path or by a name that is searched in the
    /// standard directories.
    fn program(&mut self, path: &str, account: Option<&Account>) -> Program;
    /// Resolves the addresses of a host name; empty if there are none.
    fn resolve(&mut self, host: &str) -> Vec<IpAddr>;
    /// Seeds the random numbers that follow (`random_seed`).
    fn seed(&mut self, seed: u32);
    /// Returns a random number within both bounds, inclusive.
    fn random(&mut self, least: u32, most: u32) -> u32;
}

/// The machine that this process runs on.
#[derive(Debug, Default)]
pub struct LocalMachine {
    state: u64,
}

impl LocalMachine {
    /// Creates the source of facts. Its random numbers are seeded from the clock, unless
    /// [`Outside::seed`] is called before the first one.
    pub fn new() -> LocalMachine {
        LocalMachine { state: 0 }
    }
}

/// Returns the account of a user, by name or number, and of a group other than the user's.
///
/// # Errors
/// The user or the group does not exist.
pub fn account_of(user: &str, group: Option<&str>) -> Result<Account, NoAccount> {
    let found = match user.parse::<u32>() {
        Ok(number) => User::from_uid(number.into()),
        Err(_) => User::from_name(user),
    };
    let found = found.ok().flatten().ok_or(NoAccount::User)?;
    let gid = match group {
        None => found.gid,
        Some(name) => {
            let group = match name.parse::<u32>() {
                Ok(number) => Group::from_gid(number.into()),
                Err(_) => Group::from_name(name),
            };
            group.ok().flatten().ok_or(NoAccount::Group)?.gid
        }
    };
    Ok(Account {
        name: user.to_owned(),
        uid: found.uid.as_raw(),
        gid: gid.as_raw(),
    })
}

/// Directories in which a program without a slash is searched.
const PROGRAM_DIRECTORIES: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

impl Outside for LocalMachine {
    fn host_name(&mut self) -> String {
        nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let file = std::fs::File::open(path)?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            Err(io::ErrorKind::FileTooLarge.into())
        } else {
            Ok(bytes)
        }
    }

    fn list(&mut self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)?.take(ENTRIES_MAX) {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn account(&mut self, user: &str, group: Option<&str>) -> Result<Account, NoAccount> {
        account_of(user, group)
    }

    fn interface(&mut self, name: &str) -> Interface {
        /// IFF_LOOPBACK of the kernel's interface flags.
        const LOOPBACK: u32 = 0x8;
        if name.contains('/') || nix::net::if_::if_nametoindex(name).is_err() {
            return Interface::Missing;
        }
        let flags = std::fs::read_to_string(format!("/sys/class/net/{name}/flags"));
        let flags = flags.unwrap_or_default();
        let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16);
        if flags.is_ok_and(|f| f & LOOPBACK != 0) {
            Interface::Loopback
        } else {
            Interface::Present
        }
    }

    fn program(&mut self, path: &str, account: Option<&Account>) -> Program {
        let path = if path.contains('/') {
            Some(PathBuf::from(path))
        } else {
            PROGRAM_DIRECTORIES
                .iter()
                .map(|directory| Path::new(directory).join(path))
                .find(|path| path.is_file())
        };
        let named = path
            .as_deref()
            .unwrap_or(Path::new(""))
            .display()
            .to_string();
        let Some(path) = path.and_then(|path| path.canonicalize().ok()) else {
            return Program::Missing;
        };
        let Ok(file) = std::fs::metadata(&path) else {
            return Program::Missing;
        };
        if !file.is_file() {
            return Program::Missing;
        }
        if !executable(&file, account) {
            return Program::NotExecutable;
        }
        match programs::changeable(&[named]) {
            Some(part) => Program::Unsafe(part),
            None => Program::Usable,
        }
    }

    fn resolve(&mut self, host: &str) -> Vec<IpAddr> {
        match (host, 0).to_socket_addrs() {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(_) => Vec::new(),
        }
    }

    fn seed(&mut self, seed: u32) {
        // Multiplies the seed, so that similar seeds give different numbers, and makes it odd:
        // xorshift never leaves zero.
        self.state = (u64::from(seed) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    }

    fn random(&mut self, least: u32, most: u32) -> u32 {
        if self.state == 0 {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            self.state = now.map_or(1, |d| d.as_nanos() as u64) | 1;
        }
        // Generates the next number by xorshift64, which is good enough for a configuration.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let span = u64::from(most.saturating_sub(least)) + 1;
        least + ((self.state >> 11) % span) as u32
    }
}

fn executable(file: &std::fs::Metadata, account: Option<&Account>) -> bool {
    let mode = file.mode();
    match account {
        Some(account) if account.uid != 0 => {
            let bit = match (account.uid == file.uid(), account.gid == file.gid()) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            mode & bit != 0
        }
        _ => mode & 0o111 != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_answers_for_itself() {
        let mut machine = LocalMachine::new();
        assert_eq!(machine.interface("lo"), Interface::Loopback);
        assert_eq!(machine.interface("no/such"), Interface::Missing);
        assert_eq!(machine.program("/no/such", None), Program::Missing);
        assert_eq!(machine.program("/", None), Program::Missing);
        assert_eq!(machine.program("true", None), Program::Usable);
        assert_eq!(machine.program("/etc/passwd", None), Program::NotExecutable);
        assert_eq!(machine.account("root", None).map(|a| a.uid), Ok(0));
        assert_eq!(
            machine.account("no-such-user", None).err(),
            Some(NoAccount::User)
        );
        assert_eq!(
            machine.account("root", Some("no-such-group")).err(),
            Some(NoAccount::Group)
        );
        for _ in 0..1000 {
            assert!((3..=7).contains(&machine.random(3, 7)));
        }
        assert_eq!(machine.random(5, 5), 5);
        machine.random(0, u32::MAX);
    }

    #[test]
    fn numbers_of_one_seed_are_always_the_same() {
        let numbers = |seed| {
            let mut machine = LocalMachine::new();
            machine.seed(seed);
            [(); 8].map(|()| machine.random(0, 32767))
        };
        assert_eq!(numbers(5), numbers(5));
        assert_ne!(numbers(5), numbers(6));
        assert_ne!(numbers(0), numbers(1));
    }
}
