//! Evaluates the conditions of `.if`, `.elif` and `-cc`: numbers, predicates, `!`, `&&`, `||` and
//! parentheses. A condition tests variables and facts about Evenkeel ([`Facts`]), never the system.

use super::facts::{Facts, HaproxyVersion};
use super::fault::FaultKind;
use super::lex::{Lexer, Scope};
use crate::environment::Environment;
use crate::source::FileId;
use crate::suggest;

pub const CONDITION_DEPTH_MAX: usize = 256;

/// The reason why a condition cannot be evaluated, and the position in its text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{kind}")]
pub struct ConditionError {
    pub kind: ConditionErrorKind,
    /// The byte offset of the error in the text (after quotes and variables).
    pub at: usize,
}

/// The kinds of errors in a condition.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConditionErrorKind {
    /// The expression begins with neither a number nor a predicate nor a parenthesis.
    #[error("unparsable conditional expression '{rest}'")]
    Unparsable { rest: String },
    #[error("unexpected character '{character}' at the end of conditional expression '{text}'")]
    Trailing { character: char, text: String },
    /// A parenthesis without its partner.
    #[error("expected ')' after conditional expression '{rest}'")]
    Parenthesis { rest: String },
    #[error("expected ')' after the arguments of predicate '{predicate}'")]
    UnclosedArguments { predicate: &'static str },
    #[error("missing arguments (got {got}/{needed}) of predicate '{predicate}'")]
    MissingArguments {
        predicate: &'static str,
        got: usize,
        needed: usize,
    },
    #[error("expected ')' before '{rest}' in predicate '{predicate}'")]
    ExtraArguments {
        predicate: &'static str,
        rest: String,
    },
    /// More than [`CONDITION_DEPTH_MAX`] nested parentheses and negations.
    #[error("more than {CONDITION_DEPTH_MAX} nested parentheses and negations")]
    TooDeep,
    /// The text has a lexical error (only for `-cc`; in a file it is reported earlier).
    #[error(transparent)]
    Lexical(#[from] FaultKind),
}

impl ConditionError {
    pub fn help(&self) -> Option<String> {
        match &self.kind {
            ConditionErrorKind::Unparsable { rest } => {
                let length = rest
                    .bytes()
                    .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
                    .count();
                let names = PREDICATES.iter().map(|p| p.name);
                suggest::nearest(&rest[..length], names)
                    .map(|name| format!("did you mean '{name}'?"))
            }
            ConditionErrorKind::ExtraArguments { .. } => {
                Some("escape quotes that protect a comma: \\'a,b\\'".to_owned())
            }
            ConditionErrorKind::Trailing { character: '(', .. } => {
                Some("remove the space between the predicate and its parenthesis".to_owned())
            }
            ConditionErrorKind::Trailing {
                character: '&' | '|' | '=',
                ..
            } => Some(
                "combine with '&&' and '||', compare with streq(a,b) and strneq(a,b)".to_owned(),
            ),
            _ => None,
        }
    }
}

/// The data that predicates evaluate.
struct Context<'a> {
    facts: &'a Facts,
    env: &'a Environment,
}

struct Predicate {
    name: &'static str,
    /// Number of arguments; a predicate with one argument may have none, which counts as an empty
    /// one.
    arguments: usize,
    holds: fn(&Context<'_>, &[Vec<u8>]) -> bool,
}

static PREDICATES: &[Predicate] = &[
    Predicate {
        name: "awslc_api_atleast",
        arguments: 1,
        holds: |c, a| {
            c.facts
                .awslc_api
                .is_some_and(|own| number(&a[0]).is_none_or(|n| own >= n))
        },
    },
    Predicate {
        name: "awslc_api_before",
        arguments: 1,
        holds: |c, a| {
            c.facts
                .awslc_api
                .is_some_and(|own| number(&a[0]).is_some_and(|n| own < n))
        },
    },
    Predicate {
        name: "defined",
        arguments: 1,
        holds: |c, a| std::str::from_utf8(&a[0]).is_ok_and(|name| c.env.get(name).is_some()),
    },
    Predicate {
        name: "enabled",
        arguments: 1,
        holds: |c, a| std::str::from_utf8(&a[0]).is_ok_and(|name| c.facts.enabled.contains(name)),
    },
    Predicate {
        name: "feature",
        arguments: 1,
        // Returns true for an empty name, as HAProxy does.
        holds: |c, a| {
            std::str::from_utf8(&a[0])
                .is_ok_and(|name| name.is_empty() || c.facts.features.contains(name))
        },
    },
    Predicate {
        name: "openssl_version_atleast",
        arguments: 1,
        holds: |c, a| openssl(c, &a[0]).is_some_and(|(own, other)| own >= other),
    },
    Predicate {
        name: "openssl_version_before",
        arguments: 1,
        holds: |c, a| openssl(c, &a[0]).is_some_and(|(own, other)| own < other),
    },
    Predicate {
        name: "ssllib_name_startswith",
        arguments: 1,
        holds: |c, a| c.facts.tls_library.as_bytes().starts_with(&a[0]),
    },
    Predicate {
        name: "streq",
        arguments: 2,
        holds: |_, a| a[0] == a[1],
    },
    Predicate {
        name: "strneq",
        arguments: 2,
        holds: |_, a| a[0] != a[1],
    },
    Predicate {
        name: "strstr",
        arguments: 2,
        holds: |_, a| a[1].is_empty() || a[0].windows(a[1].len()).any(|w| w == a[1]),
    },
    Predicate {
        name: "version_atleast",
        arguments: 1,
        // Compares version numbers; an invalid one counts as older than every other one.
        holds: |c, a| version(&c.facts.version) >= version_of(&a[0]),
    },
    Predicate {
        name: "version_before",
        arguments: 1,
        holds: |c, a| version(&c.facts.version) < version_of(&a[0]),
    },
];

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn version(text: &str) -> Option<HaproxyVersion> {
    HaproxyVersion::haproxy(text)
}

fn version_of(text: &[u8]) -> Option<HaproxyVersion> {
    version(std::str::from_utf8(text).unwrap_or("").trim())
}

fn openssl(context: &Context<'_>, other: &[u8]) -> Option<(HaproxyVersion, HaproxyVersion)> {
    let own = HaproxyVersion::openssl(context.facts.openssl_version.as_deref()?)?;
    Some((
        own,
        HaproxyVersion::openssl(std::str::from_utf8(other).ok()?.trim())?,
    ))
}

/// Evaluates a condition of the command line (`-cc`): with quotes, escapes and variables, without
/// comments. An empty condition is false.
///
/// # Errors
/// The condition cannot be parsed.
pub fn evaluate_condition(
    text: &str,
    facts: &Facts,
    env: &Environment,
) -> Result<bool, ConditionError> {
    let scope = Scope {
        env,
        file_name: "",
        line_number: 0,
        section: "",
    };
    let mut lexer = Lexer::new(text.as_bytes(), FileId(0), 0, &scope);
    lexer.comments = false;
    lexer.run();
    if let Some(fault) = lexer.faults.iter().find(|f| f.kind.is_error()) {
        return Err(ConditionError {
            kind: ConditionErrorKind::Lexical(fault.kind),
            at: fault.span.start as usize,
        });
    }
    if lexer.words.is_empty() && !text.is_empty() && text.trim().is_empty() {
        return Err(ConditionError {
            kind: ConditionErrorKind::Unparsable {
                rest: text.to_owned(),
            },
            at: 0,
        });
    }
    let words: Vec<&[u8]> = lexer.words.iter().map(|w| w.bytes.as_slice()).collect();
    evaluate(&words.join(&b' '), facts, env)
}

/// Evaluates a condition whose quotes and variables are resolved.
pub(super) fn evaluate(
    text: &[u8],
    facts: &Facts,
    env: &Environment,
) -> Result<bool, ConditionError> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        context: Context { facts, env },
    };
    parser.spaces();
    if parser.at == text.len() {
        return Ok(false);
    }
    let value = parser.any()?;
    parser.spaces();
    match text.get(parser.at) {
        None => Ok(value),
        Some(_) => Err(parser.error(
            parser.at,
            ConditionErrorKind::Trailing {
                character: parser.rest(parser.at).chars().next().unwrap_or(' '),
                text: parser.rest(0),
            },
        )),
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    context: Context<'a>,
}

type Evaluated = Result<bool, ConditionError>;

impl Parser<'_> {
    fn error(&self, at: usize, kind: ConditionErrorKind) -> ConditionError {
        ConditionError { kind, at }
    }

    fn rest(&self, at: usize) -> String {
        String::from_utf8_lossy(self.text.get(at..).unwrap_or_default()).into_owned()
    }

    fn spaces(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn consume_operator(&mut self, operator: &[u8]) -> bool {
        let before = self.at;
        self.spaces();
        let found = self.text[self.at..].starts_with(operator);
        self.at = if found {
            self.at + operator.len()
        } else {
            before
        };
        found
    }

    /// Evaluates alternatives joined by `||`. Both sides are always parsed, so that an error in the
    /// second one is reported whatever the first one is.
    fn any(&mut self) -> Evaluated {
        let mut value = self.all()?;
        while self.consume_operator(b"||") {
            let next = self.all()?;
            value |= next;
        }
        Ok(value)
    }

    fn all(&mut self) -> Evaluated {
        let mut value = self.element()?;
        while self.consume_operator(b"&&") {
            let next = self.element()?;
            value &= next;
        }
        Ok(value)
    }

    fn element(&mut self) -> Evaluated {
        self.spaces();
        let start = self.at;
        match self.text.get(start) {
            Some(b'!' | b'(') if self.depth >= CONDITION_DEPTH_MAX => {
                Err(self.error(start, ConditionErrorKind::TooDeep))
            }
            Some(b'!') => {
                self.at += 1;
                self.depth += 1;
                let value = self.element()?;
                self.depth -= 1;
                Ok(!value)
            }
            Some(b'(') => {
                self.at += 1;
                self.depth += 1;
                let value = self.any()?;
                self.depth -= 1;
                if self.consume_operator(b")") {
                    Ok(value)
                } else {
                    let rest = self.rest(start);
                    Err(self.error(start, ConditionErrorKind::Parenthesis { rest }))
                }
            }
            Some(b'0'..=b'9' | b'+' | b'-') => self.number(start),
            _ => self.predicate(start),
        }
    }

    fn number(&mut self, start: usize) -> Evaluated {
        let signed = matches!(self.text[start], b'+' | b'-');
        let digits = &self.text[start + usize::from(signed)..];
        if let Some(hexadecimal) = digits.strip_prefix(b"0x") {
            let length = hexadecimal
                .iter()
                .take_while(|b| b.is_ascii_hexdigit())
                .count();
            if length > 0 {
                self.at = start + usize::from(signed) + 2 + length;
                return Ok(hexadecimal[..length].iter().any(|b| *b != b'0'));
            }
        }
        let length = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        if length == 0 {
            return Err(self.unparsable(start));
        }
        self.at = start + usize::from(signed) + length;
        Ok(digits[..length].iter().any(|b| *b != b'0'))
    }

    fn unparsable(&self, at: usize) -> ConditionError {
        let rest = self.rest(at);
        self.error(at, ConditionErrorKind::Unparsable { rest })
    }

    fn predicate(&mut self, start: usize) -> Evaluated {
        let length = self.text[start..]
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
            .count();
        let name = &self.text[start..start + length];
        let found = PREDICATES.iter().find(|p| p.name.as_bytes() == name);
        let Some(predicate) = found else {
            return Err(self.unparsable(start));
        };
        self.at = start + length;
        let mut arguments = Vec::new();
        if self.text.get(self.at) == Some(&b'(') {
            self.at += 1;
            self.arguments(predicate, &mut arguments)?;
        }
        let got = arguments.len();
        let needed = predicate.arguments;
        if needed == 1 && got == 0 {
            arguments.push(Vec::new());
        } else if got < needed {
            return Err(self.error(
                self.at.saturating_sub(1).max(start),
                ConditionErrorKind::MissingArguments {
                    predicate: predicate.name,
                    got,
                    needed,
                },
            ));
        }
        Ok((predicate.holds)(&self.context, &arguments))
    }

    /// Parses arguments up to the closing parenthesis. White space in them is significant.
    fn arguments(
        &mut self,
        predicate: &Predicate,
        arguments: &mut Vec<Vec<u8>>,
    ) -> Result<(), ConditionError> {
        let mut current = Vec::new();
        let mut quote = None;
        let first = self.at;
        while let Some(&byte) = self.text.get(self.at) {
            self.at += 1;
            match (quote, byte) {
                (Some(open), _) if open == byte => quote = None,
                (None, b'"' | b'\'') => quote = Some(byte),
                (None | Some(b'"'), b'\\') => {
                    let next = self.text.get(self.at).copied();
                    match next.filter(|b| matches!(b, b'\\' | b'"' | b'\'' | b' ')) {
                        Some(escaped) => {
                            current.push(escaped);
                            self.at += 1;
                        }
                        None => current.push(byte),
                    }
                }
                (None, b',') if arguments.len() + 1 >= predicate.arguments => {
                    let rest = self.rest(self.at - 1);
                    let predicate = predicate.name;
                    let kind = ConditionErrorKind::ExtraArguments { predicate, rest };
                    return Err(self.error(self.at - 1, kind));
                }
                (None, b',') => arguments.push(std::mem::take(&mut current)),
                (None, b')') => {
                    // Empty parentheses contain one empty argument, or none.
                    if self.at - 1 > first || predicate.arguments == 1 {
                        arguments.push(current);
                    }
                    return Ok(());
                }
                _ => current.push(byte),
            }
        }
        let predicate = predicate.name;
        Err(self.error(self.at, ConditionErrorKind::UnclosedArguments { predicate }))
    }
}
