//! Collects the keywords of all parts: their documentation, and the words by which secrets are
//! masked.

use crate::nodes;
use crate::part::ConfigurationPart;
use language::difference::Vocabulary;
use language::keyword::Documented;

/// Returns the documented keywords of these parts, those of the last part first, and `on` at the
/// end.
pub fn documented(parts: &[&'static ConfigurationPart]) -> Vec<Documented> {
    let documented = parts.iter().rev().flat_map(|part| (part.documented)());
    documented.chain([nodes::DOCUMENTED]).collect()
}

fn names(part: &'static ConfigurationPart) -> impl Iterator<Item = &'static str> {
    part.sections.names.iter().map(|(name, _)| *name)
}

/// Returns the words by which texts with sections of these parts are masked.
pub fn vocabulary(parts: &[&'static ConfigurationPart]) -> Vocabulary<'static> {
    let mut secrets: Vec<&str> = parts
        .iter()
        .flat_map(|part| part.sections.secrets.iter().copied())
        .collect();
    let rows = documented(parts);
    let mut sections: Vec<&str> = parts.iter().flat_map(|part| names(part)).collect();
    sections.sort_unstable();
    secrets.extend(rows.iter().flat_map(|row| before_secrets(row.syntax)));
    secrets.sort_unstable();
    secrets.dedup();
    let runs = |row: &&Documented| {
        let rest = row.syntax.strip_prefix(row.name).unwrap_or_default();
        let rest = rest.trim_start();
        PROGRAMS.iter().any(|name| rest.starts_with(name)) && !row.name.contains(' ')
    };
    let mut keywords: Vec<&str> = rows.iter().flat_map(literals).collect();
    keywords.extend(&sections);
    keywords.extend(["if", "unless", "or"]);
    keywords.sort_unstable();
    keywords.dedup();
    Vocabulary {
        words: keywords,
        sections,
        shared: parts
            .iter()
            .flat_map(|part| part.sections.shared.iter().copied())
            .collect(),
        secrets,
        programs: rows.iter().filter(runs).map(|row| row.name).collect(),
        ..Vocabulary::default()
    }
}

const SECRETS: [&str; 6] = [
    "<password>",
    "<passphrase>",
    "<secret>",
    "<base32>",
    "<arguments>",
    "<user>:<password>",
];
const PROGRAMS: [&str; 2] = ["<program>", "<script>"];

fn literals(row: &Documented) -> impl Iterator<Item = &'static str> + use<> {
    let of_syntax = row.syntax.split('<').enumerate();
    let of_syntax = of_syntax.filter_map(|(at, part)| match at {
        0 => Some(part),
        _ => part.split_once('>').map(|(_, behind)| behind),
    });
    let separators = |c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c);
    let words = of_syntax.chain([row.name]);
    words.flat_map(move |part| part.split(separators).filter(|word| !word.is_empty()))
}

fn before_secrets(syntax: &str) -> impl Iterator<Item = &str> {
    let words: Vec<&str> = syntax
        .split([' ', '[', ']', '(', ')', '{', '}', '|'])
        .filter(|word| !word.is_empty())
        .collect();
    let pairs: Vec<(&str, &str)> = words.windows(2).map(|two| (two[0], two[1])).collect();
    let secret = pairs
        .into_iter()
        .filter(|(before, word)| SECRETS.contains(word) && !before.starts_with('<'));
    secret.map(|(before, _)| before)
}
