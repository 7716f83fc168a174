//! Decides from the lines of a file whether a difference from HAProxy applies to it.

use crate::Span;

/// A line of a file, in its section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// The kind of the section: `backend`.
    pub section: String,
    /// The words, with quotes and variables resolved.
    pub words: Vec<String>,
    pub span: Span,
}

impl Statement {
    /// Returns whether the line begins with these words.
    pub fn starts_with_words(&self, words: &[&str]) -> bool {
        self.words.iter().zip(words).all(|(own, word)| own == word)
            && self.words.len() >= words.len()
    }

    pub fn starts_with_any(&self, ways: &[&[&str]]) -> bool {
        ways.iter().any(|way| self.starts_with_words(way))
    }

    /// Returns whether these words are in the line, in sequence.
    pub fn has(&self, words: &[&str]) -> bool {
        let mut windows = self.words.windows(words.len().max(1));
        windows.any(|window| window.iter().zip(words).all(|(own, word)| own == word))
    }

    /// Returns whether a word contains a name as a whole, not as a part of a longer name: a fetch,
    /// a converter, an entry of a list.
    pub fn names(&self, name: &str) -> bool {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        self.words.iter().any(|word| {
            word.match_indices(name).any(|(at, _)| {
                let before = word.as_bytes()[..at].last();
                let behind = word.as_bytes().get(at + name.len());
                !before.is_some_and(|byte| is_of_name(*byte))
                    && !behind.is_some_and(|byte| is_of_name(*byte))
            })
        })
    }

    pub fn contains_any_name(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.names(name))
    }
}

/// A test for lines of a certain kind.
pub type Is = fn(&Statement) -> bool;

/// The condition under which a difference applies to files.
#[derive(Clone, Copy, Debug)]
pub enum Applies {
    To(Is),
    /// The files have such lines, and also lines of the second kind.
    Beside(Is, Is),
    Without(Is),
    /// A proxy has `mode http`.
    ToHttp,
    /// The load reported a message that begins with this text.
    Told(&'static str),
}

/// The known facts about files.
#[derive(Clone, Debug, Default)]
pub struct LoadedFiles<'f> {
    pub statements: &'f [Statement],
    pub http: bool,
    pub messages: &'f [(String, Option<Span>)],
}

impl Applies {
    /// Returns the lines to which the difference applies, none for the files as a whole; `None` if
    /// it does not apply.
    pub fn applicable_lines(&self, files: &LoadedFiles<'_>) -> Option<Vec<Span>> {
        let lines = |is: &Is| -> Vec<Span> {
            let lines = files.statements.iter().filter(|line| is(line));
            lines.map(|line| line.span).collect()
        };
        let some = |lines: Vec<Span>| (!lines.is_empty()).then_some(lines);
        match self {
            Applies::To(is) => some(lines(is)),
            Applies::Beside(is, other) => some(lines(is)).filter(|_| !lines(other).is_empty()),
            Applies::Without(is) => lines(is).is_empty().then(Vec::new),
            Applies::ToHttp => files.http.then(Vec::new),
            Applies::Told(words) => {
                let told = files
                    .messages
                    .iter()
                    .filter(|(told, _)| told.starts_with(words));
                let places: Vec<Option<Span>> = told.map(|(_, place)| *place).collect();
                (!places.is_empty()).then(|| places.into_iter().flatten().collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileId;

    fn line(text: &str) -> Statement {
        Statement {
            section: "backend".to_owned(),
            words: text.split(' ').map(str::to_owned).collect(),
            span: Span {
                file: FileId(0),
                start: 0,
                end: text.len() as u32,
            },
        }
    }

    #[test]
    fn a_name_is_found_as_a_whole_and_wherever_it_stands() {
        let one = line("http-request set-header x %[req.hdr(a),word(2,:)] if { sc0_rate(t) gt 1 }");
        assert!(
            one.contains_any_name(&["nothing", "word"])
                && one.names("req.hdr")
                && one.names("sc0_rate")
        );
        for part in ["wor", "hdr", "rate", "sc0", "req.hdr(b"] {
            assert!(!one.names(part), "{part}");
        }
        assert!(
            one.starts_with_words(&["http-request", "set-header"])
                && !one.starts_with_words(&["set-header"])
        );
        assert!(one.has(&["if", "{"]) && !one.has(&["{", "if"]));
        assert!(!line("a").starts_with_words(&["a", "b"]));
    }

    #[test]
    fn a_difference_applies_to_lines_to_pairs_of_them_and_to_files() {
        let statements = [line("one x"), line("two"), line("one y")];
        let told = [("one is odd".to_owned(), None)];
        let files = LoadedFiles {
            statements: &statements,
            http: true,
            messages: &told,
        };
        let count = |applies: Applies| applies.applicable_lines(&files).map(|places| places.len());
        assert_eq!(
            count(Applies::To(|line| line.starts_with_words(&["one"]))),
            Some(2)
        );
        assert_eq!(
            count(Applies::To(|line| line.starts_with_words(&["three"]))),
            None
        );
        let beside = |other| Applies::Beside(|line| line.starts_with_words(&["two"]), other);
        assert_eq!(count(beside(|line| line.has(&["y"]))), Some(1));
        assert_eq!(count(beside(|line| line.has(&["z"]))), None);
        assert_eq!(count(Applies::Without(|line| line.has(&["z"]))), Some(0));
        assert_eq!(count(Applies::Without(|line| line.has(&["x"]))), None);
        assert_eq!(count(Applies::ToHttp), Some(0));
        assert_eq!(count(Applies::Told("one is")), Some(0));
        assert_eq!(count(Applies::Told("two is")), None);
        assert_eq!(
            Applies::ToHttp.applicable_lines(&LoadedFiles::default()),
            None
        );
    }
}
