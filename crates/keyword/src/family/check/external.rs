//! Builds `option external-check` and the lines that configure the program of external checks, and
//! checks after the load that the program can be executed.

use super::super::places::GLOBAL;
use super::super::{Args, Built, LineRow, places};
use super::plain;
use crate::family::Loader;
use configuration::outside::Runs;
use language::Diagnostic;
use model::codes;
use model::config::{Check, CheckKind, Proxy, ProxyKind};
use std::path::{Path, PathBuf};

pub(in crate::family) static LINES: &[LineRow] = language::rows! {
    "external-check" GLOBAL, allow, "external-check",
        "Allows external checks, which run a program (`option external-check`). The serving processes never start a \
         program. A separate process does, as the `user` and in the `chroot` of this section, without capabilities. It \
         only runs the programs that the configuration names. At most 128 run at one time, each with the initial limit \
         of open files.";
    "insecure-fork-wanted" GLOBAL, |_, args| args.end(), "insecure-fork-wanted",
        "In HAProxy, lets the process start programs, which external checks need. In Evenkeel the serving process \
         never starts a program, with or without this line: a separate process runs external checks.";
    "option external-check" places::BACK, |loader, args| plain(loader, args, CheckKind::External),
        "external-check command /bin/true\noption external-check",
        "Uses the program of `external-check command` as health check: exit code 0 means that the server is up. \
         Requires `external-check` in `global`. The program gets four arguments, `<proxy_address> <proxy_port> \
         <server_address> <server_port>` (`NOT_USED` where a Unix socket or a backend without `bind` has no value), \
         and only these variables: PATH, HAPROXY_PROXY_NAME, HAPROXY_PROXY_ID, HAPROXY_PROXY_ADDR, HAPROXY_PROXY_PORT, \
         HAPROXY_SERVER_NAME, HAPROXY_SERVER_ID, HAPROXY_SERVER_ADDR, HAPROXY_SERVER_PORT, HAPROXY_SERVER_MAXCONN, \
         HAPROXY_SERVER_CURCONN, HAPROXY_SERVER_SSL and HAPROXY_SERVER_PROTO. Its time limit is `inter`, or a shorter \
         `timeout connect` if `timeout check` is set. Then its process group gets SIGTERM, and SIGKILL one second \
         later. Standard input and output are /dev/null.";
    "external-check command <command>" places::BACK, command,
        "external-check command /usr/local/bin/check-mysql",
        "The program of `option external-check`: an absolute path, or a name to look up in `external-check path`. With \
         `chroot`, both are inside that directory, and so are all files that the program needs. The `user` of `global` \
         must be able to execute it; otherwise a warning is reported.";
    "external-check path <path>" places::BACK, path,
        "external-check path /usr/local/bin:/usr/bin:/bin",
        "The PATH of the program of `option external-check`; empty by default.";
};

fn allow(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    if args.peek().is_some_and(|word| word.str() == "preserve-env") {
        return Err(Diagnostic::error(
                &codes::EXTERNAL_CHECK,
                args.keyword_span(),
                "'preserve-env' is not supported: check programs only get the variables of the check, because the \
                 environment of a service may contain secrets",
            )
            .help("remove the word, and set the variables in a wrapper script"));
    }
    loader.config.global.external_checks = true;
    args.end()
}

fn command(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("a program")?;
    let own = loader.proxy().kind != ProxyKind::Defaults;
    let lines = &mut loader.proxy().check.external;
    lines.command = Some(word.text().into());
    lines.span = own.then_some(args.line().span);
    args.end()
}

fn path(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let word = args.required("directories, separated by `:`")?;
    let own = loader.proxy().kind != ProxyKind::Defaults;
    let lines = &mut loader.proxy().check.external;
    lines.path = Some(word.text().into());
    if own {
        lines.span.get_or_insert(args.line().span);
    }
    args.end()
}

/// Adds diagnostics about a proxy's lines for external checks, and returns the paths at which its
/// program may be; none without an external check or after some errors.
fn judge(proxy: &Proxy, allowed: bool, told: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    let Check { kind, external, .. } = &proxy.check;
    let name = &proxy.name;
    if *kind != CheckKind::External {
        if let Some(span) = external.span {
            told.push(
                Diagnostic::warning(
                    &codes::CHECK_RULES_IDLE,
                    span,
                    format!("'{name}' has 'external-check' lines without 'option external-check'"),
                )
                .label("has no effect")
                .help("add `option external-check` to this section"),
            );
        }
        return Vec::new();
    }
    let span = external.span.unwrap_or(proxy.span);
    let mut wrong = |message: &str, help: &str| {
        let diagnostic =
            Diagnostic::error(&codes::EXTERNAL_CHECK, span, format!("'{name}': {message}"));
        told.push(diagnostic.help(help.to_owned()));
    };
    if !allowed {
        wrong(
            "'option external-check' unable to find required 'global.external-check'",
            "add `external-check` to `global`",
        );
    }
    let Some(command) = &external.command else {
        wrong(
            "'option external-check' unable to find required 'external-check command'",
            "add `external-check command /path/of/the/program`",
        );
        return Vec::new();
    };
    let path = external.path.as_deref().unwrap_or_default();
    match (command.starts_with('/'), path.is_empty()) {
        (false, true) => {
            wrong(
                "'external-check command' does not have a leading '/' and 'external-check path' is not set",
                "write the absolute path of the program",
            );
            Vec::new()
        }
        // Searches only names without a slash in the path.
        (false, false) if !command.contains('/') => {
            let directories = path.split(':');
            directories
                .map(|one| Path::new(one).join(&**command))
                .collect()
        }
        _ => vec![PathBuf::from(&**command)],
    }
}

/// Checks external checks after all lines were read: missing settings, and programs that cannot be
/// executed.
pub(in crate::family) fn finish(loader: &mut Loader) {
    let mut told = Vec::new();
    let allowed = loader.config.global.external_checks;
    let (uid, root) = (
        loader.config.global.uid,
        loader.config.global.chroot.clone(),
    );
    let checks = |proxy: &&Proxy| proxy.kind.is_backend();
    for proxy in loader.config.proxies.iter().filter(checks) {
        let found = judge(proxy, allowed, &mut told);
        let within = |path: &PathBuf| match &root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.clone(),
        };
        let runs: Vec<Runs> = found
            .iter()
            .map(|path| loader.context.outside.can_execute(&within(path), uid))
            .collect();
        let why = match runs.iter().max() {
            None | Some(Runs::Yes) => continue,
            Some(Runs::NotExecutable) => "is not executable by the user of the checks",
            Some(Runs::Missing) => "does not exist",
            Some(Runs::Directory) => "is a directory",
        };
        let external = &proxy.check.external;
        let command = external.command.as_deref().unwrap_or_default();
        let place = match &root {
            Some(root) => format!(" in the chroot '{}'", root.display()),
            None => String::new(),
        };
        told.push(
            Diagnostic::warning(
                &codes::EXTERNAL_PROGRAM,
                external.span.unwrap_or(proxy.span),
                format!(
                    "the program '{command}' of external checks of '{}' {why}{place}",
                    proxy.name
                ),
            )
            .label("every check fails, so the servers are down")
            .help("install it there, executable by the `user` of `global`"),
        );
    }
    loader.report_all(told);
}

#[cfg(test)]
mod tests {
    use crate::load::Loaded;
    use crate::testing::load_text;
    use model::config::CheckKind;

    fn codes_of(loaded: &Loaded) -> Vec<&'static str> {
        loaded.diagnostics.iter().map(|one| one.code.id).collect()
    }

    fn file(global: &str, lines: &str) -> String {
        format!(
            "global\n{global}\nlisten b\n bind 127.0.0.1:1\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n{lines}\n"
        )
    }

    #[test]
    fn an_external_check_needs_its_lines_and_a_program_that_is_there() {
        let on = "external-check";
        let with = |more: &str| format!("option external-check\n{more}");
        for (global, lines, want) in [
            (on, with("external-check command /bin/true"), vec![]),
            (
                on,
                with("external-check command true\nexternal-check path /nonexistent:/bin"),
                vec![],
            ),
            ("", with("external-check command /bin/true"), vec!["E0483"]),
            (on, with(""), vec!["E0483"]),
            (on, with("external-check command true"), vec!["E0483"]),
            (
                on,
                with("external-check command /nonexistent/x"),
                vec!["W0481"],
            ),
            (
                on,
                with("external-check command /etc/passwd"),
                vec!["W0481"],
            ),
            (
                on,
                "external-check command /bin/true".to_owned(),
                vec!["W0601"],
            ),
            (
                "external-check preserve-env",
                with("external-check command /bin/true"),
                vec!["E0483", "E0483"],
            ),
            (on, with("external-check command"), vec!["E0201", "E0483"]),
        ] {
            let loaded = load_text(&file(global, &lines));
            assert_eq!(codes_of(&loaded), want, "{global} {lines}");
        }
    }

    #[test]
    fn defaults_give_the_program_and_another_option_takes_the_check_away() {
        let text = "global\n external-check\ndefaults\n external-check command /bin/true\n external-check path /bin\n option external-check\n\
                    backend a\n server s 127.0.0.1:1 check\nbackend b\n option tcp-check\n server s 127.0.0.1:1 check\n";
        let loaded = load_text(text);
        assert_eq!(loaded.diagnostics.errors(), 0);
        let config = loaded.config.expect("it is right");
        let programs = config.check_programs();
        assert_eq!(programs, [("/bin/true".into(), "/bin".into())]);
        let kinds: Vec<_> = config.proxies.iter().map(|p| &p.check.kind).collect();
        assert_eq!(kinds, [&CheckKind::External, &CheckKind::Tcp]);
    }
}
