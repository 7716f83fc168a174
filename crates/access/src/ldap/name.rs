//! Names, as users type them.

/// Bytes of a name.
const NAME_MAX: usize = 128;

/// A name that somebody typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// As it was typed, without spaces around it.
    pub typed: String,
    /// In lower case, and without its domain: `EXAMPLE\Anna` and `anna@example.org` are `anna`.
    pub short: String,
}

impl Asked {
    /// The name of a text. None: it is none.
    pub fn read(text: &str) -> Option<Asked> {
        let typed = text.trim();
        let name = typed.rsplit('\\').next().unwrap_or_default();
        let short = name.split('@').next().unwrap_or_default();
        let short = short.trim().to_lowercase();
        let fits = !short.is_empty() && typed.len() <= NAME_MAX && short.len() <= NAME_MAX;
        let fits = fits && !typed.chars().any(char::is_control);
        fits.then(|| Asked {
            typed: typed.to_owned(),
            short,
        })
    }
}
