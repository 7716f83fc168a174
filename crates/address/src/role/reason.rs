//! Formats the reason for which a virtual router entered its state.

use protocol::vrrp::Reason;

pub fn words(why: &Reason) -> String {
    match why {
        Reason::Started => "started, waiting for adverts".to_owned(),
        Reason::OwnsAddresses => "address owner (priority 255)".to_owned(),
        Reason::Resumed => "resumed the state of the previous process".to_owned(),
        Reason::Silence { since } => format!("no advert received for {since:.1?}"),
        Reason::SilenceBound { since } => format!(
            "no advert received for {since:.1?}, although the owner's kernel responded for part of that time"
        ),
        Reason::Used { address } => format!("another machine uses {address} and keeps it"),
        Reason::OwnerStopped { owner } => format!("{owner} announced that it stops"),
        Reason::Preempts { owner, priority } => {
            format!("{owner} has the lower priority {priority}")
        }
        Reason::Preempted { by, priority } => {
            format!("{by} takes precedence with priority {priority}")
        }
        Reason::Failed(words) => words.clone(),
        Reason::Recovered => "all faults are repaired".to_owned(),
        Reason::Group { member } => format!("{member} of its sync group changed state"),
        Reason::Stopped => "stop requested".to_owned(),
        Reason::HandOver { by } => format!("handed over to {by}"),
    }
}
