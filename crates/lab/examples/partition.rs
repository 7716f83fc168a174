//! Shows three hosts on a switch, a partition, and its healing, as a client sees them. As root:
//! `cargo run -p evenkeel-lab --example partition`

use lab::{Answerer, Condition, Lab, LabError, Pace, Watcher};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

fn main() -> Result<(), LabError> {
    let lab = Lab::new("example")?;
    let lan = lab.switch("lan")?;
    let (server, client) = (lab.host("server")?, lab.host("client")?);
    lan.attach(&server)?.address("10.0.0.1/24")?;
    lan.attach(&client)?.address("10.0.0.9/24")?;
    let answerer = Answerer::start(&server, ([0, 0, 0, 0], 7).into(), "server")?;
    let service = ([10, 0, 0, 1], answerer.address().port()).into();
    let watcher = Watcher::start(&client, service, Pace::default())?;
    watcher.wait_for(Some("server"), 100, SOON);

    let cut = lab.partition(&[&[&server], &[&client]])?;
    println!("broken now: {:?}", lab.faults());
    std::thread::sleep(Duration::from_millis(300));
    cut.heal()?;

    let mut answers = Condition::new("the client gets a response", || {
        match client.tcp_connect(service, SOON) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    });
    let took = lab.wait_healed(SOON, std::slice::from_mut(&mut answers))?;
    watcher.wait_for(Some("server"), 100, SOON);
    println!("healed after {took:?}; {}", watcher.stop());
    Ok(())
}
