//! Parses the keyword `follow` of a `config` section: a branch of a git or Mercurial repository
//! that provides the configuration. Refuses addresses that could run a command, and directories
//! that overlap.

use super::settings::time_within;
use super::{ClusterSectionDraft, Row, codes};
use language::arguments::{Args, Built};
use language::difference::{COVER, without_credentials};
use language::value::written_time;
use language::{ConfigWord, Diagnostic, Span, Spanned, suggest};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

const FOLLOWS_MAX: usize = 8;
/// Largest number of files of one repository that are loaded like those of the command
/// line.
const FILES_MAX: usize = 64;
const URL_BYTES_MAX: usize = 1024;
/// Minimum poll interval: polling more often is of no use.
const EVERY_MIN: Duration = Duration::from_secs(5);
/// Maximum poll interval; `evenkeel config follow` polls at once.
const EVERY_MAX: Duration = Duration::from_secs(86_400);
const EVERY_DEFAULT: Duration = Duration::from_secs(60);
const DIRECTORY_DEFAULT: &str = "/etc/haproxy";

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    Git,
    Hg,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            System::Git => "git",
            System::Hg => "hg",
        })
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Followed {
    pub system: System,
    /// Address of the repository, perhaps with credentials.
    pub url: String,
    /// Branch; None: the repository's default branch (`HEAD` of git, `default` of
    /// Mercurial).
    pub branch: Option<String>,
    /// Directory of the repository's files on the nodes, an absolute path.
    pub directory: String,
    /// The files that nodes load as their command line does, in order. If empty: those
    /// that the accepted version has below the directory, otherwise `haproxy.cfg`,
    /// otherwise all `*.cfg` at its top.
    pub files: Vec<String>,
    pub every: Duration,
    /// File of keys: only commits with a signature by one of them are accepted.
    pub signed_by: Option<String>,
}

impl Followed {
    /// Returns the origin of versions from this repository, without credentials.
    pub fn name(&self) -> String {
        without_credentials(&self.full_name())
    }

    /// Returns whether a version with this origin came from the repository. Earlier releases of
    /// evenkeel recorded the whole address.
    pub fn is_origin(&self, repository: &str) -> bool {
        repository == self.name() || repository == self.full_name()
    }

    fn full_name(&self) -> String {
        match &self.branch {
            Some(branch) => format!("{} {}, branch {branch}", self.system, self.url),
            None => format!("{} {}", self.system, self.url),
        }
    }

    pub fn shown_url(&self) -> String {
        without_credentials(&self.url)
    }

    /// Removes the credentials of the address from a program's text about the repository.
    pub fn without_credentials(&self, text: &str) -> String {
        let text = text.replace(&self.url, &self.shown_url());
        let authority = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = authority.split('/').next().unwrap_or_default();
        match authority.rsplit_once('@') {
            Some((user, _)) if self.url != self.shown_url() && !user.is_empty() => {
                text.replace(user, COVER)
            }
            _ => text,
        }
    }

    pub fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.directory.trim_end_matches('/'))
    }

    pub fn owns(&self, path: &str) -> bool {
        below(path, &self.directory)
    }
}

fn below(path: &str, directory: &str) -> bool {
    let rest = path.strip_prefix(directory.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// URL schemes that only transfer data.
const SCHEMES: &[&str] = &["https", "ssh", "git", "file"];

/// Checks the address of a repository. It becomes an argument of a program, so it must
/// not look like an option, and its scheme must not run a command.
fn address<'w>(
    args: &Args<'_>,
    system: System,
    word: &'w ConfigWord,
) -> Result<&'w str, Diagnostic> {
    let text = word.str();
    let refuse = |what: &str| Err(args.value_error(&codes::REPOSITORY, word.span, what));
    if text.len() > URL_BYTES_MAX {
        return refuse("the address is too long");
    }
    if text.is_empty() || text.starts_with('-') || text.bytes().any(|b| b.is_ascii_control()) {
        return refuse("not a repository address");
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let known = SCHEMES.contains(&scheme) && (scheme, system) != ("git", System::Hg);
        if !known {
            return refuse(&format!("the transport '{scheme}' is not supported"));
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        if user.contains(':') {
            return refuse("the address contains a password");
        }
        return if host.starts_with('-') || (host.is_empty() && scheme != "file") {
            refuse("the address has no host")
        } else {
            Ok(text)
        };
    }
    if text.starts_with('/') {
        return Ok(text);
    }
    // `user@host:path`, git's short form of ssh, is accepted; `ext::command` is not.
    let short = |(host, path): (&str, &str)| {
        !host.is_empty() && !host.contains('/') && !path.starts_with(':') && !path.is_empty()
    };
    match text.split_once(':') {
        Some(parts) if system == System::Git && short(parts) => Ok(text),
        _ => refuse("neither an address with a scheme nor an absolute path"),
    }
}

/// Checks the name of a branch: it becomes an argument of a program.
fn branch(args: &Args<'_>, word: &ConfigWord) -> Result<String, Diagnostic> {
    const NAME_BYTES_MAX: usize = 200;
    let text = word.str();
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-/+@ ".contains(&b) || !b.is_ascii();
    let fine = !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && text.bytes().all(allowed)
        && !text.starts_with(['-', '/'])
        && !text.contains("..")
        && !text.contains("@{");
    if fine {
        Ok(text.to_owned())
    } else {
        Err(args.value_error(&codes::VALUE, word.span, "not a branch name"))
    }
}

/// Parses an absolute path without `.` and `..`.
fn absolute(args: &Args<'_>, word: &ConfigWord, what: &str) -> Result<String, Diagnostic> {
    let text = word.str();
    let straight = text.split('/').all(|part| part != "." && part != "..");
    match text.starts_with('/') && straight {
        true if text.len() > 1 => Ok(text.trim_end_matches('/').to_owned()),
        _ => {
            let what = format!("{what} must be an absolute path without `..`");
            Err(args.value_error(&codes::VALUE, word.span, &what))
        }
    }
}

fn within(args: &Args<'_>, word: &ConfigWord) -> Result<String, Diagnostic> {
    let text = word.str();
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    if text.split('/').all(part) {
        Ok(text.to_owned())
    } else {
        Err(args.value_error(
            &codes::VALUE,
            word.span,
            "a file of the repository must be a relative path without `..`",
        ))
    }
}

/// Returns a diagnostic if an `http` or `https` address contains a user, which is mostly a token:
/// an error, or a warning in a version that was accepted earlier.
fn token(args: &Args<'_>, word: &ConfigWord, url: &str) -> Option<Diagnostic> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next().unwrap_or_default();
    let has_user = authority
        .rsplit_once('@')
        .is_some_and(|(user, _)| !user.is_empty());
    let told = "the address contains a user or a token, which everybody who reads the files could use: use `ssh://` \
         with a key, or the credential helper of the program";
    let told = (has_user && scheme.starts_with("http"))
        .then(|| args.value_error(&codes::REPOSITORY, word.span, told));
    told.map(|told| {
        told.with_earlier_behaviour("the repository is followed, and its address is not shown")
    })
}

fn follow(draft: &mut ClusterSectionDraft, args: &mut Args<'_>, system: System) -> Built {
    let word = args.required("the address of a repository")?;
    let url = address(args, system, word)?;
    draft.told.extend(token(args, word, url));
    let mut followed = Followed {
        system,
        url: url.to_owned(),
        branch: None,
        directory: DIRECTORY_DEFAULT.to_owned(),
        files: Vec::new(),
        every: EVERY_DEFAULT,
        signed_by: None,
    };
    while let Some(option) = args.next() {
        match option.str() {
            "branch" => {
                let word = args.required("the name of a branch")?;
                followed.branch = Some(branch(args, word)?);
            }
            "as" => {
                let word = args.required("a directory")?;
                followed.directory = absolute(args, word, "the directory")?;
            }
            "file" => {
                let word = args.required("a file of the repository")?;
                if followed.files.len() == FILES_MAX {
                    let told = format!("at most {FILES_MAX} files are possible");
                    return Err(args.value_error(&codes::VALUE, word.span, &told));
                }
                followed.files.push(within(args, word)?);
            }
            "every" => followed.every = time_within(args, EVERY_MIN..=EVERY_MAX)?,
            "signed-by" if system == System::Hg => {
                let told = "Mercurial signatures cannot be required";
                let told = Diagnostic::error(&codes::SIGNATURE, option.span, told)
                    .label("its newest revision is never signed")
                    .help("remove `signed-by`, or follow a git repository");
                return Err(told);
            }
            "signed-by" => {
                let word = args.required("a file of keys")?;
                followed.signed_by = Some(absolute(args, word, "the file of keys")?);
            }
            other => {
                let names = ["branch", "as", "file", "every", "signed-by"];
                let told = args.value_error(
                    &codes::VALUE,
                    option.span,
                    &format!("unknown word '{other}'"),
                );
                let near = suggest::nearest(other, names);
                return Err(match near {
                    Some(near) => told.did_you_mean(option.span, Some(near)),
                    None => told,
                });
            }
        }
    }
    let span = args.line().span;
    if draft.follow.len() == FOLLOWS_MAX {
        let told = format!("at most {FOLLOWS_MAX} repositories can be followed");
        return Err(args.value_error(&codes::VALUE, span, &told));
    }
    draft.follow.push(Spanned::new(followed, span));
    Ok(())
}

fn follow_git(draft: &mut ClusterSectionDraft, args: &mut Args<'_>) -> Built {
    follow(draft, args, System::Git)
}

fn follow_hg(draft: &mut ClusterSectionDraft, args: &mut Args<'_>) -> Built {
    follow(draft, args, System::Hg)
}

/// Reports repositories that would overwrite each other's files.
pub(super) fn overlaps(all: &[Spanned<Followed>]) -> Vec<Diagnostic> {
    let mut told = Vec::new();
    for (at, second) in all.iter().enumerate() {
        let same = |first: &&Spanned<Followed>| {
            let (one, other) = (&first.value.directory, &second.value.directory);
            one == other || below(one, other) || below(other, one)
        };
        if let Some(first) = all.iter().take(at).find(same) {
            told.push(overlap(first.span, second));
        }
    }
    told
}

fn overlap(first: Span, second: &Spanned<Followed>) -> Diagnostic {
    let told = format!(
        "another repository already uses a directory within '{}'",
        second.value.directory
    );
    Diagnostic::error(&codes::OVERLAP, second.span, told)
        .label("both would provide the same files")
        .with_label(first, "the other one")
        .help("give each its own directory with `as <directory>`")
}

/// Formats the line for people: `git https://…, branch main, as /etc/haproxy, every …`.
impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        write!(
            f,
            ", as {}, every {}",
            self.directory,
            written_time(self.every)
        )
    }
}

pub(super) static LINES: &[Row] = language::rows! {
    "follow git <url> [branch <name>] [as <directory>] [file <name>]… [every <time>] [signed-by <file>]" &["config"],
        follow_git,
        "follow git ssh://git@git.example.com/lb.git branch main as /etc/haproxy file haproxy.cfg every 30s signed-by \
         /etc/evenkeel/signers",
        "Follows a branch of a git repository: each new revision becomes a version of the configuration, which is \
         checked and judged like one that an operator applies, with the author and message of the commit. The leader \
         polls the repository with the system's `git` every minute (`every`), and at `evenkeel config follow`. The \
         files of the branch replace all files of the accepted version in the directory `as` (/etc/haproxy by \
         default); files elsewhere stay. `file` names the configuration files, in order. The default is those of the \
         accepted version in that directory, else `haproxy.cfg`, else all `*.cfg` at the top. Only fast-forwards are \
         accepted: a branch that was rewritten or deleted is reported and changes nothing. A revision that a node \
         cannot serve, or that makes service worse, is rolled back as a whole, reported, and not tried again; the next \
         one is. `signed-by` requires a valid signature on every new commit, including merged ones (at the start, on \
         the newest commit), by a key in that file: lines `name key` of `ssh-keygen` (ALLOWED SIGNERS), or armored \
         public keys of gpg.";
    "follow hg <url> [branch <name>] [as <directory>] [file <name>]… [every <time>]" &["config"],
        follow_hg,
        "follow hg https://hg.example.com/lb branch stable",
        "Follows a branch of a Mercurial repository with the system's `hg`, like `follow git`. The default branch is \
         `default`; a bookmark is possible, too. Signatures cannot be required, because Mercurial stores them in later \
         changes.";
};
