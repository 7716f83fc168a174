//! Defines the codes of diagnostics about a `config` section.

use language::arguments::ArgumentCodes;

pub(super) static OF_ARGUMENTS: ArgumentCodes = ArgumentCodes::plain(&ARGUMENTS, &VALUE);

language::codes! {
    UNKNOWN_KEYWORD = "E0670", "unknown keyword of a config section",
        "The first word of the line is not a keyword of the `config` section. The nearest keywords are shown; \
         `evenkeel keyword config` lists all of them.";
    ARGUMENTS = "E0671", "wrong number of arguments in a config section",
        "The keyword needs another argument, or the line has too many. The message shows its syntax; `evenkeel \
         keyword NAME` explains it.";
    VALUE = "E0672", "invalid value in a config section",
        "The keyword does not accept this value: it is not a duration, is out of range, or is not a repository \
         address. A duration is a whole number and a unit: `30s`, `5m`.";
    TWICE = "E0673", "duplicate setting in a config section",
        "There is only one `config` section, for the whole cluster. Each of its keywords except `follow` appears once.";
    REPOSITORY = "E0674", "invalid repository address",
        "The address of a repository is `https://…`, `ssh://…`, `git://…` (git only), `user@host:path`, `file:///…` \
         or an absolute path. It must not contain a password or, with \
         HTTP, a user or a token: give the nodes an SSH key, or a token in the \
         credentials of the role's account. In a version that was accepted earlier, a token is a warning, and nobody is \
         shown it. Other transports are refused, because some of them execute commands.";
    OVERLAP = "E0675", "two repositories with the same directory",
        "Two followed repositories use the same directory, or one is inside the other, so each would overwrite the \
         files of the other. Give each its own directory with `as`.";
    SIGNATURE = "E0676", "signatures not available",
        "Mercurial stores the signature of a revision in a later revision, so the newest one is never signed. Use a \
         git repository to require signatures, or restrict who can push to the Mercurial repository.";
}
