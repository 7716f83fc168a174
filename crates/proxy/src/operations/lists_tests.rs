//! Tests the commands about maps and ACLs: changes, versions, and what remains under a new
//! configuration.

use super::command::Context;
use super::connection;
use super::tests::{ask, block_on, context, talk};
use keyword::testing::load_text;
use model::config::StatsLevel;
use model::state;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// A directory of one test, removed at the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("evenkeel-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn with_lists(folder: &Folder) -> String {
    let map = folder.write("m.map", "www.a.com be1\nwww.b.com be2\n");
    let list = folder.write("a.lst", "/admin\n/secret\n");
    format!(
        "frontend www\n mode http\n bind 127.0.0.1:8080\n acl sec path_beg -f {list}\n \
         acl h hdr(host) -i one two\n acl n src 10.0.0.0/8\n http-request deny if sec or h or n\n \
         use_backend %[req.hdr(host),lower,map({map},app)]\n default_backend app\nbackend app\n \
         mode http\n server s1 127.0.0.1:80\n"
    )
}

/// Consecutive commands about a map M and a list L, and their replies: identical to those of
/// HAProxy 2.6.12, except for the numbers after 0x.
const LIST_COMMANDS: &[(&str, &str)] = &[
    ("show map M", "0x1 www.a.com be1\n0x2 www.b.com be2\n\n"),
    ("show acl L", "0x1 /admin\n0x2 /secret\n\n"),
    ("show acl #1", "\n"),
    (
        "show acl #99",
        "Unknown ACL identifier. Please use #<id> or <file>.\n\n",
    ),
    (
        "show map nope",
        "Unknown map identifier. Please use #<id> or <file>.\n\n",
    ),
    ("get map M", "Missing map identifier and/or key.\n\n"),
    (
        "get map M www.a.com",
        "type=str, case=sensitive, found=yes, idx=tree, key=\"www.a.com\", value=\"be1\", type=\"str\"\n\n",
    ),
    ("get map M zzz", "type=str, case=sensitive, found=no\n\n"),
    (
        "get acl L /admin/x",
        "type=beg, case=sensitive, match=yes, idx=tree, pattern=\"/admin\"\n\n",
    ),
    ("get acl L /zz", "type=beg, case=sensitive, match=no\n\n"),
    (
        "get acl #2 one",
        "type=str, case=insensitive, match=yes, idx=list, pattern=\"one\"\n\n",
    ),
    (
        "add map M k",
        "'add map' expects three parameters (map identifier, key and value) or one parameter (map identifier) and a payload\n\n",
    ),
    ("add map M k v", "\n"),
    (
        "show map M",
        "0x1 www.a.com be1\n0x2 www.b.com be2\n0x3 k v\n\n",
    ),
    ("set map M k v3", "\n"),
    ("set map M #0x1 be9", "\n"),
    ("set map M nokey v3", "entry not found.\n\n"),
    (
        "set map M k",
        "'set map' expects three parameters: map identifier, key and value.\n\n",
    ),
    (
        "show map M",
        "0x1 www.a.com be9\n0x2 www.b.com be2\n0x3 k v3\n\n",
    ),
    ("del map M k", "\n"),
    ("del map M k", "Key not found.\n\n"),
    ("del map M #0x2", "\n"),
    (
        "del map M",
        "This command expects two parameters: map identifier and key.\n\n",
    ),
    ("add acl L /x", "\n"),
    (
        "add acl L",
        "'add acl' expects two parameters: ACL identifier and pattern.\n\n",
    ),
    ("del acl L /secret", "\n"),
    ("show acl L", "0x1 /admin\n0x3 /x\n\n"),
    ("add acl #2 foo", "\n"),
    ("show acl #2", "0x1 one\n0x2 two\n0x3 foo\n\n"),
    (
        "add acl #3 foo",
        "Invalid pattern for the type of this ACL or map.\n\n",
    ),
    ("clear map", "Missing map identifier.\n\n"),
    ("clear map M", "\n"),
    ("show map M", "\n"),
    ("add map M <<\na b\nc d e\n", "\n"),
    ("show map M", "0x1 a b\n0x2 c d e\n\n"),
    ("add map M <<\na\n", "Missing value for key 'a'.\n\n"),
    (
        "show version;clear acl L",
        concat!("3.4.0-evenkeel-", env!("CARGO_PKG_VERSION"), "\n\n\n"),
    ),
    ("show acl L", "\n"),
    // Commands about versions; the replies are those of haproxy 2.6.
    ("prepare map M", "New version created: 1\n\n"),
    ("add map @1 M /c d", "\n"),
    ("show map @1 M", "0x1 /c d\n\n"),
    (
        "add map @2 M /c d",
        "Version number in the future, please use 'prepare map' before.\n\n",
    ),
    ("prepare map M", "New version created: 2\n\n"),
    ("add map @2 M /e f", "\n"),
    ("commit map @1 M", "\n"),
    ("show map M", "0x1 /c d\n\n"),
    ("show map @0 M", "\n"),
    ("show map @2 M", "0x1 /e f\n\n"),
    ("commit map @2 M", "\n"),
    ("commit map @2 M", "Version number out of range.\n\n"),
    ("commit map @7 M", "Version number out of range.\n\n"),
    ("commit map @x M", "Version number out of range.\n\n"),
    ("commit map M", "Missing version number.\n\n"),
    ("commit map @2", "Missing map identifier.\n\n"),
    ("clear map @2 M", "\n"),
    ("show map M", "\n"),
    (
        "prepare map",
        "Unknown map identifier. Please use #<id> or <file>.\n\n",
    ),
    (
        "get map @1 M",
        "Unknown map identifier. Please use #<id> or <file>.\n\n",
    ),
];

#[test]
fn changes_of_maps_and_lists_have_haproxys_responses() {
    let folder = Folder::new("lists");
    let context = context(&with_lists(&folder));
    let (map, list) = (
        folder.0.join("m.map").display().to_string(),
        folder.0.join("a.lst").display().to_string(),
    );
    for (command, answer) in LIST_COMMANDS {
        let command = command
            .replace(" M", &format!(" {map}"))
            .replace(" L", &format!(" {list}"));
        assert_eq!(
            ask(&context, StatsLevel::Admin, &command),
            *answer,
            "{command}"
        );
    }
    let all = ask(&context, StatsLevel::User, "show acl");
    assert!(
        all.starts_with(&format!(
            "# id (file) description\n0 ({list}) pattern loaded from file '{list}' used by acl at file "
        )),
        "{all}"
    );
    assert!(all.contains("\n2 () acl 'hdr' file "), "{all}");
}

#[test]
fn list_changes_survive_a_changed_file() {
    let folder = Folder::new("adopted");
    let file = with_lists(&folder);
    let first = context(&file);
    let (map, list) = (folder.0.join("m.map"), folder.0.join("a.lst"));
    let commands = format!(
        "add map {} k v;add acl {} /x",
        map.display(),
        list.display()
    );
    assert_eq!(ask(&first, StatsLevel::Admin, &commands), "\n\n");
    // The file of the map has changed and is combined with the operators' changes; the file of the
    // list has not changed.
    folder.write("m.map", "www.a.com be1\n");
    let mut second = load_text(&file.replace(" acl h", " acl more path_end -i .php\n acl h"))
        .config
        .expect("the file is good");
    model::control::install(&mut second, Some(&first.runtime.config()), state::now_ms());
    let shown = |list: &std::path::Path, maps| {
        let at = second
            .lists
            .named(&list.display().to_string(), maps)
            .unwrap();
        second.lists.entries(at).len()
    };
    assert_eq!((shown(&map, true), shown(&list, false)), (2, 3));
    let at = second
        .lists
        .named(&list.display().to_string(), false)
        .unwrap();
    assert!(second.lists.find_matches(at, "/x/y")[0].entry.is_some());
}

/// Number of entries of a map whose output does not fit into the buffers of a socket.
const ENTRIES: usize = 30_000;

/// Begins to show a map, runs other commands meanwhile, and returns the shown entries.
fn shown_while(context: &Context, map: &str, commands: &str) -> Vec<String> {
    block_on(async {
        let (mut peer, ours) = UnixStream::pair().unwrap();
        let serving = connection::serve(ours, StatsLevel::Admin, context);
        let client = async {
            peer.write_all(format!("show map {map}\n").as_bytes())
                .await
                .unwrap();
            let mut text = vec![peer.read_u8().await.unwrap()];
            let changed = talk(context, StatsLevel::Admin, commands.as_bytes()).await;
            assert!(changed.trim().is_empty(), "{changed}");
            peer.read_to_end(&mut text).await.unwrap();
            String::from_utf8(text).unwrap()
        };
        let (served, text) = tokio::join!(serving, client);
        served.unwrap();
        let lines = text.strip_suffix("\n\n").expect("the end of the reply");
        lines.lines().map(str::to_owned).collect()
    })
}

#[test]
fn large_map_is_shown_in_pieces_of_one_version() {
    let folder = Folder::new("pieces");
    let lines: String = (1..=ENTRIES)
        .map(|n| format!("key{n} value{n}\n"))
        .collect();
    let map = folder.write("m.map", &lines);
    let file = format!(
        "frontend www\n mode http\n bind 127.0.0.1:8080\n \
         use_backend %[req.hdr(host),lower,map({map},app)]\n default_backend app\nbackend app\n mode http\n"
    );
    let context = context(&file);
    // Changes to entries that are not shown yet become visible, as with HAProxy.
    let commands = format!("del map {map} key{ENTRIES};add map {map} new x\n");
    let shown = shown_while(&context, &map, &commands);
    let line = |n| format!("{n:#x} key{n} value{n}");
    let mut expected: Vec<String> = (1..ENTRIES).map(line).collect();
    expected.push(format!("{ENTRIES:#x} new x"));
    assert!(shown == expected, "{} entries", shown.len());
    // Entries of another version of the map are not mixed in.
    let prepared = ask(&context, StatsLevel::Admin, &format!("prepare map {map}"));
    assert!(prepared.contains(": 1\n"), "{prepared}");
    let commands = format!("add map @1 {map} other x;commit map @1 {map}\n");
    let shown = shown_while(&context, &map, &commands);
    assert!(shown.len() < ENTRIES && shown[..] == expected[..shown.len()]);
    let shown = ask(&context, StatsLevel::Admin, &format!("show map {map}"));
    assert_eq!(shown, "0x1 other x\n\n");
}
