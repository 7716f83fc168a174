//! Tests that inherited listening sockets are recognized by what the kernel reports about them.

use super::identity::{ListenAddress, SocketIdentity};
use super::{Inherited, Listening, OpenStep, Unrecognized, assign, note_unopened, open, wanted};
use keyword::testing::load_text;
use model::config::{BindAddress, Config};
use rustix::io::Errno;
use rustix::net::sockopt;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("evenkeel-listener-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(lines: &str) -> Config {
    let text = format!("frontend f\n{lines}\n");
    load_text(&text).config.unwrap_or_else(|| panic!("{text}"))
}

fn opened(config: &Config, inherited: &mut Inherited) -> Vec<Listening> {
    let (listening, errors) = open(config, inherited);
    assert!(errors.is_empty(), "{errors:?}");
    listening
}

/// Returns the inherited sockets for the next load.
fn handed_over(listening: &[Listening]) -> Inherited {
    let mut inherited = Inherited::default();
    for one in listening {
        inherited.add(one.fd.try_clone().unwrap()).unwrap();
    }
    inherited
}

fn inodes(listening: &[Listening]) -> Vec<u64> {
    listening.iter().map(|one| one.inode).collect()
}

/// Returns a port that is currently free.
fn port() -> u16 {
    lab::free_port().unwrap()
}

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn every_kind_of_listener_is_recognized() {
    let folder = Folder::new("kinds");
    let (unix, name) = (folder.path("s.sock"), format!("ek-kinds-{}", port()));
    let mut lines = vec![
        format!("bind 127.0.0.1:{}", port()),
        format!("bind 0.0.0.0:{}", port()),
        format!("bind [::1]:{}", port()),
        format!("bind [::]:{}", port()),
        format!("bind [::]:{} v6only", port()),
        format!("bind unix@{unix}"),
        format!("bind abns@{name}"),
    ];
    if root() {
        lines.push(format!("bind 127.0.0.1:{} interface lo", port()));
        lines.push(format!("bind 0.0.0.0:{} transparent", port()));
        lines.push(format!("bind [::]:{} transparent", port()));
    }
    let config = config(&lines.join("\n"));
    let mut first = Inherited::default();
    let before = opened(&config, &mut first);
    first.settle().unwrap();
    let mut inherited = handed_over(&before);
    assert_eq!(inherited.len(), lines.len());
    let after = opened(&config, &mut inherited);
    assert_eq!(inodes(&before), inodes(&after));
    assert!(inherited.is_empty());
    inherited.settle().unwrap();
    assert_eq!(folder.files(), ["s.sock"]);
    UnixStream::connect(unix).unwrap();
}

#[test]
fn different_address_interface_or_family_is_a_new_listener() {
    let port = port();
    let mut pairs = vec![
        (format!("*:{port}"), format!("127.0.0.1:{port}")),
        (format!("[::]:{port}"), format!("[::]:{port} v6only")),
        (format!("[::]:{port}"), format!("0.0.0.0:{port}")),
    ];
    if root() {
        pairs.push((format!("*:{port}"), format!("*:{port} interface lo")));
        pairs.push((format!("*:{port}"), format!("*:{port} transparent")));
    }
    for (one, other) in pairs {
        for (one, other) in [(&one, &other), (&other, &one)] {
            let before = opened(&config(&format!("bind {one}")), &mut Inherited::default());
            let mut inherited = handed_over(&before);
            let after = opened(&config(&format!("bind {other}")), &mut inherited);
            assert_ne!(inodes(&before), inodes(&after), "{one} -> {other}");
            assert_eq!(inherited.unused().len(), 1);
        }
    }
}

#[test]
fn a_socket_without_reuseport_lets_a_listener_beside_it() {
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    let config = config(&format!("bind *:{port}"));
    let (_, errors) = open(&config, &mut Inherited::default());
    assert_eq!(errors[0].step, OpenStep::Bind);
    assert_eq!(errors[0].errno, Errno::ADDRINUSE);
    let mut inherited = Inherited::default();
    inherited.add(plain.into()).unwrap();
    opened(&config, &mut inherited);
}

#[test]
fn noreuseport_lets_no_other_socket_listen_on_the_address() {
    let port = port();
    let line = format!("bind 127.0.0.1:{port}");
    let exclusive = load_text(&format!("global\nnoreuseport\nfrontend f\n{line}\n"));
    let (shared, exclusive) = (config(&line), exclusive.config.unwrap());
    let first = opened(&exclusive, &mut Inherited::default());
    for other in [&shared, &exclusive] {
        let (_, errors) = open(other, &mut Inherited::default());
        assert_eq!(
            (errors[0].step, errors[0].errno),
            (OpenStep::Bind, Errno::ADDRINUSE)
        );
    }
    let mut inherited = handed_over(&first);
    let shares = opened(&shared, &mut inherited);
    inherited.settle().unwrap();
    let beside = opened(&shared, &mut Inherited::default());
    assert_ne!(inodes(&shares), inodes(&beside));
}

#[test]
fn options_of_a_socket_that_stays_become_those_of_the_new_line() {
    let port = port();
    let plain = format!("bind 127.0.0.1:{port}");
    let rich = format!("{plain} defer-accept tfo mss 500 tcp-ut 9s backlog 7\noption clitcpka");
    let tuned = load_text(&format!(
        "global\ntune.rcvbuf.client 30000\ntune.sndbuf.client 40000\nfrontend f\n{rich}\n"
    ));
    let usual = opened(&config(&plain), &mut Inherited::default());
    let options = |listening: &Listening| {
        let fd = &*listening.fd;
        (
            sockopt::socket_keepalive(fd).unwrap(),
            sockopt::tcp_user_timeout(fd).unwrap(),
            super::options::int_option(fd, nix::libc::IPPROTO_TCP, nix::libc::TCP_MAXSEG).unwrap(),
            super::options::int_option(fd, nix::libc::IPPROTO_TCP, nix::libc::TCP_DEFER_ACCEPT)
                .unwrap()
                > 0,
            super::options::int_option(fd, nix::libc::IPPROTO_TCP, nix::libc::TCP_FASTOPEN)
                .unwrap()
                > 0,
            sockopt::socket_recv_buffer_size(fd).unwrap(),
            sockopt::socket_send_buffer_size(fd).unwrap(),
        )
    };
    let before = options(&usual[0]);
    let mut inherited = handed_over(&usual);
    let after = opened(&tuned.config.unwrap(), &mut inherited);
    assert_eq!(options(&after[0]), before, "not yet: others may still fail");
    inherited.settle().unwrap();
    assert_eq!(
        options(&after[0]),
        (true, 9000, 500, true, true, 60_000, 80_000)
    );
    assert_eq!(inodes(&usual), inodes(&after));
    let mut inherited = handed_over(&after);
    let last = opened(&config(&plain), &mut inherited);
    inherited.settle().unwrap();
    assert_eq!(options(&last[0]), before);
}

#[test]
fn two_listeners_of_one_address_take_a_socket_each() {
    let line = format!("bind 127.0.0.1:{}\n", port());
    let two = config(&format!("{line}{line}"));
    let before = opened(&two, &mut Inherited::default());
    assert_ne!(before[0].inode, before[1].inode);
    let mut inherited = handed_over(&before);
    let after = opened(&two, &mut inherited);
    assert_eq!(inodes(&before), inodes(&after));
    let mut inherited = handed_over(&before);
    opened(&config(&line), &mut inherited);
    assert_eq!(inherited.len(), 1);
}

#[test]
fn a_unix_socket_keeps_its_queue_and_gets_the_owner_and_mode_of_its_new_line() {
    let folder = Folder::new("mode");
    let path = folder.path("s.sock");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    let before = opened(
        &config(&format!("bind unix@{path} mode 600")),
        &mut Inherited::default(),
    );
    assert_eq!(mode(), 0o600);
    let _waiting = UnixStream::connect(&path).unwrap();
    let mut inherited = handed_over(&before);
    let after = opened(
        &config(&format!("bind unix@{path} mode 666")),
        &mut inherited,
    );
    assert_eq!(mode(), 0o600);
    inherited.settle().unwrap();
    assert_eq!(mode(), 0o666);
    assert_eq!(inodes(&before), inodes(&after));
    rustix::net::accept(&after[0].fd).unwrap();
    let mut inherited = handed_over(&after);
    opened(&config(&format!("bind unix@{path}")), &mut inherited);
    inherited.settle().unwrap();
    let fresh = UnixListener::bind(folder.path("fresh")).unwrap();
    let usual = std::fs::metadata(folder.path("fresh")).unwrap();
    assert_eq!(mode(), usual.permissions().mode() & 0o7777);
    drop(fresh);
}

#[test]
fn unix_socket_replaced_by_another_is_opened_again() {
    let folder = Folder::new("replaced");
    let path = folder.path("s.sock");
    let config = config(&format!("bind unix@{path}"));
    let before = opened(&config, &mut Inherited::default());
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    let mut inherited = handed_over(&before);
    let after = opened(&config, &mut inherited);
    inherited.settle().unwrap();
    assert_ne!(inodes(&before), inodes(&after));
    let _client = UnixStream::connect(&path).unwrap();
    rustix::net::accept(&after[0].fd).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut inherited = handed_over(&after);
    let last = opened(&config, &mut inherited);
    assert_ne!(inodes(&after), inodes(&last), "its name is gone");
}

#[test]
fn failed_bind_changes_no_name_or_option() {
    let folder = Folder::new("failure");
    let path = folder.path("s.sock");
    let theirs = UnixListener::bind(&path).unwrap();
    let stays = format!("bind 127.0.0.1:{}", port());
    let before = opened(&config(&stays), &mut Inherited::default());
    let mut inherited = handed_over(&before);
    let missing = folder.path("none/s.sock");
    let lines = format!("bind unix@{path}\n{stays} tcp-ut 5s\nbind unix@{missing}");
    let (_, errors) = open(&config(&lines), &mut inherited);
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].bind, errors[0].errno), (2, Errno::NOENT));
    inherited.settle().unwrap();
    drop(inherited);
    assert_eq!(folder.files(), ["s.sock"]);
    let _client = UnixStream::connect(&path).unwrap();
    theirs.accept().unwrap();
    assert_eq!(sockopt::tcp_user_timeout(&*before[0].fd).unwrap(), 0);
}

#[test]
fn earlier_names_are_restored_when_a_later_one_fails() {
    let folder = Folder::new("undo");
    let (path, other) = (folder.path("s.sock"), folder.path("t.sock"));
    let theirs = UnixListener::bind(&path).unwrap();
    let mut inherited = Inherited::default();
    opened(
        &config(&format!("bind unix@{path}\nbind unix@{other}")),
        &mut inherited,
    );
    // A socket's file cannot be renamed to the path of a directory.
    std::fs::create_dir(&other).unwrap();
    let errors = inherited.settle().unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].path.as_deref(), Some(other.as_ref()));
    drop(inherited);
    assert_eq!(folder.files(), ["s.sock", "t.sock"]);
    let _client = UnixStream::connect(&path).unwrap();
    theirs.accept().unwrap();
}

#[test]
fn an_inherited_number_is_found_again_by_its_tag() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let fd: OwnedFd = socket.into();
    let mut config = config("bind fd@3\nbind fd@3");
    for bind in &mut config.proxies[0].binds {
        bind.address = BindAddress::Fd(fd.as_raw_fd());
    }
    let first = opened(&config, &mut Inherited::default());
    assert_eq!(first[0].inode, first[1].inode);
    // In another process the descriptor has another number, or none.
    for bind in &mut config.proxies[0].binds {
        bind.address = BindAddress::Fd(i32::MAX);
    }
    let tags: Vec<_> = super::tags(&config).collect();
    assert_eq!(tags, [Some(i32::MAX); 2]);
    let mut inherited = Inherited::default();
    let fd = first[0].fd.try_clone().unwrap();
    inherited.add_tagged(fd, i32::MAX).unwrap();
    let again = opened(&config, &mut inherited);
    assert_eq!(inodes(&first), inodes(&again));
    let (_, errors) = open(&config, &mut Inherited::default());
    assert_eq!(errors[0].step, OpenStep::Inherit);
}

#[test]
fn a_numbered_socket_gets_the_options_of_its_line_and_one_that_cannot_listen_is_refused() {
    let numbered = |fd: &OwnedFd| {
        let mut config = config("bind fd@3 tcp-ut 7s");
        config.proxies[0].binds[0].address = BindAddress::Fd(fd.as_raw_fd());
        config
    };
    let socket: OwnedFd = TcpListener::bind("127.0.0.1:0").unwrap().into();
    let mut inherited = Inherited::default();
    let listening = opened(&numbered(&socket), &mut inherited);
    inherited.settle().unwrap();
    let fd = &*listening[0].fd;
    assert_eq!(sockopt::tcp_user_timeout(fd).unwrap(), 7000);
    let (pair, _other) = UnixStream::pair().unwrap();
    let (_, errors) = open(&numbered(&pair.into()), &mut Inherited::default());
    assert_eq!(errors[0].step, OpenStep::Listen);
    let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    let (_, errors) = open(&numbered(&file), &mut Inherited::default());
    assert_eq!(errors[0].step, OpenStep::Inherit);
}

#[test]
fn invalid_listener_is_refused_with_the_reason() {
    let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (one, _other) = UnixStream::pair().unwrap();
    let fresh = super::options::create(rustix::net::AddressFamily::INET).unwrap();
    for (fd, why) in [
        (file, Unrecognized::NoSocket(Errno::NOTSOCK)),
        (client.into(), Unrecognized::NotListening),
        (one.into(), Unrecognized::NotListening),
        (fresh, Unrecognized::NotListening),
    ] {
        let mut inherited = Inherited::default();
        assert_eq!(inherited.add(fd), Err(why));
        assert!(inherited.is_empty());
    }
    // A datagram socket can be used as soon as it is bound.
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(Inherited::default().add(datagrams.into()), Ok(()));
}

#[test]
fn temporary_socket_names_map_to_the_client_name() {
    let folder = Folder::new("names");
    for (bound, name) in [
        ("a", "a"),
        ("a.12.tmp", "a"),
        ("a.tmp", "a.tmp"),
        ("a.b.tmp", "a.b.tmp"),
        ("a.1x.tmp", "a.1x.tmp"),
        ("a.5.tmp.66.tmp", "a.5.tmp"),
    ] {
        let fd: OwnedFd = UnixListener::bind(folder.path(bound)).unwrap().into();
        let place = SocketIdentity::of(&fd).unwrap().place;
        assert_eq!(place, ListenAddress::Unix(folder.path(name).into()));
    }
}

#[test]
fn assigned_sockets_follow_the_configured_order() {
    let lines = format!(
        "bind 127.0.0.1:{}\nbind 127.0.0.1:{}\nfrontend g\nbind 127.0.0.1:{}",
        port(),
        port(),
        port()
    );
    let config = config(&lines);
    let before = opened(&config, &mut Inherited::default());
    let order: Vec<_> = before.iter().map(|one| (one.proxy, one.bind)).collect();
    assert_eq!(order, wanted(&config).collect::<Vec<_>>());
    let copies = || before.iter().map(|one| one.fd.try_clone().unwrap());
    let after = assign(&config, copies().collect(), &[]).unwrap();
    assert_eq!(inodes(&before), inodes(&after));
    assert_eq!(after[2].proxy.0, 1);
    assert!(assign(&config, copies().take(2).collect(), &[]).is_err());
    // The second listener of the first frontend is not open.
    let open = [0, 2].map(|n| before[n].fd.try_clone().unwrap());
    let some = assign(&config, open.into(), &[1]).unwrap();
    let order: Vec<_> = some.iter().map(|one| (one.proxy.0, one.bind)).collect();
    assert_eq!(order, [(0, 0), (1, 0)]);
    assert_eq!(inodes(&some), [before[0].inode, before[2].inode]);
    note_unopened(&config, &some);
    let state = |n: usize| config.proxies[n].state.frontend.unopened.load(Relaxed);
    assert_eq!((state(0), state(1)), (1, 0));
    // The listener is opened later, and the state is the same object.
    note_unopened(&config, &before);
    assert_eq!((state(0), state(1)), (0, 0));
}
