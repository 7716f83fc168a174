//! Upgrade of an arbiter: it serves nothing, so there is nothing to load and no role to
//! try. Another program in the place of the one that runs is tested, then this process
//! executes it like one that is started. Its control role ends first; the nodes are a
//! majority meanwhile.

use super::super::run::Supervisor;
use super::{QUIET_LIMIT, Stage};
use crate::voice::Gravity;
use nix::unistd::execve;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Instant;

impl Supervisor {
    /// Takes another program, if there is one.
    pub(in super::super) fn reload_arbiter(&mut self) {
        if self.upgrade.is_some() || self.stop.is_some() || self.requests.begin().is_none() {
            return;
        }
        if self.begin_upgrade() {
            return;
        }
        let words =
            "nothing to reload: an arbiter serves nothing, and the installed program runs already";
        self.tell_change(&[(Gravity::Notice, words.to_owned())], "");
    }

    /// The other program was tested.
    pub(super) fn arbiter_tested(&mut self) {
        let Some(upgrade) = &mut self.upgrade else {
            return;
        };
        upgrade.stage = Stage::Executing(Instant::now() + QUIET_LIMIT);
        let words = format!("{} runs from now on", upgrade.newer.path.display());
        self.tell_change(&[(Gravity::Notice, words)], "");
    }

    /// Becomes the program, as if it was started; returns only with the reason why not.
    pub(super) fn execute_as_arbiter(&mut self, program: &Path) -> io::Error {
        self.end_control();
        // The next image lists itself.
        self.control = None;
        let Err(error) = try_execute(program);
        self.open_control();
        self.start_control();
        error
    }
}

fn try_execute(program: &Path) -> io::Result<std::convert::Infallible> {
    let text = |bytes: Vec<u8>| CString::new(bytes).map_err(io::Error::from);
    let arguments = std::env::args_os().map(|word| text(word.into_vec()));
    let variables = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        text(name.into_vec())
    });
    let arguments = arguments.collect::<io::Result<Vec<_>>>()?;
    let variables = variables.collect::<io::Result<Vec<_>>>()?;
    let path = text(program.as_os_str().to_owned().into_vec())?;
    // Signals stay blocked and are read by the new image, which is why this is not
    // std's way to do it.
    Ok(execve(&path, &arguments, &variables)?)
}
