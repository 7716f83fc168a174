//! `evenkeel run`: serves in the foreground.

use super::refuse;
use crate::files;
use crate::process::{self, Plan};
use crate::voice::{Form, Voice};
use proxy::load::LoadOptions;
use std::path::PathBuf;
use std::process::ExitCode;

/// Loads the files and serves until the end.
pub fn main(paths: &[PathBuf]) -> ExitCode {
    let mut voice = Voice::new(Form::Own, false);
    let files = match files::read_all(paths) {
        Ok(files) => files,
        Err(error) => return refuse(error),
    };
    let options = LoadOptions {
        resolve_names: true,
        ..Default::default()
    };
    let mut loaded = process::load_files(files, None, options);
    let zero_warning = loaded
        .config
        .as_ref()
        .is_some_and(|config| config.global.zero_warning);
    voice.quiet = loaded.quiet;
    voice.diagnostics(&loaded.sources, &loaded.diagnostics, false, zero_warning);
    let Some(config) = loaded.config.take() else {
        return ExitCode::FAILURE;
    };
    if zero_warning && loaded.diagnostics.warnings() > 0 {
        voice.alert("there are warnings, and `zero-warning` refuses a file that has any");
        return ExitCode::FAILURE;
    }
    let plan = Plan {
        foreground: true,
        ..Default::default()
    };
    match process::run(loaded, config, &plan, &mut voice) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            voice.alert(error);
            ExitCode::FAILURE
        }
    }
}
