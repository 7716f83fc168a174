//! `balance` and what belongs to it.

use super::{Args, Built, LineRow, places};
use crate::config::Balance;
use crate::keyword::known;
use crate::load::{Loader, codes};
use language::{Diagnostic, Word, suggest};

/// The lines of this family.
pub static LINES: &[LineRow] = &[LineRow {
    name: "balance",
    places: places::BACK,
    syntax: "balance { roundrobin | static-rr | leastconn | first | source | random[(<draws>)] }",
    doc: "Says how a backend chooses a server for a stream that belongs to none. `roundrobin` (the default) takes turns by \
          weight, `leastconn` the server with the fewest sessions for its weight, `source` the same server for the same \
          client address, `first` the lowest id that has a free slot, `random` the less loaded of some drawn servers.",
    example: "balance leastconn",
    build: balance,
}];

/// Draws of `random` where the line gives none.
const DRAWS: u32 = 2;
const BUILT: &[&str] = &[
    "roundrobin",
    "static-rr",
    "leastconn",
    "first",
    "source",
    "random",
];

fn balance(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let Some(word) = args.next() else {
        loader.proxy().balance = Balance::RoundRobin;
        return Ok(());
    };
    let text = word.str();
    let name = text.split('(').next().unwrap_or(text);
    let parameter = text[name.len()..]
        .strip_prefix('(')
        .map(|rest| rest.strip_suffix(')'));
    let algorithm = match (name, parameter) {
        ("roundrobin", None) => Balance::RoundRobin,
        ("static-rr", None) => Balance::StaticRoundRobin,
        ("leastconn", None) => Balance::LeastConnections,
        ("first", None) => Balance::First,
        ("source", None) => Balance::Source,
        ("random", None | Some(Some(""))) => Balance::Random(DRAWS),
        ("random", Some(Some(draws))) => Balance::Random(random_draws(word, draws)?),
        _ => return Err(refused(word, name)),
    };
    loader.proxy().balance = algorithm;
    args.end()
}

fn random_draws(word: &Word, draws: &str) -> Result<u32, Box<Diagnostic>> {
    match draws.parse::<u32>() {
        Ok(draws) if draws > 0 => Ok(draws),
        _ => Err(Box::new(
            Diagnostic::error(
                &codes::OUT_OF_RANGE,
                word.span,
                "'balance random': the number of draws must be at least 1",
            )
            .label("draws so many servers")
            .fix(word.span, "random(2)"),
        )),
    }
}

fn refused(word: &Word, name: &str) -> Box<Diagnostic> {
    let known = known::KNOWN
        .iter()
        .filter(|group| group.kind == "balance algorithm");
    let is_known = known
        .flat_map(|group| group.names)
        .any(|known| *known == name);
    if is_known && !BUILT.contains(&name) {
        return Box::new(
            Diagnostic::error(
                &codes::NOT_BUILT,
                word.span,
                format!("'balance {name}' is known, but not built yet"),
            )
            .label("Evenkeel does not do this yet")
            .help(format!("one of these works: {}", BUILT.join(", "))),
        );
    }
    let mut diagnostic = Diagnostic::error(
        &codes::BAD_VALUE,
        word.span,
        format!("'balance' does not know the algorithm '{}'", word.text()),
    )
    .label("no algorithm of that name");
    diagnostic = match suggest::nearest(name, BUILT.iter().copied()) {
        Some(near) => diagnostic
            .help(format!("did you mean '{near}'?"))
            .fix(word.span, near),
        None => diagnostic.help(format!("one of these works: {}", BUILT.join(", "))),
    };
    Box::new(diagnostic)
}

#[cfg(test)]
mod tests {
    use crate::config::Balance;
    use crate::keyword::testing::{backend, codes_of};

    #[test]
    fn every_built_algorithm_is_understood() {
        for (line, want) in [
            ("balance", Balance::RoundRobin),
            ("balance roundrobin", Balance::RoundRobin),
            ("balance static-rr", Balance::StaticRoundRobin),
            ("balance leastconn", Balance::LeastConnections),
            ("balance first", Balance::First),
            ("balance source", Balance::Source),
            ("balance random", Balance::Random(2)),
            ("balance random(5)", Balance::Random(5)),
        ] {
            assert_eq!(backend(line).balance, want, "{line}");
        }
    }

    #[test]
    fn others_are_refused_by_what_they_are() {
        assert_eq!(codes_of("balance url_param user"), ["E0103"]);
        assert_eq!(codes_of("balance hdr(host)"), ["E0103"]);
        assert_eq!(codes_of("balance random(0)"), ["E0204"]);
        assert_eq!(codes_of("balance oundrobin"), ["E0207"]);
        assert_eq!(codes_of("balance roundrobin now"), ["E0202"]);
    }
}
