//! Parses the name of a user as typed at the sign-in, and shortens it: lower case, without the
//! domain.

const NAME_MAX: usize = 128;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypedName {
    pub typed: String,
    /// Name in lower case, without its domain: `EXAMPLE\Anna` and `anna@example.org` become `anna`.
    pub short: String,
}

impl TypedName {
    /// Reads a name. None if it is invalid.
    pub fn parse_name(text: &str) -> Option<TypedName> {
        let typed = text.trim();
        let name = typed.rsplit('\\').next().unwrap_or_default();
        let short = name.split('@').next().unwrap_or_default();
        let short = short.trim().to_lowercase();
        let fits = !short.is_empty() && typed.len() <= NAME_MAX && short.len() <= NAME_MAX;
        let fits = fits && !typed.chars().any(char::is_control);
        fits.then(|| TypedName {
            typed: typed.to_owned(),
            short,
        })
    }
}
