//! Runs the demo by a script: each server stops and returns, and changes add a third server and
//! remove it again, while clients send requests all the time. The run succeeds only if no request
//! failed and every server stopped and returned as planned.

use super::load::Counted;
use super::plain;
use super::stage::RunningDemo;
use part::voice::refuse;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const PHASE: Duration = Duration::from_millis(1500);
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

struct DemoPhase {
    name: &'static str,
    seen: Counted,
}

pub fn play(stage: &RunningDemo) -> ExitCode {
    match phases(stage) {
        Ok(phases) => {
            let good = phases.iter().all(|phase| phase.seen.failed == 0);
            let shared = phases.iter().all(|phase| phase.seen.requests() > 0);
            if good && shared {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => refuse(format_args!("the demo was interrupted: {error}")),
    }
}

fn phases(stage: &RunningDemo) -> io::Result<Vec<DemoPhase>> {
    let mut out = io::stdout();
    plain::introduce(&mut out, stage)?;
    let mut phases = vec![watch(stage, "both servers up")];
    for (index, stopped, returned) in [
        (0, "server one stopped", "server one started"),
        (1, "server two stopped", "server two started"),
    ] {
        stage.toggle(index)?;
        plain::tell(&mut out, stage)?;
        phases.push(watch(stage, stopped));
        stage.toggle(index)?;
        let before = stage.seen.read();
        wait_until_served(stage, index)?;
        let mut phase = watch(stage, returned);
        phase.seen = stage.seen.read().since(before);
        phases.push(phase);
        plain::tell(&mut out, stage)?;
    }
    let change = || stage.change().map_err(io::Error::other);
    change()?;
    wait_until_served(stage, 2)?;
    phases.push(watch(stage, "third server added"));
    change()?;
    phases.push(watch(stage, "third server removed"));
    plain::tell(&mut out, stage)?;
    table(&mut out, &phases)?;
    Ok(phases)
}

fn watch(stage: &RunningDemo, name: &'static str) -> DemoPhase {
    let before = stage.seen.read();
    std::thread::sleep(PHASE);
    DemoPhase {
        name,
        seen: stage.seen.read().since(before),
    }
}

fn wait_until_served(stage: &RunningDemo, index: usize) -> io::Result<()> {
    let before = stage.seen.read();
    let began = Instant::now();
    while stage.seen.read().since(before).served[index] == 0 {
        if began.elapsed() > NOTICED_WITHIN {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "a restarted server got no requests",
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn table(out: &mut impl Write, phases: &[DemoPhase]) -> io::Result<()> {
    writeln!(
        out,
        "\nphase                 requests      one      two    three   failed"
    )?;
    let mut whole = Counted::default();
    for DemoPhase { name, seen } in phases {
        writeln!(out, "{}", row(name, seen))?;
        for (all, of) in whole.served.iter_mut().zip(seen.served) {
            *all += of;
        }
        whole.failed += seen.failed;
    }
    writeln!(out, "{}", row("total", &whole))
}

fn row(name: &str, seen: &Counted) -> String {
    let [one, two, three] = seen.served;
    let (all, failed) = (seen.requests(), seen.failed);
    format!("{name:<22}{all:>10}{one:>9}{two:>9}{three:>9}{failed:>9}")
}
