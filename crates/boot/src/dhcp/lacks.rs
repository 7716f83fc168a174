//! Explains why a range has no address for a machine.

use super::pool::{AddressCount, OfferError, Pool};
use super::range::Address;

/// Time for which an explanation is cached, milliseconds: any client may trigger it, and a range
/// has many addresses to count.
const WORDS_MS: u64 = 1_000;

/// Cached explanation of the states of a range's addresses.
#[derive(Debug, Default)]
pub struct ShortageExplanation {
    counted: Option<(u64, String)>,
}

impl ShortageExplanation {
    /// Returns why a machine is offered no address of a range; the last argument is the range's
    /// name in the configuration.
    pub fn why<A: Address>(
        &mut self,
        pool: &Pool<A>,
        (why, range): (OfferError, &str),
        now_ms: u64,
    ) -> String {
        let is_new = |at: &u64| now_ms.saturating_sub(*at) < WORDS_MS;
        self.counted.take_if(|(at, _)| !is_new(at));
        let counted = &mut self.counted;
        let mut taken = || {
            let counted = counted.get_or_insert_with(|| (now_ms, pool.count().taken()));
            counted.1.clone()
        };
        match why {
            OfferError::NotMine => "its address is of the other node, which answers".to_owned(),
            OfferError::Kept => format!(
                "what is free of {range} here is for machines of the file: {}",
                taken()
            ),
            OfferError::Full => format!("this node has no free address of {range}: {}", taken()),
        }
    }
}

impl AddressCount {
    /// Returns which states the addresses that are not free have, as text.
    pub fn taken(&self) -> String {
        let all = [
            (self.leased, "leased"),
            (self.declined, "in use by others"),
            (self.unclear, "withheld"),
        ];
        let some = all.iter().filter(|(count, _)| *count > 0);
        let words: Vec<String> = some
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if words.is_empty() {
            "none is leased".to_owned()
        } else {
            words.join(", ")
        }
    }
}
