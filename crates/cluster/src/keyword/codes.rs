//! Codes of what is wrong with a `config` section.

use language::Code;
use language::arguments::ArgumentCodes;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $title:literal, $text:literal;)*) => {
        $($(#[$doc])* #[doc = $title] pub static $name: Code = Code { id: $id, title: $title, explanation: $text };)*
        /// All of them.
        pub static CODES: &[&Code] = &[$(&$name),*];
    };
}

/// Those of words that are missing, too many, or no such value.
pub(super) static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes {
    missing: &ARGUMENTS,
    surplus: &ARGUMENTS,
    number: &VALUE,
    range: &VALUE,
    time: &VALUE,
    size: &VALUE,
    value: &VALUE,
    lenient: None,
};

codes! {
    UNKNOWN_KEYWORD = "E0670", "unknown keyword of a config section",
        "The first word of a line is no keyword of a `config` section. The nearest names are shown; `evenkeel keyword config` lists \
         all of them.";
    ARGUMENTS = "E0671", "too few or too many words in a config section",
        "The keyword needs one more word, or takes fewer than stand on the line. Its syntax line is shown; `evenkeel keyword NAME` \
         explains it.";
    VALUE = "E0672", "value of a config section not understood",
        "A word is none that the keyword takes: no time, a number outside of its range, no address of a repository. A time is a whole \
         number and a unit: `30s`, `5m`.";
    TWICE = "E0673", "given twice in a config section",
        "There is one `config` section, and each of its keywords but `follow` may be given once: it holds for the whole cluster.";
    REPOSITORY = "E0674", "repository that cannot be followed",
        "The address of a repository is `https://…`, `ssh://…`, `git://…` (git only), `user@host:path`, `file:///…` or an absolute \
         path. Passwords do not belong into it: give the nodes a key for ssh, or a token in the credentials of the account that \
         the role runs as. Other ways of transport are refused, because some of them run commands.";
    OVERLAP = "E0675", "two repositories for the same files",
        "Of two repositories that are followed, one is put where the files of the other are, so that each would undo what the other \
         says. Give each its own directory with `as`.";
    SIGNATURE = "E0676", "signatures that cannot be required",
        "Mercurial keeps a signature in a later change than the one that it signs, so the newest revision is never signed. Require \
         signatures of a git repository, or let only those whom you trust push to the Mercurial one.";
}
