//! The formats that options name: `option httplog`, `option tcplog`. They are
//! written in the language of formats and compiled once.

use super::{Dialect, Format, parse};
use crate::rules::argument::Piece as Source;
use std::sync::{Arc, OnceLock};

/// A format that an option names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuiltIn {
    /// `option httplog`
    Http,
    /// `option httplog clf`
    Clf,
    /// `option tcplog`
    Tcp,
}

const HTTP: &[u8] = b"%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc \
    %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r";
const CLF: &[u8] = b"%{+Q}o %{-Q}ci - - [%trg] %r %ST %B \"\" \"\" %cp %ms %ft %b %s \
    %TR %Tw %Tc %Tr %Ta %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS %hrl %hsl";
const TCP: &[u8] = b"%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";

/// The compiled format.
pub fn built_in(which: BuiltIn) -> Arc<Format> {
    static FORMATS: OnceLock<[Arc<Format>; 3]> = OnceLock::new();
    let formats = FORMATS.get_or_init(|| [HTTP, CLF, TCP].map(|text| Arc::new(compile(text))));
    formats[which as usize].clone()
}

fn compile(text: &'static [u8]) -> Format {
    let source = Source::built_in(text);
    let none = &mut |_| {
        Err(Box::new(language::Diagnostic::global(
            &crate::rules::action::codes::FORMAT_SYNTAX,
            language::Severity::Error,
            "built-in formats hold no expressions",
        )))
    };
    // The texts above are right; a test compiles them.
    let pieces = parse::pieces(&source, Dialect::Log, &mut Vec::new(), none).unwrap_or_default();
    Format {
        pieces,
        dialect: Dialect::Log,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_formats_compile() {
        for which in [BuiltIn::Http, BuiltIn::Clf, BuiltIn::Tcp] {
            assert!(built_in(which).pieces.len() > 10, "{which:?}");
        }
    }
}
