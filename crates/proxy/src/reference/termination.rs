//! Supplies the manual's entries about termination states (`%ts`, `%tsc`), whose letters say how
//! and where a stream ended.

use super::row;
use crate::termination::{COOKIES, STATES};
use language::keyword::Documented;

const FAMILY: &str = "Termination states";

pub(super) fn documented() -> Vec<Documented> {
    let pairs = STATES.iter().chain(COOKIES);
    let of = |(name, doc): &(&'static str, &'static str)| {
        row("termination state", FAMILY, name, name, doc)
    };
    pairs.map(of).collect()
}

/// Returns the manual's entries for four letters of a log line (`sD--`, `--NI`, `SHVN`), one for
/// each statement that the letters make; empty if they are not such letters.
pub fn letters(name: &str) -> Vec<Documented> {
    let (Some(pair), Some(third), Some(fourth)) = (name.get(..2), name.get(2..3), name.get(3..))
    else {
        return Vec::new();
    };
    if fourth.len() != 1 {
        return Vec::new();
    }
    let mut wanted = vec![pair.to_owned()];
    wanted.extend((third != "-").then(|| format!("--{third}-")));
    wanted.extend((fourth != "-").then(|| format!("---{fourth}")));
    let all = documented();
    let row = |name: &String| all.iter().find(|row| row.name == name).copied();
    wanted
        .iter()
        .map(row)
        .collect::<Option<_>>()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::transaction::{StreamPhase, Termination};

    #[test]
    fn four_letter_state_is_explained_by_its_letters() {
        let told = |name: &str| -> Vec<&str> { letters(name).iter().map(|r| r.name).collect() };
        assert_eq!(told("sD--"), ["sD"]);
        assert_eq!(told("--NI"), ["--", "--N-", "---I"]);
        assert_eq!(told("SHVN"), ["SH", "--V-", "---N"]);
        for none in ["sD", "sDxx", "", "sD--x", "sé--", "keyword"] {
            assert!(told(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn each_letter_that_logs_show_is_in_the_table() {
        let firsts: Vec<char> = STATES
            .iter()
            .filter_map(|(n, _)| n.chars().next())
            .collect();
        let seconds: Vec<char> = STATES
            .iter()
            .filter_map(|(n, _)| n.chars().nth(1))
            .collect();
        use Termination::*;
        for one in [
            Normal,
            ClientAbort,
            ClientTimeout,
            ServerAbort,
            ServerTimeout,
            Proxy,
            Resource,
            Internal,
            ServerDown,
            ServerUp,
            Killed,
            Local,
        ] {
            assert!(firsts.contains(&char::from(one.letter())), "{one:?}");
        }
        for one in [
            StreamPhase::Request,
            StreamPhase::Queue,
            StreamPhase::Connect,
            StreamPhase::Headers,
            StreamPhase::Data,
            StreamPhase::Tarpit,
            StreamPhase::Done,
        ] {
            assert!(seconds.contains(&char::from(one.letter())), "{one:?}");
        }
    }
}
