//! Renders the texts for people that a process sends to another one: unchanged, or as noise in a
//! debug build on request, so that tests notice code that decides by a text.

use crate::fnv::fnv1a;
use std::borrow::Cow;

/// Name of the environment variable by which a debug build sends noise instead of texts.
#[cfg(debug_assertions)]
pub const NOISE: &str = "EVENKEEL_NOISE";

/// Returns a text in the form in which it is sent: unchanged, or as noise.
pub fn rendered(text: &str) -> Cow<'_, str> {
    if is_noisy() {
        Cow::Owned(noise(text))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(debug_assertions)]
pub(crate) fn is_noisy() -> bool {
    use std::sync::OnceLock;
    static IS_NOISY: OnceLock<bool> = OnceLock::new();
    *IS_NOISY.get_or_init(|| std::env::var_os(NOISE).is_some())
}

/// Returns whether texts become noise: never in a release build.
#[cfg(not(debug_assertions))]
pub(crate) fn is_noisy() -> bool {
    false
}

/// Returns noise of separators and letters, the same for equal texts, so that a command that prints
/// changes prints as many lines as without noise. An empty text stays empty.
pub(crate) fn noise(text: &str) -> String {
    const LETTERS: [&str; 16] = [
        "q", "z", "x", "k", ", ", ": ", " ", "-", "w", "v", "(", ")", "/", "j", "=", "y",
    ];
    if text.is_empty() {
        return String::new();
    }
    let hash = fnv1a(text.bytes());
    let letters = (0..16).map(|at| LETTERS[(hash >> (at * 4)) as usize % LETTERS.len()]);
    format!("q{}z", letters.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_contains_none_of_the_text() {
        assert_eq!(noise(""), "");
        let words = "not handed over: the other copy is not in sync";
        assert_eq!(noise(words), noise(words));
        assert_ne!(noise(words), noise("running"));
        for word in ["not", "handed", "copy"] {
            assert!(!noise(words).contains(word));
        }
    }
}
