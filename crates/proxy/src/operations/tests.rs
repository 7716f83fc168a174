//! Tests complete dialogues on a statistics socket.

use super::command::Context;
use super::connection::{self, COMMANDS_MAX, LINE_MAX};
use super::serving::{SocketListing, SocketsState};
use super::socket::Rights;
use super::{open, start};
use crate::listener::Inherited;
use crate::runtime::Runtime;
use keyword::testing::load_text;
use model::config::{Config, StatsLevel};
use model::state;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const FILE: &str = "\
global
 node here
 stats timeout 2s
frontend www
 mode http
 bind 127.0.0.1:8080
 maxconn 100
 default_backend app
backend app
 mode http
 server s1 127.0.0.1:80 check weight 10
 server s2 127.0.0.1:81 disabled
 server s3 unix@/run/s3.sock
";

pub(super) fn context(text: &str) -> Context {
    context_of(load_text(text).config.expect("the file is good"))
}

fn context_of(mut config: Config) -> Context {
    model::control::install(&mut config, None, state::now_ms());
    Context {
        runtime: Runtime::leak(Arc::new(config), 2, 5000),
        shared: SocketsState::new(vec![SocketListing {
            text: "unix@/run/a.sock".into(),
            rights: StatsLevel::Admin.into(),
        }]),
    }
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

pub(super) async fn talk(context: &Context, level: StatsLevel, input: &[u8]) -> String {
    talk_with(context, level, input).await
}

pub(super) async fn talk_with(
    context: &Context,
    rights: impl Into<Rights> + Send + 'static,
    input: &[u8],
) -> String {
    let (mut peer, ours) = UnixStream::pair().unwrap();
    let context = context.clone();
    let served = tokio::spawn(async move {
        let _ = connection::serve(ours, rights, &context).await;
    });
    peer.write_all(input).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is closed with input unread ends in a reset.
    let _ = peer.read_to_end(&mut answer).await;
    served.await.unwrap();
    String::from_utf8(answer).unwrap()
}

pub(super) fn ask(context: &Context, level: StatsLevel, command: &str) -> String {
    block_on(talk(context, level, format!("{command}\n").as_bytes()))
}

const SET_SERVER_USAGE: &str = "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port | agent-send | check-addr | check-port | fqdn | health | ssl | state | weight\n\n";

/// Consecutive commands on one state, and their responses.
const COMMANDS: &[(&str, &str)] = &[
    (
        "show version;show cli level",
        concat!(
            "3.4.0-evenkeel-",
            env!("CARGO_PKG_VERSION"),
            "\n\nadmin\n\n"
        ),
    ),
    ("show backend", "# name\napp\n\n"),
    (
        "show cli sockets",
        "# socket lvl processes\nunix@/run/a.sock admin all\n\n",
    ),
    ("get weight app/s1", "10 (initial 10)\n\n"),
    ("get weight app/nope", "No such server.\n\n"),
    ("get weight nope/s1", "No such backend.\n\n"),
    ("get weight app", "Require 'backend/server'.\n\n"),
    (
        "set weight app/s1 50%;get weight app/s1",
        "\n5 (initial 10)\n\n",
    ),
    (
        "set weight app/s1 257",
        "Absolute weight can only be between 0 and 256 inclusive.\n\n",
    ),
    (
        "set weight app/s1 99999999999999999999%",
        "Invalid weight '99999999999999999999%': a number or a percentage is expected.\n\n",
    ),
    (
        "set weight app/s1 1000000%;get weight app/s1",
        "\n256 (initial 10)\n\n",
    ),
    (
        "set weight app/s1 -1",
        "Invalid weight '-1': a number or a percentage is expected.\n\n",
    ),
    ("set weight app/s1", "Require <weight> or <weight%>.\n\n"),
    ("set server app/s1", SET_SERVER_USAGE),
    ("set server app/s1 foo", SET_SERVER_USAGE),
    (
        "set server app/s1 ssl",
        "'set server <srv> ssl' expects 'on' or 'off'.\n\n",
    ),
    (
        "set server app/s1 ssl on",
        "'set server <srv> ssl' cannot be set.  default-server should define ssl settings\n\n",
    ),
    (
        "set server app/s1 state foo",
        "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n",
    ),
    (
        "set server app/s1 health",
        "'set server <srv> health' expects 'up', 'stopping', or 'down'.\n\n",
    ),
    (
        "set server app/s1 agent up",
        "agent checks are not enabled on this server.\n\n",
    ),
    (
        "set server app/s1 addr",
        "set server <b>/<s> addr requires an address and optionally a port.\n\n",
    ),
    (
        "set server app/s1 addr x",
        "Invalid addr 'x' by 'stats socket command'\n\n",
    ),
    (
        "set server app/s1 addr 127.0.0.1 port 0",
        "Invalid port '0' by 'stats socket command'\n\n",
    ),
    (
        "set server app/s1 addr 127.0.0.2",
        "IP changed from '127.0.0.1' to '127.0.0.2' by 'stats socket command'\n\n",
    ),
    (
        "set server app/s1 addr 127.0.0.1 port 99",
        "IP changed from '127.0.0.2' to '127.0.0.1', port changed from '80' to '99' by 'stats socket command'\n\n",
    ),
    (
        "set server app/s1 addr 127.0.0.1 port 99",
        "no need to change the addr, no need to change the port by 'stats socket command'\n\n",
    ),
    (
        "set server app/s3 addr 127.0.0.1",
        "The address can only be changed for a server that has an address and a port.\n\n",
    ),
    (
        "disable frontend www;disable frontend www",
        "\nAll sockets are already disabled.\n\n",
    ),
    (
        "enable frontend www;enable frontend www",
        "\nAll sockets are already enabled.\n\n",
    ),
    ("disable frontend nope", "No such frontend.\n\n"),
    ("set maxconn frontend www", "Integer value expected.\n\n"),
    ("set maxconn frontend www 0", "Value out of range.\n\n"),
    ("set maxconn global 5001", "Value out of range.\n\n"),
    ("set maxconn global", "Expects an integer value.\n\n"),
    ("set maxconn server app/s1", "Require <maxconn>.\n\n"),
    ("set timeout cli", "Expects an integer value.\n\n"),
    ("set timeout cli 5m", "\n"),
    ("set timeout cli xx", "Invalid timeout value.\n\n"),
    ("set timeout foo", "'set timeout' only supports 'cli'.\n\n"),
    ("show servers state nope", "Can't find backend.\n\n"),
    ("show stat nope 1 1", "No such proxy.\n\n"),
    ("show stat domain dns", "Invalid statistics domain.\n\n"),
    ("show env NOT_THERE_AT_ALL", "Variable not found\n\n"),
    (
        "debug dev log hello",
        "This command is restricted to expert mode only.\n\n",
    ),
    // No listener has `expose-fd`, so no socket is sent.
    ("_getsocks", ""),
    ("clear counters;clear counters all", "\n\n"),
];

#[test]
fn commands_respond_as_in_haproxy() {
    let context = context(FILE);
    for (command, answer) in COMMANDS {
        assert_eq!(
            ask(&context, StatsLevel::Admin, command),
            *answer,
            "{command}"
        );
    }
}

#[test]
fn changes_have_their_effect() {
    let context = context(FILE);
    let status = |name: &str| {
        let stat = ask(&context, StatsLevel::Admin, "show stat app 4 -1");
        let line = stat
            .lines()
            .find(|line| line.starts_with(&format!("app,{name},")));
        line.and_then(|line| line.split(',').nth(17))
            .unwrap_or_default()
            .to_owned()
    };
    for (command, name, after) in [
        ("show version", "s2", "MAINT"),
        ("enable server app/s2", "s2", "no check"),
        ("disable server app/s2", "s2", "MAINT"),
        ("set server app/s2 state drain", "s2", "DRAIN"),
        ("set server app/s2 state ready", "s2", "no check"),
        ("set server app/s1 health down", "s1", "DOWN"),
        ("set server app/s1 health stopping", "s1", "NOLB"),
        ("set server app/s1 health up", "s1", "UP"),
        ("set server app/#1 state maint", "s1", "MAINT"),
    ] {
        ask(&context, StatsLevel::Admin, command);
        assert_eq!(status(name), after, "{command}");
    }
    ask(
        &context,
        StatsLevel::Admin,
        "set maxconn global 7;set maxconn frontend www 3;set maxconn server app/s1 9",
    );
    let info = ask(&context, StatsLevel::User, "show info");
    assert!(
        info.contains("Maxconn: 7\n") && info.contains("node: here\n"),
        "{info}"
    );
    let stat = ask(&context, StatsLevel::User, "show stat");
    let column = |row: &str, at: usize| {
        stat.lines()
            .find(|l| l.starts_with(row))
            .and_then(|l| l.split(',').nth(at))
            .map(str::to_owned)
    };
    assert_eq!(column("www,FRONTEND,", 6).as_deref(), Some("3"));
    assert_eq!(column("app,s1,", 6).as_deref(), Some("9"));
    // Addresses are shown from the level operator upwards.
    assert_eq!(column("app,s1,", 73).as_deref(), Some(""));
}

#[test]
fn commands_above_the_level_are_denied() {
    let context = context(FILE);
    for (level, command, denied) in [
        (StatsLevel::User, "show info", false),
        (StatsLevel::User, "show stat", false),
        (StatsLevel::User, "show env", true),
        (StatsLevel::User, "clear counters", true),
        (StatsLevel::User, "set weight app/s1 4", true),
        (StatsLevel::Operator, "show env HOME", false),
        (StatsLevel::Operator, "clear counters", false),
        (StatsLevel::Operator, "clear counters all", true),
        (StatsLevel::Operator, "disable server app/s1", true),
        (StatsLevel::Operator, "set server app/s1 state maint", true),
        (StatsLevel::Admin, "operator;disable server app/s1", true),
        (StatsLevel::Admin, "user;operator;clear counters", true),
    ] {
        let answer = ask(&context, level, command);
        assert_eq!(
            answer.contains("Permission denied\n"),
            denied,
            "{level:?} {command}: {answer}"
        );
    }
    let server = &context.runtime.config().proxies[1].servers[0];
    assert!(server.state.usable());
}

#[test]
fn a_prompt_keeps_the_connection_until_quit() {
    let context = context(FILE);
    let input = b"prompt\nshow cli level\n\nuser;show cli level\nquit\nshow version\n";
    let answer = block_on(talk(&context, StatsLevel::Admin, input));
    let (first, rest) = answer.split_at("\n> admin\n\n> ".len());
    assert_eq!(first, "\n> admin\n\n> ");
    assert!(rest.starts_with("Unknown command."), "{rest}");
    assert!(rest.ends_with("> \n> user\n\n> "), "{rest}");
    // Without `prompt`, one line ends the connection.
    let answer = block_on(talk(
        &context,
        StatsLevel::Admin,
        b"show cli level\nshow cli level\n",
    ));
    assert_eq!(answer, "admin\n\n");
    let answer = block_on(talk(
        &context,
        StatsLevel::Admin,
        b"prompt;prompt\nshow cli level\n",
    ));
    assert_eq!(answer, "\n> \n");
}

#[test]
fn unknown_command_lists_similar_ones() {
    let context = context(FILE);
    let answer = ask(&context, StatsLevel::Admin, "show foo");
    assert!(answer.starts_with(
        "Unknown command, but maybe one of the following ones is a better match:\n  show acl"
    ));
    assert!(!answer.contains("set weight"));
    let answer = ask(&context, StatsLevel::Admin, "shwo info");
    assert!(answer.contains("  show info"), "{answer}");
    let answer = ask(&context, StatsLevel::Admin, "xyzzy");
    assert!(
        answer.starts_with("Unknown command. Please enter one of the following commands only:\n")
    );
    let help = ask(&context, StatsLevel::User, "help set");
    assert!(
        help.contains("set timeout cli") && !help.contains("set weight"),
        "{help}"
    );
}

#[test]
fn long_lines_and_many_commands_are_refused() {
    let context = context(FILE);
    let long = vec![b'x'; LINE_MAX + 10];
    let answer = block_on(talk(&context, StatsLevel::Admin, &long));
    assert!(
        answer.is_empty() || answer.starts_with("The line is longer than"),
        "{answer}"
    );
    let many = "a;".repeat(COMMANDS_MAX + 1) + "\n";
    let answer = block_on(talk(&context, StatsLevel::Admin, many.as_bytes()));
    assert!(
        answer.is_empty() || answer.starts_with("The line has more than"),
        "{answer}"
    );
    let answer = block_on(talk(&context, StatsLevel::Admin, b"\xff\xfe\0\r\n"));
    assert!(answer.starts_with("Unknown command."));
}

#[test]
fn a_silent_or_slow_peer_is_left() {
    let file: String = (0..3000)
        .map(|n| format!(" server s{n} 127.0.0.1:80\n"))
        .collect();
    let context = context(&format!(
        "global\n stats timeout 100ms\nlisten l\n bind 127.0.0.1:1\n{file}"
    ));
    block_on(async {
        let (_peer, ours) = UnixStream::pair().unwrap();
        let served = connection::serve(ours, StatsLevel::User, &context);
        let ended = tokio::time::timeout(Duration::from_secs(20), served)
            .await
            .unwrap();
        assert!(matches!(ended, Err(connection::ConnectionEnd::Timeout)));
        let (mut peer, ours) = UnixStream::pair().unwrap();
        peer.write_all(b"show stat\n").await.unwrap();
        let served = connection::serve(ours, StatsLevel::User, &context);
        let ended = tokio::time::timeout(Duration::from_secs(20), served)
            .await
            .unwrap();
        assert!(matches!(ended, Err(connection::ConnectionEnd::Timeout)));
    });
}

#[test]
fn the_states_of_servers_are_in_the_columns_of_state_files() {
    let context = context(FILE);
    let answer = ask(&context, StatsLevel::User, "show servers state app");
    let id = context.runtime.config().proxies[1].id;
    let mut lines = answer.lines();
    assert_eq!(lines.next(), Some("1"));
    let columns = lines
        .next()
        .unwrap()
        .trim_start_matches("# ")
        .split(' ')
        .count();
    let rows: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    assert!(
        rows.iter().all(|row| row.split(' ').count() == columns),
        "{rows:#?}"
    );
    assert_eq!(
        rows[0],
        format!("{id} app 1 s1 127.0.0.1 2 0 10 10 0 1 0 2 6 0 0 0 - 80 - 0 0 - - 0")
    );
    assert_eq!(
        rows[1],
        format!("{id} app 2 s2 127.0.0.1 0 5 1 1 0 1 0 0 8 0 0 0 - 81 - 0 0 - - 0")
    );
    assert_eq!(
        rows[2],
        format!("{id} app 3 s3 - 2 0 1 1 0 1 0 0 0 0 0 0 - 0 - 0 0 - - 0")
    );
    let answer = ask(&context, StatsLevel::User, "show servers conn");
    assert!(
        answer.contains(&format!(
            "\napp/s1 {id}/1 127.0.0.1 80 - 5000 0 0 0 0 0 -1 0\n"
        )),
        "{answer}"
    );
}

#[test]
fn states_of_checks_and_agents_have_the_bits_of_haproxy() {
    // Recorded from haproxy 2.6.12.
    let context = context(
        "backend b\n server a 127.0.0.1:1 agent-check agent-port 2\n server c 127.0.0.1:1 check\n \
         server d 127.0.0.1:1\n",
    );
    let admin = |command: &str| ask(&context, StatsLevel::Admin, command);
    let states = || {
        let text = admin("show servers state b");
        let rows = text.lines().skip(2).filter(|line| !line.is_empty());
        rows.map(|row| {
            let words: Vec<&str> = row.split(' ').collect();
            format!("{} {}", words[13], words[14])
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(states(), ["0 22", "6 0", "0 0"]);
    admin("disable agent b/a");
    for server in ["a", "c", "d"] {
        admin(&format!("disable server b/{server}"));
    }
    assert_eq!(states(), ["0 18", "14 0", "0 0"]);
}

#[test]
fn information_has_the_names_and_tags_of_haproxy() {
    let context = context(FILE);
    let typed = ask(&context, StatsLevel::User, "show info typed");
    assert!(typed.starts_with("0.Name.1:POS:str:HAProxy\n"), "{typed}");
    assert!(typed.contains("\n15.Maxconn.1:CLP:u32:5000\n"));
    let json = ask(&context, StatsLevel::User, "show info json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["value"]["value"], "HAProxy");
    let described = ask(&context, StatsLevel::User, "show info desc");
    assert!(described.contains("\nNbproc: 1:\"serving processes, always 1\"\n"));
}

#[test]
fn info_ends_with_the_cluster_version() {
    let mut config = load_text(FILE).config.expect("the file is good");
    config.global.version = Some("version 12 by anna: \"a\nb\"".into());
    let context = context_of(config);
    let last = |command: &str| {
        let said = ask(&context, StatsLevel::User, command);
        said.trim_end().lines().next_back().unwrap().to_owned()
    };
    let words = "version 12 by anna: \"a b\"";
    assert_eq!(last("show info"), format!("Configuration: {words}"));
    let typed = last("show info typed");
    assert_eq!(typed, format!("1000.Configuration.1:COS:str:{words}"));
    let json: serde_json::Value = serde_json::from_str(&last("show info json")).unwrap();
    let last_of_all = json.as_array().and_then(|all| all.last());
    assert_eq!(last_of_all.unwrap()["value"]["value"], words);
}

#[test]
fn a_socket_is_opened_with_its_mode_and_serves_as_many_as_it_may() {
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("evenkeel-operations-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("admin.sock");
    let text = |more: &str| {
        format!(
            "global\n stats socket {} mode 600 level user\n stats socket abns@evenkeel-{} level \
             admin\n {more}\n stats maxconn 1\n{}",
            path.display(),
            std::process::id(),
            FILE.trim_start_matches("global\n")
        )
    };
    let bad = format!("stats socket {}/none/x.sock", folder.display());
    let bad = load_text(&text(&bad)).config.expect("the file is good");
    let (sockets, failures) = open(&bad, &mut Inherited::default());
    assert_eq!((sockets.len(), failures.len()), (2, 1));
    let told = failures[0].to_string();
    assert!(told.contains("/none/x.sock"), "{told}");
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    drop(sockets);
    let context = context(&text(""));
    let (sockets, failures) = open(&context.runtime.config(), &mut Inherited::default());
    assert_eq!((sockets.len(), failures.len()), (2, 0));
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    block_on(async {
        start(context.runtime, sockets, &tokio::runtime::Handle::current()).unwrap();
        // A silent connection loses the only slot to the next one.
        let mut silent = UnixStream::connect(&path).await.unwrap();
        let mut second = UnixStream::connect(&path).await.unwrap();
        second.write_all(b"show cli level\n").await.unwrap();
        let mut answer = String::new();
        second.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "user\n\n");
        assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
    });
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn failed_change_keeps_the_connection_limit() {
    use super::OperationsSocket;
    let limited = |most: u32| format!("global\n stats maxconn {most}\n{FILE}");
    let context = context(&limited(3));
    let unusable = || OperationsSocket {
        // A regular file, which epoll cannot watch.
        fd: std::fs::File::open("/proc/self/exe").unwrap().into(),
        unix: true,
        takes: super::socket::Takes::Commands(StatsLevel::Admin.into()),
        text: String::new(),
    };
    block_on(async {
        let handle = tokio::runtime::Handle::current();
        let serving = start(context.runtime, Vec::new(), &handle).unwrap();
        assert_eq!(serving.connections_max(), 3);
        let next = load_text(&limited(7)).config.expect("the file is good");
        context.runtime.publish(Arc::new(next), Arc::default());
        assert!(serving.change(vec![unusable()]).is_err());
        assert_eq!(serving.connections_max(), 3);
        serving.change(Vec::new()).unwrap();
        assert_eq!(serving.connections_max(), 7);
    });
}

#[test]
fn reload_keeps_sockets_and_finishes_removed_ones() {
    use super::OperationsSocket;
    let folder = std::env::temp_dir().join(format!("evenkeel-sockets-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let name = |n: u32| folder.join(n.to_string()).display().to_string();
    let text = |n| format!("global\n stats socket {} level user\n{FILE}", name(n));
    let opened = |n| {
        let config = load_text(&text(n)).config.expect("the file is good");
        let (mut sockets, failures) = open(&config, &mut Inherited::default());
        assert!(failures.is_empty());
        sockets.pop().unwrap()
    };
    let again = |socket: &OperationsSocket, level: StatsLevel| OperationsSocket {
        fd: socket.fd.try_clone().unwrap(),
        unix: true,
        takes: super::socket::Takes::Commands(level.into()),
        text: socket.text.clone(),
    };
    let context = context(FILE);
    let connect = |n| {
        let stream = std::os::unix::net::UnixStream::connect(name(n))?;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    };
    let ask = async |mut stream: UnixStream| {
        stream.write_all(b"show cli level\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    block_on(async {
        let (stays, goes) = (opened(1), opened(2));
        let same = again(&stays, StatsLevel::Admin);
        let handle = tokio::runtime::Handle::current();
        let serving = start(context.runtime, vec![stays, goes], &handle).unwrap();
        let held = connect(2).unwrap();
        let waits = connect(1).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        serving.change(vec![same, opened(3)]).unwrap();
        assert_eq!(ask(connect(1).unwrap()).await, "admin\n\n");
        assert_eq!(ask(waits).await, "user\n\n", "it began under the old level");
        assert_eq!(ask(connect(3).unwrap()).await, "user\n\n");
        assert_eq!(ask(held).await, "user\n\n");
        assert!(connect(2).is_err());
        let (mut peer, ours) = UnixStream::pair().unwrap();
        serving
            .adopt(ours.into_std().unwrap(), StatsLevel::Operator)
            .unwrap();
        peer.write_all(b"show cli sockets;show cli level")
            .await
            .unwrap();
        peer.shutdown().await.unwrap();
        let mut answer = String::new();
        peer.read_to_string(&mut answer).await.unwrap();
        let lines = format!(
            "# socket lvl processes\nunix@{} admin all\nunix@{} user all\n\noperator\n\n",
            name(1),
            name(3)
        );
        assert_eq!(answer, lines);
    });
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn sockets_of_operations_are_inherited_and_assigned_like_those_of_frontends() {
    use super::{OperationsSocket, assign, tags};
    use std::os::fd::AsFd;
    let name = format!("evenkeel-inherited-{}", std::process::id());
    let own: std::os::fd::OwnedFd = std::net::TcpListener::bind("127.0.0.1:0").unwrap().into();
    let number = std::os::fd::AsRawFd::as_raw_fd(&own);
    let text = format!(
        "global\n stats socket abns@{name} level admin\n stats socket fd@{number} expose-fd listeners\n"
    );
    let config = load_text(&text).config.expect("the file is good");
    let inodes = |sockets: &[OperationsSocket]| -> Vec<u64> {
        let inode = |one: &OperationsSocket| rustix::fs::fstat(one.as_fd()).unwrap().st_ino;
        sockets.iter().map(inode).collect()
    };
    let (first, failures) = open(&config, &mut Inherited::default());
    assert!(failures.is_empty(), "{failures:?}");
    let copies = || {
        first
            .iter()
            .map(|one| one.as_fd().try_clone_to_owned().unwrap())
    };
    assert_eq!(tags(&config).collect::<Vec<_>>(), [None, Some(number)]);
    let mut inherited = Inherited::default();
    for (fd, tag) in copies().zip(tags(&config)) {
        match tag {
            Some(number) => inherited.add_tagged(fd, number).unwrap(),
            None => inherited.add(fd).unwrap(),
        }
    }
    drop(own);
    let (second, failures) = open(&config, &mut inherited);
    assert!(failures.is_empty(), "{failures:?}");
    assert!(inherited.is_empty());
    assert_eq!(inodes(&first), inodes(&second));
    let third = assign(&config, copies().collect(), &[]).unwrap();
    assert_eq!(inodes(&first), inodes(&third));
    assert!(assign(&config, copies().take(1).collect(), &[]).is_err());
    let last = assign(&config, copies().skip(1).collect(), &[0]).unwrap();
    assert_eq!(inodes(&last), inodes(&first)[1..]);
}

#[test]
fn operator_names_a_server_that_has_an_address() {
    let context = context(
        "resolvers r\n nameserver x 127.0.0.1:5353\nbackend app\n mode http\n \
         server s1 127.0.0.1:80 resolvers r\n server s2 127.0.0.1:80\n",
    );
    let set = |command: &str| {
        ask(
            &context,
            StatsLevel::Admin,
            &format!("set server app/{command}"),
        )
    };
    let by = "by 'stats socket command'";
    for (command, expected) in [
        (
            "s1 fqdn foo.test",
            format!("app/s1 changed its FQDN from (null) to foo.test {by}\n\n"),
        ),
        (
            "s1 fqdn foo.test",
            format!("no need to change the FDQN {by}\n\n"),
        ),
        (
            "s1 fqdn 127.0.0.2",
            format!("app/s1 changed its FQDN from foo.test to 127.0.0.2 {by}\n\n"),
        ),
        (
            "s1 fqdn bad..name",
            format!("could not update app/s1 FQDN {by}\n\n"),
        ),
        (
            "s2 fqdn foo.test",
            "set server <b>/<s> fqdn failed because no resolution is configured.\n\n".to_owned(),
        ),
    ] {
        assert_eq!(set(command), expected, "{command}");
    }
    let states = ask(&context, StatsLevel::Admin, "show servers state app");
    let name_of = |server: &str| {
        let line = states.lines().find(|line| line.contains(server)).unwrap();
        line.split(' ').nth(17).unwrap().to_owned()
    };
    assert_eq!(name_of(" s1 "), "127.0.0.2");
    assert_eq!(name_of(" s2 "), "-");
}
