//! Where the language takes any word: the only places in which a word that
//! nobody knows may pass in silence. Each has its reason.

/// A keyword, the first of the words behind it that are free, the last (or
/// `MANY`), and what they are.
type Free = (&'static str, usize, usize, &'static str);

/// All words up to the end of the line.
const MANY: usize = usize::MAX;

/// The places.
const FREE: &[Free] = &[
];

/// Why a word at this place (counted with the keyword's own words, from 0) of a
/// line may be any; None where it may not.
pub fn reason(words: &[&str], at: usize) -> Option<&'static str> {
    let skip = usize::from(words.first().is_some_and(|word| ["no", "default"].contains(word)));
    FREE.iter().find_map(|(keyword, first, last, why)| {
        let of: Vec<&str> = keyword.split(' ').collect();
        let behind = words.get(skip..).is_some_and(|words| words.starts_with(&of));
        let n = (at + 1).checked_sub(skip + of.len())?;
        (behind && (*first..=*last).contains(&n)).then_some(*why)
    })
}
