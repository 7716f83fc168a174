//! Tests stick tables: entries are found again, bounded and removed.

use super::*;
use std::sync::Arc;
use std::time::Duration;

fn table(size: u32, settings: Settings) -> Arc<Table> {
    let layout = Layout::new(vec![
        (DataType::HttpReqCnt, 1, 0),
        (DataType::HttpReqRate, 1, 10_000),
        (DataType::BytesInCnt, 1, 0),
        (DataType::ConnCur, 1, 0),
    ]);
    let make = Make {
        key: KeyType::String,
        length: 32,
        size,
        layout,
    };
    Arc::new(Table::new("t", make, settings))
}

const FOR_LONG: Settings = Settings {
    expire_ms: 1_000_000,
    no_purge: false,
    has_peers: false,
};

fn keys(table: &Table) -> Vec<String> {
    let mut keys: Vec<String> = table
        .keys()
        .iter()
        .map(|key| String::from_utf8_lossy(key).into_owned())
        .collect();
    keys.sort();
    keys
}

#[test]
fn an_entry_is_found_again_with_what_was_counted() {
    let table = table(10, FOR_LONG);
    assert!(table.find(b"a").is_none());
    for _ in 0..3 {
        let held = table.get(b"a").expect("room");
        held.add(DataType::HttpReqCnt, 0, 1);
        held.add(DataType::HttpReqRate, 0, 1);
        held.add(DataType::BytesInCnt, 0, u64::from(u32::MAX));
        assert_eq!(held.add(DataType::Gpc0, 0, 1), None);
    }
    let held = table.find(b"a").expect("it is there");
    assert_eq!(held.get(DataType::HttpReqCnt, 0), Some(3));
    assert_eq!(held.get(DataType::HttpReqRate, 0), Some(3));
    assert_eq!(
        held.get(DataType::BytesInCnt, 0),
        Some(3 * u64::from(u32::MAX))
    );
    assert_eq!((held.key(), held.others()), (b"a".to_vec(), 0));
    assert_eq!(table.used(), 1);
}

#[test]
fn the_oldest_entry_that_nobody_holds_gives_way() {
    let table = table(3, FOR_LONG);
    for key in [b"a", b"b", b"c", b"a"] {
        drop(table.get(key));
    }
    let held = table.get(b"b");
    drop(table.get(b"d"));
    assert_eq!(keys(&table), ["a", "b", "d"]);
    drop(table.get(b"e"));
    assert_eq!(keys(&table), ["b", "d", "e"]);
    drop(held);
    let all: Vec<_> = [b"b", b"d", b"e"].map(|key| table.get(key)).into();
    assert!(table.get(b"f").is_none());
    assert_eq!((table.used(), all.len()), (3, 3));
}

#[test]
fn nopurge_refuses_what_finds_no_room() {
    let table = table(
        2,
        Settings {
            no_purge: true,
            ..FOR_LONG
        },
    );
    assert!(table.get(b"a").is_some() && table.get(b"b").is_some());
    assert!(table.get(b"c").is_none());
    assert_eq!(table.remove(b"a"), Removal::Removed);
    assert!(table.get(b"c").is_some());
}

#[test]
fn entries_expire_unless_somebody_holds_them() {
    let table = table(
        10,
        Settings {
            expire_ms: 20,
            ..FOR_LONG
        },
    );
    let held = table.get(b"held").expect("room");
    drop(table.get(b"gone"));
    std::thread::sleep(Duration::from_millis(40));
    assert!(table.find(b"gone").is_none() && table.find(b"held").is_some());
    table.sweep();
    assert_eq!(table.used(), 1);
    assert_eq!(table.remove(b"held"), Removal::InUse);
    drop(held);
    std::thread::sleep(Duration::from_millis(40));
    table.sweep();
    assert_eq!(table.used(), 0);
}

#[test]
fn what_comes_again_after_it_expired_begins_anew() {
    let table = table(
        10,
        Settings {
            expire_ms: 20,
            ..FOR_LONG
        },
    );
    table
        .get(b"a")
        .expect("room")
        .add(DataType::HttpReqCnt, 0, 5);
    std::thread::sleep(Duration::from_millis(40));
    let held = table.get(b"a").expect("room");
    assert_eq!(held.get(DataType::HttpReqCnt, 0), Some(0));
}

#[test]
fn a_large_table_keeps_all_that_it_has_room_for_and_no_more() {
    let table = table(20_000, FOR_LONG);
    for n in 0..30_000u32 {
        let key = n.to_string();
        table
            .get(key.as_bytes())
            .expect("room")
            .add(DataType::HttpReqCnt, 0, n.into());
        assert!(table.used() <= 20_000);
    }
    assert!(table.used() > 19_000, "{}", table.used());
    for n in 29_900..30_000u64 {
        let held = table
            .find(n.to_string().as_bytes())
            .expect("the newest stay");
        assert_eq!(held.get(DataType::HttpReqCnt, 0), Some(n));
    }
    for key in table.keys() {
        assert_eq!(table.remove(&key), Removal::Removed);
    }
    assert_eq!((table.used(), table.keys().len()), (0, 0));
}

#[test]
fn threads_count_into_the_same_entries() {
    let table = table(64, FOR_LONG);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let table = &table;
            scope.spawn(move || {
                for n in 0..2000u32 {
                    let key = ((n + thread) % 16).to_string();
                    let held = table.get(key.as_bytes()).expect("room");
                    held.add(DataType::HttpReqCnt, 0, 1);
                    held.add(DataType::BytesInCnt, 0, 1 << 31);
                }
            });
        }
    });
    let sum = |kind| -> u64 {
        let all = table.keys();
        let held = all.iter().filter_map(|key| table.find(key));
        held.filter_map(|held| held.get(kind, 0)).sum()
    };
    assert_eq!(sum(DataType::HttpReqCnt), 8000);
    assert_eq!(sum(DataType::BytesInCnt), 8000 << 31);
}

#[test]
fn news_name_each_entry_once() {
    let table = table(
        10,
        Settings {
            has_peers: true,
            ..FOR_LONG
        },
    );
    for key in [b"a", b"b", b"a"] {
        table.get(key).expect("room").queue_peer_update();
    }
    assert_eq!(table.remove(b"b"), Removal::Removed);
    let news: Vec<_> = table
        .take_updated_keys(10)
        .iter()
        .map(|key| key.to_vec())
        .collect();
    assert_eq!(news, [b"a".to_vec()]);
    assert!(table.take_updated_keys(10).is_empty());
}

#[test]
fn news_stay_as_few_as_entries_whoever_comes_and_nobody_reads() {
    let settings = Settings {
        has_peers: true,
        ..FOR_LONG
    };
    let table = table(8, settings);
    for n in 0..5000u32 {
        let held = table.get(n.to_string().as_bytes()).expect("room");
        held.queue_peer_update();
    }
    let news = table.take_updated_keys(100_000);
    assert!(news.len() <= 8, "{}", news.len());
    assert!(news.iter().any(|key| **key == *b"4999"));
}

#[test]
fn a_key_that_does_not_fit_is_nobodys() {
    let table = table(8, FOR_LONG);
    assert!(table.get(&[b'a'; 32]).is_some());
    assert!(table.get(&[b'a'; 33]).is_none());
    assert!(table.find(&[b'b'; 33]).is_none());
}

#[test]
fn threads_that_add_hold_note_and_remove_leave_a_table_whole() {
    let settings = Settings {
        has_peers: true,
        expire_ms: 5,
        ..FOR_LONG
    };
    for size in [16, 5000] {
        let table = table(size, settings);
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let table = &table;
                scope.spawn(move || {
                    let mut random = lab::Random::new(thread.into());
                    let mut kept = Vec::new();
                    for _ in 0..4000u32 {
                        let seed = random.next() as u32;
                        let key = (seed % (size * 2)).to_string();
                        match seed >> 29 {
                            0 => _ = table.remove(key.as_bytes()),
                            1 => _ = table.find(key.as_bytes()),
                            2 => table.sweep(),
                            3 => _ = table.take_updated_keys(10),
                            _ => {
                                if let Some(held) = table.get(key.as_bytes()) {
                                    assert_eq!(held.key(), key.as_bytes());
                                    held.add(DataType::HttpReqRate, 0, 1);
                                    held.queue_peer_update();
                                    kept.push((key, held));
                                }
                            }
                        }
                        if kept.len() > 3 {
                            let (key, held) = kept.remove(0);
                            assert_eq!(held.key(), key.as_bytes(), "it stays its holder's");
                        }
                    }
                });
            }
        });
        assert!(table.used() <= size + 4, "{}", table.used());
        for key in table.keys() {
            assert!(table.find(&key).is_none_or(|held| held.others() == 0));
            assert_ne!(table.remove(&key), Removal::InUse);
        }
        assert!(table.take_updated_keys(1 << 20).len() <= size as usize + 4);
    }
}

#[test]
fn keys_are_shown_as_haproxy_shows_them() {
    let rows: &[(KeyType, &[u8], &str)] = &[
        (KeyType::Ip, &[192, 0, 2, 1], "192.0.2.1"),
        (KeyType::Integer, &[1, 1, 0, 0], "257"),
        (KeyType::Binary, b"xyzz", "78797A7A"),
        (KeyType::String, b"a b\\\n", "a\\ b\\\\\\n"),
    ];
    for (kind, key, shown) in rows {
        let mut text = Vec::new();
        kind.write(key, &mut text);
        assert_eq!(String::from_utf8_lossy(&text), *shown);
    }
}
