//! Passes the changes that operators made to ACLs and maps at run time to the next process. The
//! supervisor also stores them in case this process is killed, but only those of short lists
//! ([`Which::entries_max`]), because the search for changes takes time for each entry.

use super::tables::Which;
use super::told::ListTold;
use model::rules::live::{Changes, Lists};
use serde_bytes::ByteBuf;

/// Exports the lists that differ from their files, and subtracts their size from the
/// remaining room.
pub(super) fn export_lists(lists: &Lists, which: Which, room_bytes: &mut usize) -> Vec<ListTold> {
    let changes = lists.changes(which.entries_max() as usize);
    let mut told = Vec::new();
    for list in changes {
        let keys = list.keys.into_iter().map_while(|(key, values)| {
            let values_bytes = values.iter().flatten().map(|value| value.len() + 1);
            *room_bytes = room_bytes.checked_sub(key.len() + values_bytes.sum::<usize>())?;
            let values = values.into_iter().map(|value| value.map(bytes));
            Some((bytes(key), values.collect()))
        });
        told.push(ListTold {
            keys: keys.collect(),
            file: list.file.to_string(),
            is_map: list.is_map,
        });
    }
    told
}

fn bytes(bytes: Box<[u8]>) -> ByteBuf {
    ByteBuf::from(bytes.into_vec())
}

impl ListTold {
    pub fn changes(self) -> Changes {
        let keys = self.keys.into_iter().map(|(key, values)| {
            let values = values.into_iter();
            let values = values.map(|value| value.map(ByteBuf::into_boxed_slice));
            (key.into_boxed_slice(), values.collect())
        });
        Changes {
            keys: keys.collect(),
            file: self.file.into(),
            is_map: self.is_map,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carry::{export, export_kept, import};
    use keyword::testing::load_text;
    use lab::ScratchDirectory;
    use model::config::Config;
    use model::rules::live::{Edit, Which as Meant};

    fn config(map: &ScratchDirectory, lines: &str) -> Config {
        let path = map.path().join("m.map");
        std::fs::write(&path, lines).expect("room");
        let text = format!(
            "listen t\n mode http\n bind 127.0.0.1:1\n http-request set-header x %[path,map({})]\n",
            path.display()
        );
        load_text(&text).config.expect("it loads")
    }

    fn changed(map: &ScratchDirectory, lines: &str) -> Config {
        let config = config(map, lines);
        let set = Edit::Set(Meant::Key((*b"a").into()), (*b"9").into());
        config.lists.edit(0, set).expect("it is there");
        let delete = Edit::Delete(Meant::Key((*b"b").into()));
        config.lists.edit(0, delete).expect("it is there");
        let add = Edit::Add(vec![((*b"d").into(), Some((*b"").into()))]);
        config.lists.edit(0, add).expect("room");
        config
    }

    fn shown(config: &Config) -> String {
        let entries = config.lists.entries(0).into_iter();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let line = |e: model::rules::live::Entry| {
            text(&e.key) + "=" + &text(e.value.as_deref().unwrap_or(b"none")) + " "
        };
        entries.map(line).collect()
    }

    #[test]
    fn changed_lists_continue_in_another_process() {
        let map = ScratchDirectory::new().expect("room");
        let old = changed(&map, "a 1\nb 2\nc 3\n");
        for bytes in [export(&old, None).bytes, export_kept(&old, None)] {
            let same = config(&map, "a 1\nb 2\nc 3\n");
            import(&bytes, &same, None).expect("it is whole");
            assert_eq!(shown(&same), "a=9 c=3 d= ");
            let other = config(&map, "0 0\na 7\nb 2\nc 8\ne 5\n");
            import(&bytes, &other, None).expect("it is whole");
            assert_eq!(shown(&other), "0=0 a=9 c=8 e=5 d= ");
            for end in 0..bytes.len() {
                let new = config(&map, "a 1\n");
                assert!(import(&bytes[..end], &new, None).is_err());
                assert_eq!(shown(&new), "a=1 ");
            }
        }
    }

    #[test]
    fn unchanged_list_is_not_transferred() {
        let map = ScratchDirectory::new().expect("room");
        let none = config(&map, "a 1\n");
        let length = export(&none, None).bytes.len();
        let set = |value: &[u8]| Edit::Set(Meant::Key((*b"a").into()), value.into());
        none.lists.edit(0, set(b"2")).expect("it is there");
        assert!(export(&none, None).bytes.len() > length);
        none.lists.edit(0, set(b"1")).expect("it is there");
        assert_eq!(export(&none, None).bytes.len(), length);
    }

    #[test]
    fn long_list_is_transferred_but_not_stored() {
        let map = ScratchDirectory::new().expect("room");
        let lines: String = (0..=Which::Small.entries_max())
            .map(|n| format!("{n} x\n"))
            .collect();
        let long = config(&map, &lines);
        long.lists.edit(0, Edit::Clear).expect("possible");
        let (all, kept) = (export(&long, None).bytes, export_kept(&long, None));
        assert!(all.len() > lines.len() / 2 && kept.len() < 1000);
        import(&all, &config(&map, "new 1\n0 x\n"), None).expect("it is whole");
    }

    #[test]
    fn corrupted_transfer_does_no_harm() {
        let map = ScratchDirectory::new().expect("room");
        let bytes = export(&changed(&map, "a 1\nb 2\n"), None).bytes;
        let new = config(&map, "a 1\nb 2\n");
        for at in 0..bytes.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = byte;
                // Any bytes are either rejected or a valid list.
                let _ = import(&bytes, &new, None);
            }
        }
    }
}
