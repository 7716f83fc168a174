//! Finds the sessions of xrdp on this machine, in `/proc`. Each session has a display server (Xvnc
//! or Xorg) that a process of `xrdp-sesman` started for its user. A session is active while a
//! process of xrdp has a connection to its display or its channels.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Session managers of xrdp 0.9 and of 0.10.
const MANAGERS: [&str; 2] = ["xrdp-sesman", "xrdp-sesexec"];
/// Name prefixes of the sockets to which xrdp connects. The display number follows.
const SOCKETS: [&str; 2] = ["xrdp_chansrv_socket_", "xrdp_display_"];
const VNC: u32 = 5_900;
/// State of a connected socket in `/proc/net/unix`.
const UNIX_CONNECTED: &str = "03";
/// State of an established connection in `/proc/net/tcp`.
const TCP_ESTABLISHED: &str = "01";
/// Limit of the processes that are examined.
const PROCESSES_MAX: usize = 200_000;
/// Limit of the sessions that are found.
const SESSIONS_MAX: usize = 4_096;
/// Limit of a file of a process, bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Limit of a table of sockets in `/proc/net`, bytes.
const TABLE_BYTES_MAX: u64 = 16 << 20;

/// Function that returns the name of a user by the user ID.
pub type NameOf = fn(u32) -> Option<String>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Display number, and start time of the display server; together unique.
    pub key: (u32, u64),
    pub name: String,
    pub owner: (u32, u32),
    pub is_active: bool,
    /// X authority file with which a program of the user may access the display.
    pub authority: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SessionSearch {
    pub is_served: bool,
    pub sessions: Vec<Session>,
    /// Number of sessions whose display or user is not known. With such sessions, a report of the
    /// others is incomplete.
    pub unknown: usize,
    /// True if the processes of the machine cannot be listed, so that no session is known.
    pub is_blind: bool,
}

struct ProcessStat {
    parent: u32,
    command: String,
    began: u64,
}

/// Finds the sessions; `proc` is the path of `/proc`.
pub fn find_sessions(proc: &Path, name_of: NameOf) -> SessionSearch {
    let processes = processes(proc);
    let is_manager = |pid: &u32| {
        let process = processes.get(pid);
        process.is_some_and(|one| MANAGERS.contains(&one.command.as_str()))
            && owner(proc, *pid).is_some_and(|(uid, _)| uid == 0)
    };
    let managers: BTreeSet<u32> = processes.keys().copied().filter(is_manager).collect();
    let servers = processes
        .iter()
        .filter(|(_, one)| one.command.starts_with('X') && managers.contains(&one.parent));
    let mut claims: BTreeMap<u32, Vec<DisplayServerClaim>> = BTreeMap::new();
    let mut unknown = 0;
    for (at, (pid, process)) in servers.enumerate() {
        match claim(proc, *pid, process.began) {
            Some(claim) if at < SESSIONS_MAX => {
                claims.entry(claim.display).or_default().push(claim);
            }
            Some(_) => unknown += 1,
            // Ignores a process without a display, and one that has ended.
            None => {}
        }
    }
    let mut sessions = BTreeMap::new();
    for (display, claims) in claims {
        // Reads the owner in the view of a session manager, because a process in its own mount
        // namespace could show a forged socket.
        let mut views = managers
            .iter()
            .map(u32::to_string)
            .chain(["self".to_owned()]);
        let socket = views.find_map(|view| socket_owner(proc, &view, display));
        let session = owned(claims, socket).and_then(|claim| claim.session(name_of));
        match session {
            Some(session) => drop(sessions.insert(display, session)),
            None => unknown += 1,
        }
    }
    let connected = if sessions.is_empty() {
        BTreeSet::new()
    } else {
        connected(proc, &sessions)
    };
    for (display, session) in &mut sessions {
        session.is_active = connected.contains(display);
    }
    SessionSearch {
        is_served: !managers.is_empty(),
        sessions: sessions.into_values().collect(),
        unknown,
        is_blind: processes.is_empty() || processes.len() >= PROCESSES_MAX,
    }
}

/// Path and name prefix of the sockets of display servers.
const X_SOCKETS: &str = "tmp/.X11-unix/X";

/// Returns the owner of a display's socket, as the process `pid` sees the file. None if there is no
/// socket, or if access is denied.
fn socket_owner(proc: &Path, pid: &str, display: u32) -> Option<u32> {
    let root = proc.join(pid).join("root");
    let socket = fs::symlink_metadata(root.join(format!("{X_SOCKETS}{display}"))).ok()?;
    Some(socket.uid())
}

/// Returns the process to which a display belongs: the one whose user owns the display's socket.
/// The session manager also starts programs of users, and such a program can claim the display of
/// another user. Returns None if the owner is not known.
fn owned(claims: Vec<DisplayServerClaim>, socket: Option<u32>) -> Option<DisplayServerClaim> {
    let first = claims.first()?.owner.0;
    let owner = match socket {
        Some(owner) => owner,
        None if claims.iter().all(|claim| claim.owner.0 == first) => first,
        None => return None,
    };
    let own = claims.into_iter().filter(|claim| claim.owner.0 == owner);
    own.min_by_key(|claim| claim.began)
}

fn processes(proc: &Path) -> BTreeMap<u32, ProcessStat> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let all = pids.take(PROCESSES_MAX).filter_map(|pid| {
        let text = read(&of(proc, pid, "stat"), FILE_BYTES_MAX)?;
        // Splits at the last parenthesis, because a name may contain spaces and parentheses.
        let (before, behind) = text.rsplit_once(')')?;
        let (_, command) = before.split_once('(')?;
        let mut words = behind.split_whitespace().skip(1);
        let process = ProcessStat {
            parent: words.next()?.parse().ok()?,
            command: command.to_owned(),
            began: words.nth(17)?.parse().ok()?,
        };
        Some((pid, process))
    });
    all.collect()
}

/// A process that claims to be the server of a display.
struct DisplayServerClaim {
    display: u32,
    began: u64,
    owner: (u32, u32),
    authority: Option<PathBuf>,
}

impl DisplayServerClaim {
    /// Returns the session. None if the user has no name, or if the session cannot be determined
    /// now.
    fn session(self, name_of: NameOf) -> Option<Session> {
        Some(Session {
            key: (self.display, self.began),
            name: name_of(self.owner.0)?,
            owner: self.owner,
            is_active: false,
            authority: self.authority,
        })
    }
}

fn claim(proc: &Path, pid: u32, began: u64) -> Option<DisplayServerClaim> {
    let line = read(&of(proc, pid, "cmdline"), FILE_BYTES_MAX)?;
    let words: Vec<&str> = line.split('\0').collect();
    let display = words
        .iter()
        .find_map(|word| word.strip_prefix(':')?.parse::<u32>().ok())?;
    let owner = owner(proc, pid)?;
    let authority = words.windows(2).find_map(|pair| match pair {
        ["-auth", file] => Some(PathBuf::from(file)),
        _ => None,
    });
    // Uses an empty path if the directory cannot be read: only root can read that of another user's
    // process.
    let at = fs::read_link(of(proc, pid, "cwd")).unwrap_or_default();
    Some(DisplayServerClaim {
        display,
        began,
        owner,
        authority: authority.map(|file| at.join(file)),
    })
}

fn owner(proc: &Path, pid: u32) -> Option<(u32, u32)> {
    let text = read(&of(proc, pid, "status"), FILE_BYTES_MAX)?;
    let number = |name: &str| -> Option<u32> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some((number("Uid:")?, number("Gid:")?))
}

fn connected(proc: &Path, sessions: &BTreeMap<u32, Session>) -> BTreeSet<u32> {
    let table = |name: &str| read(&proc.join("net").join(name), TABLE_BYTES_MAX);
    let mut displays = BTreeSet::new();
    for line in table("unix").unwrap_or_default().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, _, _, _, UNIX_CONNECTED, _, path] = words[..] {
            let file = path.rsplit('/').next().unwrap_or_default();
            let number = SOCKETS.iter().find_map(|socket| file.strip_prefix(socket));
            displays.extend(number.and_then(|number| number.parse::<u32>().ok()));
        }
    }
    for line in ["tcp", "tcp6"].map(|name| table(name).unwrap_or_default()) {
        for line in line.lines() {
            let mut words = line.split_whitespace().skip(1);
            let (own, state) = (words.next(), words.nth(1));
            let port = own.and_then(|own| u32::from_str_radix(own.rsplit(':').next()?, 16).ok());
            if state == Some(TCP_ESTABLISHED) {
                displays.extend(port.and_then(|port| port.checked_sub(VNC)));
            }
        }
    }
    displays.retain(|display| sessions.contains_key(display));
    displays
}

fn of(proc: &Path, pid: u32, name: &str) -> PathBuf {
    proc.join(pid.to_string()).join(name)
}

/// Reads a file of `/proc` up to the limit. Returns None if the file cannot be read, for example
/// because its process has ended.
fn read(path: &Path, bytes_max: u64) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(bytes_max).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;
    use std::os::unix::fs::symlink;

    fn names(uid: u32) -> Option<String> {
        match uid {
            2_001 => Some("anna".to_owned()),
            2_002 => Some("bert".to_owned()),
            _ => None,
        }
    }

    /// Adds a process as a machine with xrdp 0.9.21 shows it.
    fn process(proc: &Path, pid: u32, parent: u32, command: &str, uid: u32, line: &str) {
        let at = proc.join(pid.to_string());
        fs::create_dir_all(&at).unwrap();
        let stat = format!("{pid} ({command}) S {parent} 60 58 0 -1 4194304 {} 7\n", {
            "1 ".repeat(8) + "20 0 3 0 " + &(pid * 100).to_string()
        });
        fs::write(at.join("stat"), stat).unwrap();
        let status = format!("Name:\t{command}\nUid:\t{uid}\t{uid}\t{uid}\nGid:\t{uid}\t{uid}\n");
        fs::write(at.join("status"), status).unwrap();
        fs::write(at.join("cmdline"), line.replace(' ', "\0")).unwrap();
        symlink(format!("/srv/{uid}"), at.join("cwd")).unwrap();
    }

    fn machine() -> ScratchDirectory {
        let scratch = ScratchDirectory::new().unwrap();
        let proc = scratch.path();
        process(proc, 33, 1, "xrdp-sesman", 0, "xrdp-sesman --nodaemon");
        for (pid, display, uid) in [(60, 695, 2_001), (70, 10, 2_002), (80, 11, 2_002)] {
            process(
                proc,
                pid - 2,
                33,
                "xrdp-sesman",
                0,
                "xrdp-sesman --nodaemon",
            );
            let line = format!("Xvnc :{display} -auth .Xauthority -geometry 800x600");
            process(proc, pid, pid - 2, "Xvnc", uid, &line);
            process(proc, pid + 1, pid - 2, "xrdp-chansrv", uid, "xrdp-chansrv");
        }
        // Processes that do not belong to xrdp: with another parent, a user's own program of that
        // name, and with an unknown user.
        process(proc, 90, 1, "Xorg", 2_001, "Xorg :0");
        process(proc, 91, 1, "xrdp-sesman", 2_001, "xrdp-sesman");
        process(proc, 92, 91, "Xvnc", 2_001, "Xvnc :77");
        process(proc, 94, 33, "Xvnc (a) :1", 2_001, "Xvnc");
        fs::create_dir(proc.join("net")).unwrap();
        let unix = "Num RefCount Protocol Flags Type St Inode Path\n\
            0: 00000002 00000000 00010000 0001 01 3563 /run/xrdp/sockdir/xrdp_chansrv_socket_11\n\
            0: 00000003 00000000 00000000 0001 03 3564 /run/xrdp/sockdir/xrdp_chansrv_socket_695\n\
            0: 00000003 00000000 00000000 0001 03 3565 /run/xrdp/sockdir/xrdp_chansrv_audio_out_socket_11\n\
            0: 00000003 00000000 00000000 0001 03 3566\n";
        fs::write(proc.join("net/unix"), unix).unwrap();
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            \x20  1: 0100007F:1717 00000000:0000 0A 00000000:00000000\n\
            \x20  2: 0100007F:1716 0100007F:8922 01 00000000:00000000\n\
            \x20  3: 0100007F:1717 0100007F:8923 06 00000000:00000000\n";
        fs::write(proc.join("net/tcp"), tcp).unwrap();
        scratch
    }

    #[test]
    fn sessions_of_xrdp_are_found_with_their_users_and_whether_somebody_is_connected() {
        let machine = machine();
        let found = find_sessions(machine.path(), names);
        assert!(found.is_served);
        let shown: Vec<_> = found
            .sessions
            .iter()
            .map(|one| (one.key.0, one.name.as_str(), one.is_active))
            .collect();
        // The first session is active by the socket of its channels, the second by the VNC port,
        // and the third is not active.
        let expected = [(10, "bert", true), (11, "bert", false), (695, "anna", true)];
        assert_eq!(shown, expected);
        let anna = &found.sessions[2];
        assert_eq!((anna.owner, anna.key.1), ((2_001, 2_001), 6_000));
        assert_eq!(
            anna.authority.as_deref(),
            Some(Path::new("/srv/2001/.Xauthority"))
        );
    }

    #[test]
    fn session_without_a_known_user_makes_the_report_partial() {
        let machine = machine();
        process(machine.path(), 93, 33, "Xvnc", 2_003, "Xvnc :78");
        // A process that is no display server does not count.
        process(machine.path(), 95, 33, "Xsession", 2_001, "Xsession");
        let found = find_sessions(machine.path(), names);
        assert_eq!((found.sessions.len(), found.unknown), (3, 1));
        assert!(!found.is_blind);
    }

    #[test]
    fn display_belongs_to_the_owner_of_its_socket() {
        let machine = machine();
        let proc = machine.path();
        // Anna has the session manager start a program that claims to be the server of Bert's
        // display.
        process(proc, 96, 33, "Xfake", 2_001, "Xfake :10");
        let of_display = |number: u32| {
            let found = find_sessions(proc, names);
            let session = found.sessions.into_iter().find(|one| one.key.0 == number);
            (session.map(|one| one.name), found.unknown)
        };
        // Without a socket the owner is not known.
        assert_eq!(of_display(10), (None, 1));
        let me = fs::metadata(proc).unwrap().uid();
        let root = proc.join("root-of-the-manager");
        fs::create_dir_all(root.join("tmp/.X11-unix")).unwrap();
        symlink(&root, proc.join("33/root")).unwrap();
        fs::write(root.join("tmp/.X11-unix/X10"), "").unwrap();
        let claims = |uids: &[u32]| -> Vec<DisplayServerClaim> {
            let claim = |(at, uid): (usize, &u32)| DisplayServerClaim {
                display: 10,
                began: at as u64,
                owner: (*uid, *uid),
                authority: None,
            };
            uids.iter().enumerate().map(claim).collect()
        };
        assert_eq!(socket_owner(proc, "33", 10), Some(me));
        assert_eq!(socket_owner(proc, "33", 11), None);
        let owner =
            |uids, socket| owned(claims(uids), socket).map(|claim| (claim.owner.0, claim.began));
        assert_eq!(owner(&[2_001, 2_002], Some(2_002)), Some((2_002, 1)));
        assert_eq!(owner(&[2_001, 2_002], Some(2_001)), Some((2_001, 0)));
        assert_eq!(owner(&[2_001], Some(2_002)), None);
        assert_eq!(owner(&[2_001, 2_001], None), Some((2_001, 0)));
        assert_eq!(owner(&[2_001, 2_002], None), None);
        // A socket that belongs to another user hides the session, and does not assign it to
        // anybody.
        assert_eq!(of_display(10), (None, 1));
    }

    #[test]
    fn without_a_session_manager_nothing_is_served() {
        let scratch = ScratchDirectory::new().unwrap();
        let blind = SessionSearch {
            is_blind: true,
            ..SessionSearch::default()
        };
        assert_eq!(find_sessions(scratch.path(), names), blind);
        assert_eq!(find_sessions(&scratch.path().join("none"), names), blind);
        fs::create_dir(scratch.path().join("7")).unwrap();
        fs::write(scratch.path().join("7/stat"), "7 (xrdp").unwrap();
        assert_eq!(find_sessions(scratch.path(), names), blind);
        process(scratch.path(), 8, 1, "init", 0, "init");
        assert_eq!(
            find_sessions(scratch.path(), names),
            SessionSearch::default()
        );
    }
}
