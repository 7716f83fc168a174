//! Supplies the manual's entries that are not keywords: sections, termination states, results of
//! checks, states of servers, flags and matching methods of ACLs, data types of stick tables, log
//! formats, commands of the statistics socket. `evenkeel keyword` and the search of the manual
//! find them. Where the code has a table of the same names, the entries are made from that table.

mod formats;
mod health;
mod matching;
mod phrases;
mod sections;
mod termination;

pub use phrases::PHRASES;
pub use termination::letters;

use crate::operations::kept;
use language::keyword::Documented;
use model::tables::data::{DataType, Shape};
use std::sync::OnceLock;

const fn row(
    kind: &'static str,
    family: &'static str,
    name: &'static str,
    syntax: &'static str,
    doc: &'static str,
) -> Documented {
    Documented {
        kind,
        name,
        places: &[],
        syntax,
        doc,
        example: "",
        family,
        built: true,
    }
}

pub fn documented() -> Vec<Documented> {
    static ALL: OnceLock<Vec<Documented>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let mut all = sections::documented();
        all.extend(termination::documented());
        all.extend(health::documented());
        all.extend(matching::documented());
        all.extend(data_types());
        all.extend(formats::documented());
        all.extend(crate::operations::documented());
        all
    });
    all.clone()
}

fn data_types() -> Vec<Documented> {
    let of = |data: &DataType| {
        let name = data.name();
        let (count, period) = (data.is_array(), data.shape() == Shape::Rate);
        let syntax = match (count, period) {
            (true, true) => format!("store {name}(<count>,<period>)"),
            (true, false) => format!("store {name}(<count>)"),
            (false, true) => format!("store {name}(<period>)"),
            (false, false) => format!("store {name}"),
        };
        let read = match data {
            DataType::ServerId | DataType::ServerKey => String::new(),
            DataType::BytesInCnt => " Rules read it with `sc_kbytes_in`.".into(),
            DataType::BytesOutCnt => " Rules read it with `sc_kbytes_out`.".into(),
            DataType::Gpc0 | DataType::Gpc1 | DataType::Gpt0 | DataType::Gpc | DataType::Gpt => {
                format!(" Rules read it with `sc_get_{name}`.")
            }
            _ => format!(" Rules read it with `sc_{name}`."),
        };
        row(
            "data type",
            "Data types of stick tables",
            name,
            kept(syntax),
            kept(format!("{}{read}", data.doc())),
        )
    };
    DataType::ALL.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyword::registry;
    use std::collections::HashSet;

    #[test]
    fn phrases_refer_to_existing_names() {
        let rows: Vec<Documented> = registry().documented();
        let names: HashSet<&str> = rows
            .iter()
            .filter(|row| row.built)
            .map(|row| row.name)
            .chain(documented().iter().map(|row| row.name))
            .collect();
        for (phrase, found) in PHRASES {
            assert!(!found.is_empty(), "{phrase}");
            for name in *found {
                assert!(names.contains(name), "{phrase}: {name}");
            }
        }
    }

    #[test]
    fn table_names_are_unique_and_references_exist() {
        let mut seen = HashSet::new();
        let known: HashSet<String> = registry()
            .documented()
            .iter()
            .map(|row| row.name.to_owned())
            .collect();
        for row in documented() {
            assert!(
                seen.insert((row.kind, row.name)),
                "{} {}",
                row.kind,
                row.name
            );
            assert!(
                !row.doc.is_empty() && !row.syntax.is_empty(),
                "{}",
                row.name
            );
            if row.kind == "data type" {
                let read = row.doc.split('`').nth(1);
                assert!(read.is_none_or(|read| known.contains(read)), "{}", row.doc);
            }
        }
    }
}
