//! Reports lines whose keyword is in no table, with suggestions.

use crate::context::Context;
use language::keyword::Table;
use language::{Code, ConfigLine, Diagnostic, suggest};

/// The no-break space, which looks like a space and separates no words.
const NO_BREAK_SPACE: char = '\u{a0}';

#[derive(Debug)]
pub struct Unknown<'l> {
    pub line: &'l ConfigLine,
    /// Number of words before the keyword, such as `no`.
    pub skip: usize,
    pub section: &'l str,
    pub code: &'static Code,
    pub missing: &'static Code,
}

impl Unknown<'_> {
    /// Returns the error about the line, with the keyword or section that was probably intended.
    /// `elsewhere` returns the keyword of other sections that resembles a word, and these
    /// sections.
    pub fn unknown_keyword_error<B: 'static>(
        &self,
        table: &Table<B>,
        context: &Context,
        elsewhere: impl Fn(&str) -> Option<(&'static str, Vec<&'static str>)>,
    ) -> (Diagnostic, Option<String>) {
        let word = &self.line.words[self.skip];
        let (place, text) = (self.section, word.text());
        let mut names: Vec<&str> = table.names_in(place).collect();
        names.extend(context.line_words_of_other_parts(place));
        names.sort_unstable();
        // Collects the keywords that begin with this word: then the misspelt word is the second one
        // (`option httplgo`).
        let second = |name: &&'static str| name.strip_prefix(word.str())?.strip_prefix(' ');
        let family: Vec<&str> = table.names_in(place).filter_map(|n| second(&n)).collect();
        if !family.is_empty() {
            return (self.second(family), None);
        }
        let told = format!("unknown keyword '{text}' in '{place}' section");
        let told = Diagnostic::error(self.code, word.span, told);
        if matches!(&*text, "if" | "unless") {
            let told = told.label("a condition must be on the line of its rule");
            return (told.help("join this line with the one above"), None);
        }
        if text.contains(NO_BREAK_SPACE) {
            let told = told.label("contains a no-break space, which does not separate words");
            let spaced = text.replace(NO_BREAK_SPACE, " ");
            let told = told.help("use ordinary spaces");
            return (told.fix(word.span, spaced), None);
        }
        let two = self.line.word(self.skip + 1).and_then(|next| {
            let of_two = names.iter().copied().filter(|n| n.contains(' '));
            let near = suggest::nearest(&format!("{text} {}", next.text()), of_two)?;
            Some((near, next))
        });
        if let Some((near, next)) = two {
            let told = told.did_you_mean(word.span.to(next.span), Some(near));
            return (told, Some(near.to_owned()));
        }
        if let Some(near) =
            suggest::nearest(&text, names.iter().copied().chain(context.words.names()))
        {
            return (
                told.did_you_mean(word.span, Some(near)),
                Some(near.to_owned()),
            );
        }
        let told = match elsewhere(&text) {
            Some((name, places)) if name == text => told.help(format!(
                "it belongs into a `{}` section",
                places.join("` or `")
            )),
            Some((name, places)) => told
                .help(format!("did you mean '{name}'?"))
                .note(format!("allowed in: {}", places.join(", "))),
            None => told,
        };
        (told, None)
    }

    /// Returns the error for a known first word with an unknown second word.
    fn second(&self, mut choices: Vec<&str>) -> Diagnostic {
        choices.sort_unstable();
        let (word, place) = (&self.line.words[self.skip], self.section);
        let first = word.text();
        let Some(next) = self.line.word(self.skip + 1) else {
            let told = format!("'{first}' is an incomplete keyword");
            return Diagnostic::error(self.missing, self.line.end(), told)
                .label("a word is missing")
                .note(format!("possible continuations: {}", choices.join(", ")));
        };
        let told = match &*first {
            "option" => format!("unknown option '{}' in '{place}' section", next.text()),
            first => format!(
                "unknown keyword '{first} {}' in '{place}' section",
                next.text()
            ),
        };
        let told = Diagnostic::error(self.code, next.span, told);
        match suggest::nearest(&next.text(), choices.iter().copied()) {
            Some(near) => told
                .help(format!("did you mean '{first} {near}'?"))
                .fix(next.span, near),
            None => told.note(format!(
                "valid words after '{first}': {}",
                choices.join(", ")
            )),
        }
    }
}
