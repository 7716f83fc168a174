//! Shows the demo on an output that is no terminal: each second prints the new events, and a line
//! with request rates and server states, until a signal or a closed pipe ends the demo.

use super::stage::{BLOCKED, CONFIGURATION, RunningDemo};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub fn show(stage: &RunningDemo) -> ExitCode {
    // Ends the demo when the pipe is closed.
    match lines(stage) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

pub fn introduce(out: &mut impl Write, stage: &RunningDemo) -> io::Result<()> {
    writeln!(out, "{CONFIGURATION}")?;
    for server in &stage.servers {
        writeln!(out, "server {:<7}http://{}/", server.name, server.address)?;
    }
    writeln!(out, "proxy         http://{}/", stage.address)?;
    writeln!(out, "statistics    http://{}/stats", stage.address)?;
    writeln!(out, "blocked       http://{}{BLOCKED}\n", stage.address)
}

/// Prints the events since the previous call.
pub fn tell(out: &mut impl Write, stage: &RunningDemo) -> io::Result<()> {
    for event in stage.events.take() {
        writeln!(out, "{:7.1} s  {}", event.at.as_secs_f64(), event.text)?;
    }
    Ok(())
}

fn lines(stage: &RunningDemo) -> io::Result<()> {
    let mut out = io::stdout();
    introduce(&mut out, stage)?;
    let mut before = stage.seen.read();
    loop {
        std::thread::sleep(Duration::from_secs(1));
        tell(&mut out, stage)?;
        let now = stage.seen.read();
        let second = now.since(before);
        before = now;
        let states: Vec<String> = stage
            .states()
            .into_iter()
            .map(|(name, state)| format!("{name} {state}"))
            .collect();
        writeln!(
            out,
            "{:5} requests/s: one {:4}, two {:4}, three {:4}, failed {} (total {}), hanging {}   {}",
            second.requests(),
            second.served[0],
            second.served[1],
            second.served[2],
            second.failed,
            now.failed,
            stage.seen.hanging(Instant::now()),
            states.join(", ")
        )?;
    }
}
