//! Tests of what a confined process may and may not do. Confinement applies to a thread, so each
//! test confines a thread or process of its own.

use super::identity::NOBODY;
use super::*;
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

fn bare() -> Confinement {
    Confinement {
        role: ConfinedProcess::Proxy,
        keeps: Vec::new(),
        reads: Vec::new(),
        writes: Vec::new(),
        programs: Vec::new(),
    }
}

/// Calls `inside` on a new thread after its confinement, and returns the result.
fn confined<T: Send + 'static>(
    confinement: Confinement,
    inside: impl FnOnce(RemainingPrivileges) -> T + Send + 'static,
) -> T {
    std::thread::spawn(move || {
        prepare(&confinement).unwrap();
        inside(apply(&confinement).unwrap())
    })
    .join()
    .unwrap()
}

#[test]
fn a_confined_process_serves_and_connects_as_before() {
    let scratch = lab::ScratchDirectory::new().unwrap();
    let (unix, log) = (scratch.path().join("s"), scratch.path().join("l"));
    let servers = (
        UnixListener::bind(&unix).unwrap(),
        UnixDatagram::bind(&log).unwrap(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    confined(bare(), move |_| {
        let server = std::thread::Builder::new()
            .name("thread made later".into())
            .spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.set_nonblocking(true).unwrap();
                stream.set_nonblocking(false).unwrap();
                stream.write_all(&vec![b'x'; 1 << 20]).unwrap();
            })
            .unwrap();
        let mut body = Vec::new();
        let mut client = TcpStream::connect(address).unwrap();
        client.read_to_end(&mut body).unwrap();
        assert_eq!(body.len(), 1 << 20);
        server.join().unwrap();
        UnixStream::connect(&unix).unwrap();
        UnixDatagram::unbound()
            .unwrap()
            .send_to(b"line", &log)
            .unwrap();
        UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .send_to(b"line", address)
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let wait = std::time::Duration::from_millis(5);
        runtime.block_on(async { tokio::time::sleep(wait).await });
    });
    drop(servers);
}

#[test]
fn a_confined_process_reads_no_file_and_writes_none() {
    let scratch = lab::ScratchDirectory::new().unwrap();
    let file = scratch.write("secret", "x").unwrap();
    let new = scratch.path().join("new");
    let held = confined(bare(), move |held| {
        let refused = std::fs::write(&new, "x").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        if matches!(held.files, FileConfinement::Confined { .. }) {
            for path in [file.as_path(), "/etc/passwd".as_ref()] {
                let refused = std::fs::read(path).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
            }
        }
        held
    });
    assert!(held.no_new_privileges);
    assert_eq!(held.system_calls, Filtered::Yes);
}

#[test]
fn a_control_role_writes_to_its_directories_only_and_starts_programs() {
    let scratch = lab::ScratchDirectory::new().unwrap();
    let [state, runtime, other] = ["state", "runtime", "other"].map(|n| scratch.path().join(n));
    for directory in [&state, &runtime, &other] {
        std::fs::create_dir(directory).unwrap();
    }
    let confinement = Confinement::control(&state, Some(&runtime));
    confined(confinement, move |held| {
        assert!(held.no_new_privileges && held.capabilities.is_empty());
        assert_eq!(held.system_calls, Filtered::Yes);
        // Creates, renames and removes files as a log, a socket and a mirror need it.
        let sub = state.join("mirror");
        std::fs::create_dir(&sub).unwrap();
        std::fs::write(sub.join("new"), "x").unwrap();
        std::fs::rename(sub.join("new"), state.join("store")).unwrap();
        std::fs::remove_dir(&sub).unwrap();
        UnixListener::bind(runtime.join("socket")).unwrap();
        std::fs::remove_file(runtime.join("socket")).unwrap();
        let asked = std::process::Command::new("git").arg("--version").output();
        assert!(asked.unwrap().status.success());
        // SAFETY: none of these calls takes a pointer.
        let refused = [
            libc::SYS_unshare,
            libc::SYS_keyctl,
            libc::SYS_io_uring_setup,
        ]
        .map(|call| unsafe { libc::syscall(call, libc::CLONE_NEWUSER, 0, 0) });
        assert_eq!(refused, [-1; 3]);
        if matches!(held.files, FileConfinement::Confined { .. }) {
            let write = std::fs::write(other.join("new"), "x").unwrap_err();
            assert_eq!(write.kind(), ErrorKind::PermissionDenied);
            // The role may not execute files that it wrote.
            std::fs::copy("/bin/true", state.join("true")).unwrap();
            let run = std::process::Command::new(state.join("true")).status();
            assert_eq!(run.unwrap_err().kind(), ErrorKind::PermissionDenied);
        }
    });
}

#[test]
fn permitted_paths_stay_accessible() {
    let scratch = lab::ScratchDirectory::new().unwrap();
    let [reads, writes] = ["reads", "writes"].map(|name| scratch.path().join(name));
    for directory in [&reads, &writes] {
        std::fs::create_dir(directory).unwrap();
    }
    std::fs::write(reads.join("file"), "x").unwrap();
    let confinement = Confinement {
        reads: vec![reads.clone()],
        writes: vec![writes.clone()],
        ..bare()
    };
    confined(confinement, move |held| {
        assert_eq!(std::fs::read(reads.join("file")).unwrap(), b"x");
        std::fs::write(writes.join("core"), "x").unwrap();
        if matches!(held.files, FileConfinement::Confined { .. }) {
            assert!(std::fs::write(reads.join("new"), "x").is_err());
        }
    });
}

#[test]
fn missing_permitted_path_is_reported() {
    let confinement = Confinement {
        reads: vec!["/nonexistent/directory".into()],
        ..bare()
    };
    let error = std::thread::spawn(move || apply(&confinement).unwrap_err())
        .join()
        .unwrap();
    assert!(
        error
            .to_string()
            .starts_with("cannot keep access to /nonexistent/directory"),
        "{error}"
    );
}

#[test]
fn sockets_of_other_kinds_and_new_code_are_refused() {
    confined(bare(), |_| {
        for (family, kind) in [
            (libc::AF_NETLINK, libc::SOCK_RAW),
            (libc::AF_PACKET, libc::SOCK_DGRAM),
            (libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC),
            (libc::AF_VSOCK, libc::SOCK_STREAM),
        ] {
            // SAFETY: no memory is passed.
            let result = unsafe { libc::socket(family, kind, 0) };
            assert_eq!((result, errno()), (-1, libc::EPERM), "{family} {kind}");
        }
        let (read, execute) = (libc::PROT_READ, libc::PROT_READ | libc::PROT_EXEC);
        for (protection, allowed) in [(read, true), (execute, false)] {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: a new mapping, which nobody uses.
            let at = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
            assert_eq!(at != libc::MAP_FAILED, allowed);
        }
        // SAFETY: no memory is passed.
        let result = unsafe { libc::kill(1, 0) };
        assert_eq!((result, errno()), (-1, libc::EPERM));
        // SAFETY: a call that no kernel has.
        let result = unsafe { libc::syscall(100_000) };
        assert_eq!((result, errno()), (-1, libc::ENOSYS));
    });
}

fn errno() -> i32 {
    nix::errno::Errno::last_raw()
}

/// Confines a child process, runs `deed` in it, and returns its exit status.
fn fate(confinement: Confinement, deed: fn()) -> WaitStatus {
    // SAFETY: the child allocates, which the C library allows it also where
    // the parent has other threads, takes no lock of ours, and ends by _exit.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => waitpid(child, None).unwrap(),
        ForkResult::Child => {
            // Prevents a core file of a child that is killed.
            let _ = nix::sys::prctl::set_dumpable(false);
            let code = if apply(&confinement).is_ok() {
                deed();
                0
            } else {
                1
            };
            // SAFETY: ends the process.
            unsafe { libc::_exit(code) }
        }
    }
}

fn execute() {
    let nothing = [std::ptr::null()];
    // SAFETY: a path and two empty lists, all ended as execve wants them.
    unsafe { libc::execve(c"/bin/true".as_ptr(), nothing.as_ptr(), nothing.as_ptr()) };
}

fn new_name_space() {
    // SAFETY: no memory is passed.
    unsafe { libc::unshare(libc::CLONE_NEWUSER) };
}

fn nothing() {}

fn read_files() {
    if std::fs::read("/proc/self/status").is_err() {
        std::process::abort();
    }
}

#[test]
fn forbidden_system_call_kills_the_process() {
    for confinement in [bare(), Confinement::loader()] {
        for deed in [execute, new_name_space] {
            let fate = fate(confinement.clone(), deed);
            let killed = matches!(fate, WaitStatus::Signaled(_, nix::sys::signal::SIGSYS, _));
            assert!(killed, "{fate:?}");
        }
        assert!(matches!(
            fate(confinement, nothing),
            WaitStatus::Exited(_, 0)
        ));
    }
    let loader = fate(Confinement::loader(), read_files);
    assert!(matches!(loader, WaitStatus::Exited(_, 0)), "{loader:?}");
}

#[test]
fn dropped_and_kept_capabilities_are_as_configured() {
    lab::skip_unless_root!();
    for keeps in [CapabilitySet::empty(), CapabilitySet::NET_BIND_SERVICE] {
        let confinement = Confinement {
            keeps: kept(keeps),
            ..bare()
        };
        let held = confined(confinement, move |held| {
            let sets = rustix::thread::capabilities(None).unwrap();
            assert_eq!((sets.permitted, sets.effective), (keeps, keeps));
            assert!(sets.inheritable.is_empty());
            held
        });
        assert_eq!(held.capabilities, keeps);
        assert!(held.shortcomings().is_empty(), "{:?}", held.shortcomings());
    }
}

#[test]
fn a_kept_capability_outlives_the_change_of_the_user() {
    lab::skip_unless_root!();
    let confinement = Confinement {
        keeps: kept(CapabilitySet::NET_BIND_SERVICE),
        ..bare()
    };
    let held = std::thread::spawn(move || {
        prepare(&confinement).unwrap();
        // SAFETY: changes the user of this thread alone, which ends with the test.
        assert_eq!(unsafe { libc::syscall(libc::SYS_setuid, NOBODY) }, 0);
        apply(&confinement).unwrap()
    })
    .join()
    .unwrap();
    assert_eq!(held.capabilities, CapabilitySet::NET_BIND_SERVICE);
}

fn kept(capability: CapabilitySet) -> Vec<RetainedCapability> {
    capability
        .iter()
        .map(|capability| RetainedCapability {
            capability,
            why: capabilities::Why::SourcePort,
            span: language::Span::default(),
        })
        .collect()
}

fn load(lines: &str) -> Config {
    let text = format!(
        "defaults\n    timeout client 1s\n    timeout server 1s\n    timeout connect 1s\nlisten l\n    bind 127.0.0.1:1\n{lines}"
    );
    let files = vec![("own.cfg".to_owned(), text.into_bytes())];
    let loaded = keyword::load::load(
        files,
        language::Environment::empty(),
        language::Facts::new("3.4.0"),
        configuration::LoadOptions::default(),
    );
    loaded.config.expect("a file without mistakes")
}

#[test]
fn a_capability_is_kept_only_for_a_line_that_needs_it() {
    use capabilities::Why;
    let root =
        |config: &Config| identity_for(&config.global, StartedAs::Root, part::voice::Form::Haproxy);
    let nobody =
        |config: &Config| identity_for(&config.global, StartedAs::Root, part::voice::Form::Own);
    let cases: [(&str, &[Why], &[Why]); 5] = [
        ("    server s 127.0.0.1:80\n", &[], &[]),
        (
            "    server s 127.0.0.1:80 source 127.0.0.1:80\n    server t 127.0.0.1:80 source 127.0.0.1:81\n",
            &[Why::SourcePort],
            &[Why::SourcePort],
        ),
        (
            "    server s 127.0.0.1:80 source 127.0.0.1:8080\n",
            &[],
            &[],
        ),
        ("    server s /run/app.sock\n", &[Why::UnixSocket], &[]),
        ("    log /dev/log local0\n", &[Why::UnixSocket], &[]),
    ];
    for (lines, as_root, as_nobody) in cases {
        let config = load(lines);
        for (identity, expected) in [(root(&config), as_root), (nobody(&config), as_nobody)] {
            let confinement = Confinement::proxy(&config, &identity);
            let found: Vec<Why> = confinement.keeps.iter().map(|kept| kept.why).collect();
            assert_eq!(found, expected, "{lines}");
        }
    }
}

#[test]
fn reload_works_in_a_confined_process() {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::os::fd::AsFd;
    confined(bare(), |_| {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let bundle = memfd_create("bundle", flags).unwrap();
        ftruncate(&bundle, 4096).unwrap();
        fcntl_add_seals(&bundle, SealFlags::WRITE).unwrap();
        let (near, far) = UnixDatagram::pair().unwrap();
        let descriptors = [bundle.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut passed = SendAncillaryBuffer::new(&mut space);
        assert!(passed.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let data = [std::io::IoSlice::new(b"x")];
        sendmsg(&near, &data, &mut passed, SendFlags::empty()).unwrap();
        assert_eq!(far.recv(&mut [0; 8]).unwrap(), 1);
        let slow = std::thread::spawn(|| {
            rustix::process::setpriority_process(None, 19).unwrap();
            let all = rustix::thread::sched_getaffinity(None).unwrap();
            rustix::thread::sched_setaffinity(None, &all).unwrap();
        });
        slow.join().unwrap();
    });
}

/// Environment variable for the test process that panics.
const PANICS: &str = "EVENKEEL_TEST_PANICS";

#[test]
fn panic_is_reported_without_access_to_the_binary() {
    if std::env::var_os(PANICS).is_some() {
        return confined(bare(), |_| panic!("told from inside"));
    }
    let name = format!(
        "{}::panic_is_reported_without_access_to_the_binary",
        module_path!().trim_start_matches("confinement::")
    );
    // Runs the panic in a process of its own, whose message the harness does not catch.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(PANICS, "1")
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("told from inside"), "{said}");
}

#[test]
fn missing_landlock_and_seccomp_are_reported_only() {
    use seccompiler::{SeccompAction, SeccompFilter, TargetArch};
    let lacks = |call: libc::c_long, errno: i32| {
        let rules = [(call, Vec::new())].into_iter().collect();
        let processor = TargetArch::try_from(std::env::consts::ARCH).unwrap();
        let action = SeccompAction::Errno(errno as u32);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, processor).unwrap();
        let program: seccompiler::BpfProgram = filter.try_into().unwrap();
        seccompiler::apply_filter(&program).unwrap();
    };
    let held = std::thread::spawn(move || {
        lacks(libc::SYS_landlock_create_ruleset, libc::ENOSYS);
        lacks(libc::SYS_seccomp, libc::EINVAL);
        apply(&bare()).unwrap()
    });
    let held = held.join().unwrap();
    assert_eq!(
        (held.files, held.system_calls),
        (FileConfinement::NotBuilt, Filtered::NotBuilt)
    );
    assert_eq!(held.shortcomings().len(), 2, "{:?}", held.shortcomings());
    let held = std::thread::spawn(move || {
        lacks(libc::SYS_landlock_create_ruleset, libc::EOPNOTSUPP);
        apply(&bare()).unwrap()
    });
    assert_eq!(held.join().unwrap().files, FileConfinement::NotEnabled);
}
