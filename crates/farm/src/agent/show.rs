//! Displays notices in sessions, with a program of the machine that runs as the session's user. The
//! text is its standard input or one argument, and never passes through a shell.

use super::xrdp::Session;
use part::lock;
use part::voice::write_error;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

const DIRECTORIES: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
const OPEN_MAX: usize = 512;
const TITLE: &str = "Remote desktop";

/// Program that displays a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Program {
    Zenity,
    Xmessage,
    NotifySend,
}

impl Program {
    const ALL: [Program; 3] = [Program::Zenity, Program::Xmessage, Program::NotifySend];

    fn name(self) -> &'static str {
        match self {
            Program::Zenity => "zenity",
            Program::Xmessage => "xmessage",
            Program::NotifySend => "notify-send",
        }
    }

    fn command(self, path: &Path, text: &str) -> Command {
        let mut command = Command::new(path);
        match self {
            Program::Zenity => command
                .args(["--info", "--no-markup", "--title", TITLE])
                .arg(format!("--text={text}")),
            // Passes the text by standard input, because the program accepts options anywhere among
            // its arguments.
            Program::Xmessage => command.args(["-center", "-title", TITLE, "-file", "-"]),
            Program::NotifySend => {
                command.args(["--urgency=critical", "--expire-time=0", "--", TITLE, text])
            }
        };
        command
    }
}

#[derive(Clone, Debug)]
pub struct Screens {
    directories: Vec<PathBuf>,
    open: Arc<Mutex<Vec<Child>>>,
}

impl Default for Screens {
    fn default() -> Screens {
        Screens::of(DIRECTORIES)
    }
}

impl Screens {
    pub fn of<D: Into<PathBuf>>(directories: impl IntoIterator<Item = D>) -> Screens {
        Screens {
            directories: directories.into_iter().map(Into::into).collect(),
            open: Arc::default(),
        }
    }

    fn program(&self) -> Option<(Program, PathBuf)> {
        Program::ALL.into_iter().find_map(|program| {
            let mut paths = self.directories.iter().map(|at| at.join(program.name()));
            Some((program, paths.find(|path| path.is_file())?))
        })
    }

    /// Displays a text in a session. Errors go to the log of the agent.
    pub fn show(&self, session: &Session, text: &str) {
        let mut open = lock(&self.open);
        open.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        let shown = match self.program() {
            _ if open.len() >= OPEN_MAX => Err("too many notices are open".to_owned()),
            None => Err("zenity, xmessage and notify-send are missing".to_owned()),
            Some((program, path)) => {
                start(program, path, session, text).map_err(|error| language::reason(&error))
            }
        };
        match shown {
            Ok(child) => open.push(child),
            Err(why) => {
                let (display, name) = (session.key.0, &session.name);
                write_error(&format!(
                    "evenkeel: no notice at display :{display} of {name}: {why}\n"
                ));
            }
        }
    }
}

fn start(program: Program, path: PathBuf, session: &Session, text: &str) -> io::Result<Child> {
    let mut command = program.command(&path, text);
    let (uid, gid) = session.owner;
    let own = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    if session.owner != own {
        // Drops the supplementary groups, because those of the agent are not those of the user.
        command.uid(uid).gid(gid);
    }
    command
        .env_clear()
        .env("PATH", DIRECTORIES.join(":"))
        .env("DISPLAY", format!(":{}", session.key.0))
        .env(
            "DBUS_SESSION_BUS_ADDRESS",
            format!("unix:path=/run/user/{uid}/bus"),
        )
        .current_dir("/");
    if let Some(authority) = &session.authority {
        command.env("XAUTHORITY", OsStr::new(authority));
    }
    command.stdin(match program {
        Program::Xmessage => Stdio::piped(),
        Program::Zenity | Program::NotifySend => Stdio::null(),
    });
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // Ignores an error: the program may have ended. The write does not block, because the text
        // fits into the pipe.
        let _ = input.write_all(text.as_bytes());
    }
    Ok(child)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::{ScratchDirectory, eventually};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(30);

    fn session() -> Session {
        let owner = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        Session {
            key: (77, 1),
            name: "anna".to_owned(),
            owner,
            is_active: true,
            authority: Some(PathBuf::from("/srv/anna/.Xauthority")),
        }
    }

    /// Returns the output of a program that gets a notice which looks like options.
    fn shown(name: &str) -> String {
        let scratch = ScratchDirectory::new().unwrap();
        let said = scratch.path().join("said");
        let script = format!(
            "#!/bin/sh\n{{ printf '%s\\n' \"$DISPLAY $XAUTHORITY\" \"$@\"; cat; }} >{0}.new\nmv {0}.new {0}\n",
            said.display()
        );
        let program = scratch.write(name, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let screens = Screens::of([scratch.path()]);
        screens.show(&session(), "--help $(id)");
        assert!(eventually(SOON, || said.exists()));
        fs::read_to_string(&said).unwrap()
    }

    #[test]
    fn a_notice_is_text_for_each_program() {
        let head = ":77 /srv/anna/.Xauthority\n";
        let zenity = "--info\n--no-markup\n--title\nRemote desktop\n--text=--help $(id)\n";
        assert_eq!(shown("zenity"), format!("{head}{zenity}"));
        let xmessage = "-center\n-title\nRemote desktop\n-file\n-\n--help $(id)";
        assert_eq!(shown("xmessage"), format!("{head}{xmessage}"));
        let send = "--urgency=critical\n--expire-time=0\n--\nRemote desktop\n--help $(id)\n";
        assert_eq!(shown("notify-send"), format!("{head}{send}"));
    }

    #[test]
    fn no_notice_is_shown_without_a_program() {
        let scratch = ScratchDirectory::new().unwrap();
        let screens = Screens::of([scratch.path()]);
        screens.show(&session(), "text");
        assert!(lock(&screens.open).is_empty());
    }
}
