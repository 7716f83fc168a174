//! Tests that runtime changes of lists and maps affect the next request.

use crate::bed::{ProxyFixture, against_haproxy};
use crate::sessions::Operator;

#[test]
fn run_time_changes_of_lists_apply_to_the_next_request() {
    if against_haproxy() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("evenkeel-lists-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (map, list) = (folder.join("m.map"), folder.join("a.lst"));
    std::fs::write(&map, "one 201\n").unwrap();
    std::fs::write(&list, "/admin\n").unwrap();
    let (map, list) = (map.display(), list.display());
    let mut bed = ProxyFixture::new(&format!(
        "frontend www\n bind 127.0.0.1:{{0}}\n acl denied path_beg -f {list}\n \
         http-request deny if denied\n http-request return status 200 hdr x-found \
         %[req.hdr(host),map({map},none)]\n"
    ));
    let operator = Operator::new(&mut bed);
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: two\r\n\r\n");
    let ask = |path: &str| bed.ask(&request(path));
    assert!(ask("/x").contains("x-found: none\r\n"));
    assert!(ask("/admin").starts_with("HTTP/1.1 403 "));
    operator.ask(&format!("add map {map} two 202"));
    operator.ask(&format!("add acl {list} /x;del acl {list} /admin"));
    assert!(ask("/admin").contains("x-found: 202\r\n"));
    assert!(ask("/x").starts_with("HTTP/1.1 403 "));
    operator.ask(&format!("clear acl {list};set map {map} two 203"));
    assert!(ask("/x").contains("x-found: 203\r\n"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn list_entry_added_during_a_reload_is_kept() {
    /// Number of entries added while configurations are installed.
    const ADDED: usize = 400;
    if against_haproxy() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("evenkeel-added-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("m.map");
    std::fs::write(&path, "one 201\n").unwrap();
    let map = path.display();
    // Many servers, so that a change takes a while.
    let servers: String = (0..500)
        .map(|n| format!(" server s{n} 127.0.0.1:9 disabled\n"))
        .collect();
    let text = format!(
        "frontend www\n bind 127.0.0.1:{{0}}\n http-request return status 200 hdr x-found \
         %[req.hdr(host),map({map},none)]\nbackend b\n{servers}"
    );
    let mut bed = ProxyFixture::new(&text);
    let operator = Operator::new(&mut bed);
    std::thread::scope(|scope| {
        let add = scope.spawn(|| {
            for n in 0..ADDED {
                operator.ask(&format!("add map {map} k{n} v{n}"));
            }
        });
        while !add.is_finished() {
            bed.change(&text);
        }
    });
    let shown = operator.ask(&format!("show map {map}"));
    std::fs::remove_dir_all(&folder).unwrap();
    let lost: Vec<usize> = (0..ADDED)
        .filter(|n| !shown.contains(&format!(" k{n} v{n}\n")))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
}
