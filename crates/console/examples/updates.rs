//! Measures an update of a live page with 500 servers and 50 guests: `cargo run --release -p
//! evenkeel-console --example updates`. Each line is a page: the CPU time of one update for one
//! browser and for 20, and the bytes of its event.

use console::drawing::{LivePages, PageData, PageView};
use console::page::ConsolePage;
use console::sample;
use console::user::{UserRole, Viewer};
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::time::Duration;

const UPDATES: u32 = 200;

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn main() -> Result<(), String> {
    let looks = [1, 2].map(|busy| Arc::new(sample::large(busy)));
    let viewer = Viewer {
        name: "olga".to_owned(),
        token: None,
        role: UserRole::Operator,
        csrf: "a-token-of-forms".to_owned(),
    };
    let pages = [
        ConsolePage::Overview,
        ConsolePage::Traffic,
        ConsolePage::Proxy("app1".to_owned()),
        ConsolePage::Part("guest".to_owned()),
        ConsolePage::Events,
    ];
    println!(
        "{:<16} {:>12} {:>12} {:>10}",
        "page", "1 browser", "20 browsers", "bytes"
    );
    for page in pages {
        let drawings = LivePages::new()?;
        let mut line = format!("{:<16}", page.path());
        let mut bytes = 0;
        for browsers in [1, 20] {
            let view = PageView {
                page: page.clone(),
                filter: String::new(),
                member: String::new(),
                role: UserRole::Operator,
                ask: None,
            };
            let mut all: Vec<_> = (0..browsers)
                .map(|_| drawings.follow(view.clone()))
                .collect();
            let begin = cpu();
            for update in 0..UPDATES {
                // Creates a new platform value for each update, so that no earlier drawing is
                // reused.
                let seen = PageData {
                    platform: Arc::new((*looks[update as usize % 2]).clone()),
                    answer: None,
                };
                for one in &mut all {
                    bytes = drawings.next(one, &seen, &viewer).len();
                }
            }
            let each = (cpu() - begin) / UPDATES;
            line += &format!(" {:>9.2} ms", each.as_secs_f64() * 1e3);
        }
        println!("{line} {bytes:>10}");
    }
    Ok(())
}
