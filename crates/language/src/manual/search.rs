//! Searches the manual: finds names, texts and examples of keywords by words and synonyms, and
//! corrects typing errors.

use super::html::first_sentence;
use super::reference::{Chapter, Entry, Material};
use crate::suggest;
use std::collections::BTreeSet;

/// A synonym, and the names of its keywords.
pub type Phrase = (&'static str, &'static [&'static str]);

const MOST: usize = 40;
const EMPTY_WORDS: &[&str] = &[
    "a", "an", "and", "by", "for", "from", "how", "in", "is", "of", "on", "the", "to", "with",
];
/// Minimum length of a word that is corrected, because too many words are similar to shorter ones.
const CORRECTED_MIN: usize = 4;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hit {
    pub name: &'static str,
    pub chapter: String,
    pub text: String,
}

/// The result of a search.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchResult {
    pub hits: Vec<Hit>,
    /// The corrected words, if the search used others than requested.
    pub corrected: Option<String>,
    /// No entry contains all words; the results contain most of them.
    pub partial: bool,
}

/// An entry with its words in lower case.
struct Item {
    name: &'static str,
    lower: String,
    chapter: String,
    title: String,
    body: String,
    text: String,
}

/// Finds keywords and codes. All words have to be in the name, the chapter, the text or the
/// example. If no entry has them all, the words are corrected; if that does not help either,
/// entries with as many words as possible are returned, at least half of them.
pub fn search(material: &Material<'_>, words: &[&str]) -> SearchResult {
    let wanted = wanted(words);
    if wanted.is_empty() {
        return SearchResult::default();
    }
    let items = items(material);
    let mut hits = hits(&items, material.phrases, &wanted, wanted.len());
    // Puts names that equal the words in upper and lower case first: `sH` and `SH` are two
    // termination states.
    let whole = words.join(" ");
    hits.sort_by_key(|hit| hit.name != whole);
    if !hits.is_empty() {
        return SearchResult {
            hits,
            ..SearchResult::default()
        };
    }
    let better = corrected(&items, material.phrases, &wanted);
    let corrected = (better != wanted).then(|| better.join(" "));
    let half = better.len().div_ceil(2);
    for least in (half..=better.len()).rev() {
        let hits = self::hits(&items, material.phrases, &better, least);
        if !hits.is_empty() {
            return SearchResult {
                hits,
                corrected,
                partial: least < better.len(),
            };
        }
    }
    SearchResult::default()
}

fn wanted(words: &[&str]) -> Vec<String> {
    let all = words.iter().flat_map(|word| word.split_whitespace());
    let mut wanted: Vec<String> = all.map(str::to_lowercase).collect();
    if wanted.len() > 1 {
        wanted.retain(|word| !EMPTY_WORDS.contains(&word.as_str()));
    }
    wanted
}

fn items(material: &Material<'_>) -> Vec<Item> {
    let mut items = Vec::new();
    for chapter in material.chapters() {
        items.extend(chapter.entries.iter().map(|entry| item(&chapter, entry)));
    }
    items.extend(material.codes.iter().map(|code| Item {
        name: code.id,
        lower: code.id.to_lowercase(),
        chapter: "codes".to_owned(),
        title: String::new(),
        body: format!("{} {}", code.title, code.explanation).to_lowercase(),
        text: code.title.to_owned(),
    }));
    items
}

fn item(chapter: &Chapter<'_>, entry: &Entry<'_>) -> Item {
    let first = entry.rows[0];
    let body = format!("{} {} {}", first.doc, first.syntax, first.example);
    Item {
        name: entry.name,
        lower: entry.name.to_lowercase(),
        chapter: chapter.slug.clone(),
        title: chapter.title.to_lowercase(),
        body: body.to_lowercase(),
        text: first_sentence(first.doc),
    }
}

fn singular(word: &str) -> &str {
    match word.strip_suffix('s') {
        Some(stem) if stem.len() >= CORRECTED_MIN && !stem.ends_with('s') => stem,
        _ => word,
    }
}

fn contains_phrase(phrase: &str, wanted: &[String]) -> bool {
    phrase
        .split(' ')
        .all(|word| wanted.iter().any(|asked| singular(asked) == singular(word)))
}

/// Returns the number of words that an entry contains, and the quality of the match.
fn rank(item: &Item, wanted: &[String]) -> (usize, u32) {
    let whole = wanted.join(" ");
    if item.lower == whole {
        return (wanted.len(), 10_000);
    }
    let mut rank = if item.lower.starts_with(&whole) {
        500
    } else {
        0
    };
    let mut had = 0;
    for word in wanted {
        let word = singular(word);
        let is_whole = |part: &str| singular(part) == word;
        let parts = |text: &str| text.split([' ', '-', '_', '.']).any(is_whole);
        let one = if parts(&item.lower) {
            100
        } else if item.lower.contains(word) {
            60
        } else if item.title.contains(word) {
            30
        } else if item.body.contains(word) {
            10
        } else {
            continue;
        };
        had += 1;
        rank += one;
    }
    (had, rank)
}

fn hits(items: &[Item], phrases: &[Phrase], wanted: &[String], least: usize) -> Vec<Hit> {
    // Sorts the matching phrases by their number of words, the longest one first.
    let mut meant: Vec<&Phrase> = phrases
        .iter()
        .filter(|(phrase, _)| contains_phrase(phrase, wanted))
        .collect();
    meant.sort_by_key(|(phrase, _)| std::cmp::Reverse(phrase.split(' ').count()));
    let first: Vec<&str> = meant
        .iter()
        .flat_map(|(_, names)| names.iter().copied())
        .collect();
    let pinned = |item: &Item| {
        let at = first.iter().position(|name| *name == item.name)?;
        Some(5_000_u32.saturating_sub(at as u32))
    };
    let mut found: Vec<(u32, &Item)> = items
        .iter()
        .filter_map(|item| {
            let (had, rank) = rank(item, wanted);
            let rank = (had >= least).then_some(rank).max(pinned(item))?;
            Some((rank, item))
        })
        .collect();
    found.sort_by_key(|(rank, item)| (std::cmp::Reverse(*rank), item.lower.len()));
    let of = |(_, item): &(u32, &Item)| Hit {
        name: item.name,
        chapter: item.chapter.clone(),
        text: item.text.clone(),
    };
    found.iter().take(MOST).map(of).collect()
}

fn nearest<'w>(word: &str, of: &BTreeSet<&'w str>) -> Option<&'w str> {
    let all: Vec<&str> = of
        .iter()
        .copied()
        .filter(|one| one.len() >= CORRECTED_MIN)
        .collect();
    let best = all
        .chunks(suggest::NAMES_MAX)
        .filter_map(|some| suggest::nearest(word, some.iter().copied()));
    suggest::nearest(word, best)
}

/// Returns the words, with unknown ones replaced by the nearest known word.
fn corrected(items: &[Item], phrases: &[Phrase], wanted: &[String]) -> Vec<String> {
    let mut known: BTreeSet<&str> = BTreeSet::new();
    let split = |text| str::split(text, |c: char| !c.is_ascii_alphanumeric());
    for item in items {
        known.extend(split(item.lower.as_str()));
        known.extend(split(item.title.as_str()));
    }
    let called: BTreeSet<&str> = phrases
        .iter()
        .flat_map(|(phrase, _)| phrase.split(' '))
        .collect();
    let mut rare: BTreeSet<&str> = BTreeSet::new();
    for item in items {
        rare.extend(split(item.body.as_str()));
    }
    let correct = |word: &String| {
        if word.len() < CORRECTED_MIN
            || known.contains(word.as_str())
            || called.contains(word.as_str())
        {
            return word.clone();
        }
        // Synonyms are more likely than names, and names more likely than words of texts.
        nearest(word, &called)
            .or_else(|| nearest(word, &known))
            // Compares only words with the same first letter: among so many, others are similar
            // only by chance.
            .or_else(|| {
                nearest(word, &rare).filter(|near| near.chars().next() == word.chars().next())
            })
            .map_or_else(|| word.clone(), str::to_owned)
    };
    wanted.iter().map(correct).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;
    use crate::keyword::Documented;

    fn row(name: &'static str, doc: &'static str, example: &'static str) -> Documented {
        Documented {
            kind: "keyword",
            name,
            family: "Persistence",
            places: &["defaults"],
            syntax: name,
            doc,
            example,
            built: true,
        }
    }

    fn names(words: &[&str]) -> (Vec<&'static str>, Option<String>) {
        let rows = [
            row(
                "cookie",
                "Keeps a client with its server. More.",
                "cookie SRV insert",
            ),
            row(
                "redirect",
                "Sends a client elsewhere.",
                "redirect scheme https code 301",
            ),
            row("timeout client", "Closes silent connections.", ""),
            row("balance", "Chooses a server.", "balance leastconn"),
        ];
        let material = Material {
            rows: &rows,
            differences: &[],
            codes: &[&codes::UNMATCHED_BRACE],
            phrases: &[("sticky session", &["cookie"]), ("sticky", &["balance"])],
        };
        let found = search(&material, words);
        (
            found.hits.iter().map(|hit| hit.name).collect(),
            found.corrected,
        )
    }

    #[test]
    fn names_come_before_texts_and_examples_are_searched() {
        assert_eq!(
            names(&["client"]).0,
            ["timeout client", "cookie", "redirect"]
        );
        assert_eq!(names(&["redirect", "https"]).0, ["redirect"]);
        assert_eq!(names(&["LEASTCONN"]).0, ["balance"]);
        assert_eq!(names(&["timeouts"]).0, ["timeout client"]);
        assert_eq!(names(&["persistence", "cookies"]).0, ["cookie"]);
        assert_eq!(
            names(&[codes::UNMATCHED_BRACE.id]).0,
            [codes::UNMATCHED_BRACE.id]
        );
        assert_eq!(names(&[]).0, Vec::<&str>::new());
    }

    #[test]
    fn what_people_call_a_thing_leads_to_it_the_longest_phrase_first() {
        assert_eq!(names(&["sticky"]).0, ["balance"]);
        assert_eq!(names(&["sticky sessions"]).0, ["cookie", "balance"]);
        assert_eq!(names(&["how", "to", "sticky"]).0, ["balance"]);
    }

    #[test]
    fn slips_of_the_finger_are_corrected_and_told() {
        let (found, told) = names(&["redirct"]);
        assert_eq!(
            (found, told.as_deref()),
            (vec!["redirect"], Some("redirect"))
        );
        let (found, told) = names(&["stikcy"]);
        assert_eq!((found, told.as_deref()), (vec!["balance"], Some("sticky")));
        let (found, told) = names(&["timeout", "clinet"]);
        assert_eq!(
            (found, told.as_deref()),
            (vec!["timeout client"], Some("timeout client"))
        );
        assert_eq!(names(&["qqqqqqq"]), (Vec::new(), None));
        // Among the words of all texts, one with another first letter is similar only by chance.
        assert_eq!(names(&["leastcnn"]).1.as_deref(), Some("leastconn"));
        assert_eq!(names(&["üleastconn"]), (Vec::new(), None));
    }

    #[test]
    fn where_nothing_has_all_words_most_of_them_will_do() {
        assert_eq!(names(&["redirect", "zzz", "code"]).0, ["redirect"]);
        assert_eq!(names(&["zzz", "balance", "yyy"]).0, Vec::<&str>::new());
    }
}
