//! Tests of the runtime directory: search, removal of dead entries, and refused directories.

use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

/// Returns a path of its own for each call, because the tests of a process run in parallel.
fn directory(name: &str) -> PathBuf {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("evenkeel-{name}-{}-{call}", std::process::id()))
}

/// Enters a supervisor without files and claims.
fn enter_here(directory: &Path) -> Result<(Entry, OwnedFd), DirectoryError> {
    let claims = Claims::default();
    enter_in(directory, SocketOwner::Supervisor, "evenkeel", &[], &claims)
}

#[test]
fn claims_of_others_leave_out_roles_that_the_supervisor_adopts() {
    let claims = |name: &str| Claims {
        resources: [Resource::new(part::role::ResourceKind::Guest, name)].into(),
        ..Claims::default()
    };
    let instance = |pid: u32, socket: &str, file: &str, name: &str| Instance {
        pid,
        program: "evenkeel".to_owned(),
        network: network(),
        paths: vec![file.into()],
        claims: claims(name),
        socket: socket.into(),
        is_elsewhere: false,
    };
    let all = [
        instance(7, "7.sock", "/etc/a.cfg", "own"),
        instance(5, "5.guest-role", "/etc/a.cfg", "adopted"),
        instance(6, "6.guest-role", "/etc/b.cfg", "left of another"),
        instance(8, "8.sock", "/etc/b.cfg", "other"),
    ];
    let others = claims_of_others(&all, 7);
    let names: Vec<String> = others.iter().map(Resource::line).collect();
    assert_eq!(names, ["guest left of another", "guest other"]);
}

#[test]
fn instances_in_other_runtime_directories_are_found() {
    let (own, other) = (directory("own"), directory("other dir"));
    let _own = enter_here(&own).unwrap();
    let entered = enter_here(&other).unwrap();
    // The kernel may leave entries out of one reading of its list, but not out of each.
    let mut readings = 0;
    let sockets = directories_of_lists(|| {
        readings += 1;
        if readings == 1 {
            return String::new();
        }
        std::fs::read_to_string("/proc/net/unix").unwrap()
    });
    let found = |directory: &Path| -> Vec<PathBuf> {
        let found = elsewhere_in(Some(directory), &sockets).into_iter();
        let here = found.filter(|one| one.is_elsewhere && one.pid == std::process::id());
        here.filter_map(|one| Some(one.socket.parent()?.to_owned()))
            .filter(|at| *at == own || *at == other)
            .collect()
    };
    assert_eq!(found(&own), [&*other]);
    assert_eq!(found(&other), [&*own]);
    // Each entry is found exactly once, also if its directory was named through a symbolic link or
    // in another spelling.
    let link = directory("link");
    std::os::unix::fs::symlink(&other, &link).unwrap();
    let line = |path: &Path| {
        let path = path.join(bound_name(1, 2, SocketOwner::Supervisor));
        format!("0: 2 0 10000 5 1    77 {}\n", path.display())
    };
    let sockets = line(&link) + &line(&other) + &line(&other.join(".")) + "x\n0: 1 2 3 4 5 6 @a\n";
    let sockets = runtime_directories(&sockets);
    assert_eq!(elsewhere_in(Some(&own), &sockets).len(), 1);
    assert_eq!(elsewhere_in(Some(&other), &sockets), []);
    // The own directory could not be read, because it was named by a link.
    assert_eq!(elsewhere_in(None, &sockets).len(), 1);
    // Entries are ignored in a directory in which other users may create files.
    for mode in [0o777, 0o1777, 0o775] {
        std::fs::set_permissions(&other, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(elsewhere_in(Some(&own), &sockets), [], "{mode:o}");
    }
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::remove_file(&link).unwrap();
    drop(entered);
    std::fs::remove_dir(&other).unwrap();
}

#[test]
fn socket_name_names_the_process_and_a_relative_directory_is_its_own() {
    let name = bound_name(7, 9, SocketOwner::Role("guest"));
    assert_eq!(bound_pid(Path::new(&name)), Some(7));
    for other in [".7-9.txt", "7-9.sock", ".7.sock", ".x-9.sock", ".7-x.sock"] {
        assert_eq!(bound_pid(Path::new(other)), None, "{other}");
    }
    let line = format!("0000: 00000002 00000000 00010000 0005 01    77 a b/{name}\n");
    let found: Vec<PathBuf> = runtime_directories(&line).into_iter().collect();
    assert_eq!(found, [Path::new("/proc/7/cwd/a b")]);
}

#[test]
fn directory_lock_belongs_to_one_process_until_its_end() {
    let directory = directory("locked");
    assert!(lock(&directory).is_err(), "it is not there");
    std::fs::create_dir_all(&directory).unwrap();
    let held = lock(&directory).unwrap();
    assert!(held.is_some());
    assert!(lock(&directory).unwrap().is_none());
    drop(held);
    assert!(lock(&directory).unwrap().is_some());
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn supervisor_is_found_until_its_end() {
    let directory = directory("found");
    let paths = [PathBuf::from("/etc/a b.cfg")];
    let (entry, fd) = enter_in(
        &directory,
        SocketOwner::Supervisor,
        "evenkeel",
        &paths,
        &Claims::default(),
    )
    .unwrap();
    let found = instances_in(&directory, SocketOwner::Supervisor).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].pid, &found[0].paths[..]),
        (std::process::id(), &paths[..])
    );
    assert_eq!(found[0].role(), Some(std::process::id()));
    let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    drop((entry, fd));
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    std::fs::remove_dir(&directory).unwrap();
}

#[test]
fn claims_of_an_entry_are_read_and_replaced() {
    use part::role::ResourceKind;
    let directory = directory("claims");
    let mut claims = Claims {
        membership: Membership::Node,
        resources: [Resource::new(ResourceKind::Guest, "a\nmember arbiter")].into(),
    };
    let kind = SocketOwner::Supervisor;
    let (entry, fd) = enter_in(&directory, kind, "evenkeel", &[], &claims).unwrap();
    let found = || instances_in(&directory, kind).unwrap().remove(0).claims;
    assert_eq!(found(), claims);
    claims.membership = Membership::None;
    claims.resources = [Resource::new(ResourceKind::Volume, "b c")].into();
    entry.write("evenkeel", &[], &claims).unwrap();
    assert_eq!(found(), claims);
    drop((entry, fd));
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    std::fs::remove_dir(&directory).unwrap();
}

#[test]
fn entry_that_is_a_pipe_is_ignored() {
    let directory = directory("pipe");
    let (entry, fd) = enter_here(&directory).unwrap();
    let listing = listing_of(entry.socket());
    std::fs::remove_file(&listing).unwrap();
    rustix::fs::mknodat(CWD, &listing, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert_eq!(
        instances_in(&directory, SocketOwner::Supervisor).unwrap(),
        []
    );
    drop((entry, fd));
    std::fs::remove_dir(&directory).unwrap();
}

#[test]
fn entries_of_dead_supervisors_are_removed() {
    let directory = directory("stale");
    let (entry, fd) = enter_here(&directory).unwrap();
    std::mem::forget(entry);
    drop(fd);
    assert!(
        instances_in(&directory, SocketOwner::Supervisor)
            .unwrap()
            .is_empty()
    );
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    std::fs::remove_dir(&directory).unwrap();
}

#[test]
fn dead_entries_stay_during_a_registration() {
    let directory = directory("locked");
    let (entry, fd) = enter_here(&directory).unwrap();
    let socket = entry.socket.clone();
    std::mem::forget(entry);
    drop(fd);
    let lock = Lock::take(&directory, FlockOperation::LockExclusive).unwrap();
    assert!(
        instances_in(&directory, SocketOwner::Supervisor)
            .unwrap()
            .is_empty()
    );
    assert!(socket.exists());
    drop(lock);
    instances_in(&directory, SocketOwner::Supervisor).unwrap();
    assert!(!socket.exists());
    std::fs::remove_dir(&directory).unwrap();
}

#[test]
fn a_directory_that_is_a_link_is_not_trusted() {
    let directory = directory("link");
    std::os::unix::fs::symlink("/tmp", &directory).unwrap();
    let error = enter_here(&directory).unwrap_err();
    std::fs::remove_file(&directory).unwrap();
    assert!(matches!(error, DirectoryError::Kind(_)), "{error}");
}

#[test]
fn directory_writable_by_others_is_not_used() {
    let directory = directory("shared");
    std::fs::create_dir(&directory).unwrap();
    let shared = std::fs::Permissions::from_mode(0o1777);
    std::fs::set_permissions(&directory, shared).unwrap();
    let error = enter_here(&directory).unwrap_err();
    let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
    std::fs::remove_dir(&directory).unwrap();
    assert!(matches!(error, DirectoryError::Others(_)), "{error}");
    assert_eq!(mode & 0o7777, 0o1777);
}

#[test]
fn lookup_keeps_the_entry_of_a_starting_supervisor() {
    let directory = directory("begins");
    prepare(&directory).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(order) {
                instances_in(&directory, SocketOwner::Supervisor).unwrap();
            }
        });
        let removed = (0..300).find(|_| {
            let (entry, _fd) = enter_here(&directory).unwrap();
            !entry.socket.exists() || !listing_of(&entry.socket).exists()
        });
        over.store(true, order);
        assert_eq!(removed, None);
    });
    std::fs::remove_dir(&directory).unwrap();
}

#[test]
fn two_supervisors_of_one_process_id_have_two_sockets() {
    let directory = directory("twins");
    let first = enter_here(&directory).unwrap();
    let second = enter_in(
        &directory,
        SocketOwner::Supervisor,
        "haproxy",
        &[],
        &Claims::default(),
    )
    .unwrap();
    assert_eq!(
        instances_in(&directory, SocketOwner::Supervisor)
            .unwrap()
            .len(),
        2
    );
    drop((first, second));
    std::fs::remove_dir(&directory).unwrap();
}

#[test]
fn role_is_found_after_its_supervisor_but_not_connected() {
    let directory = directory("role");
    let paths = [PathBuf::from("/etc/a.cfg")];
    let supervisor = enter_in(
        &directory,
        SocketOwner::Supervisor,
        "evenkeel",
        &paths,
        &Claims::default(),
    )
    .unwrap();
    let role = enter_in(
        &directory,
        SocketOwner::Serving,
        "evenkeel",
        &paths,
        &Claims::default(),
    )
    .unwrap();
    drop(supervisor);
    assert_eq!(
        instances_in(&directory, SocketOwner::Supervisor)
            .unwrap()
            .len(),
        0
    );
    let found = instances_in(&directory, SocketOwner::Serving).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].paths, paths);
    let nobody = rustix::net::accept(&role.1);
    assert_eq!(nobody.unwrap_err(), Errno::AGAIN);
    drop(role);
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    // A search neither lists the stream socket of a volume nor connects to it.
    let socket = directory.join("volume-mail.sock");
    let volume = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    volume.set_nonblocking(true).unwrap();
    assert_eq!(
        instances_in(&directory, SocketOwner::Supervisor)
            .unwrap()
            .len(),
        0
    );
    assert!(volume.accept().is_err(), "a search is no client");
    std::fs::remove_file(&socket).unwrap();
    std::fs::remove_dir(&directory).unwrap();
}
