//! Why a state was entered, in words for people.

use protocol::vrrp::Reason;

/// In words.
pub fn words(why: &Reason) -> String {
    match why {
        Reason::Started => "it began, and waits for adverts".to_owned(),
        Reason::OwnsAddresses => "its priority 255 says that it owns the addresses".to_owned(),
        Reason::Resumed => "it goes on where the process before it was".to_owned(),
        Reason::Silence { since } => format!("no advert came for {since:.1?}"),
        Reason::SilenceBound { since } => format!(
            "no advert came for {since:.1?}, though the owner's kernel answered for some of it"
        ),
        Reason::OwnerStopped { owner } => format!("{owner} said that it stops"),
        Reason::Preempts { owner, priority } => {
            format!("{owner} has the lower priority {priority}")
        }
        Reason::Preempted { by, priority } => {
            format!("{by} has priority {priority}, which goes before ours")
        }
        Reason::Failed(words) => words.clone(),
        Reason::Recovered => "all that had failed is back".to_owned(),
        Reason::Group { member } => format!("{member} of its sync group moved"),
        Reason::Stopped => "it was told to stop".to_owned(),
        Reason::HandOver { by } => format!("it was handed over to {by}"),
    }
}
