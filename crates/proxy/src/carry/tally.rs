//! Counters on their way: each tally has a number here that never changes, so
//! that programs whose lists differ understand each other.

use super::CarryError;
use super::wire::{Reader, Writer};
use model::state::{TALLIES, Tally};

/// All sums of a thing, in the order of [`Tally`].
pub(super) type Sums = [u64; TALLIES];

/// The number of each tally. A new one gets the next number; none is used again.
const NUMBERS: [(u64, Tally); TALLIES] = [
    (1, Tally::Sessions),
    (2, Tally::Connections),
    (3, Tally::BytesIn),
    (4, Tally::BytesOut),
    (5, Tally::Requests),
    (6, Tally::DeniedRequests),
    (7, Tally::DeniedResponses),
    (8, Tally::DeniedConnections),
    (9, Tally::DeniedSessions),
    (10, Tally::RequestErrors),
    (11, Tally::ConnectErrors),
    (12, Tally::ResponseErrors),
    (13, Tally::Retries),
    (14, Tally::Redispatches),
    (15, Tally::Status1xx),
    (16, Tally::Status2xx),
    (17, Tally::Status3xx),
    (18, Tally::Status4xx),
    (19, Tally::Status5xx),
    (20, Tally::StatusOther),
    (21, Tally::ClientAborts),
    (22, Tally::ServerAborts),
    (23, Tally::Chosen),
    (24, Tally::Intercepted),
    (25, Tally::Connects),
    (26, Tally::Reuses),
    (27, Tally::CheckFailures),
    (28, Tally::WentDown),
    (29, Tally::HealthAnalyseFailures),
    (30, Tally::RewriteFailures),
    (31, Tally::InternalErrors),
    (32, Tally::TlsSessions),
    (33, Tally::TlsResumed),
    (34, Tally::TlsFailed),
    (35, Tally::CompressedIn),
    (36, Tally::CompressedOut),
    (37, Tally::CompressionBypassed),
    (38, Tally::CompressedAnswers),
    (39, Tally::CacheLookups),
    (40, Tally::CacheHits),
    (41, Tally::Http2Connections),
    (42, Tally::Http2Streams),
];

/// Writes those that are not 0, if there are any.
pub(super) fn write(writer: &mut Writer, tag: u8, sums: &Sums) {
    if sums.iter().all(|n| *n == 0) {
        return;
    }
    writer.nested(tag, |w| {
        for (number, tally) in NUMBERS {
            let n = sums[tally as usize];
            if n != 0 {
                w.plain(number);
                w.plain(n);
            }
        }
    });
}

/// Parses tallies; unknown ones are ignored.
pub(super) fn read(value: &[u8]) -> Result<Vec<(Tally, u64)>, CarryError> {
    let mut reader = Reader::new(value);
    let mut sums = Vec::new();
    while !reader.done() {
        let (number, n) = (reader.plain()?, reader.plain()?);
        let known = NUMBERS.iter().find(|(known, _)| *known == number);
        sums.extend(known.map(|(_, tally)| (*tally, n)));
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_tally_has_one_number_and_each_number_one_tally() {
        let tallies: HashSet<usize> = NUMBERS.iter().map(|(_, t)| *t as usize).collect();
        let numbers: HashSet<u64> = NUMBERS.iter().map(|(n, _)| *n).collect();
        assert_eq!((tallies.len(), numbers.len()), (TALLIES, TALLIES));
    }

    #[test]
    fn counters_come_back_and_unknown_ones_are_passed_over() {
        let mut sums = [0; TALLIES];
        sums[Tally::BytesOut as usize] = u64::MAX;
        sums[Tally::InternalErrors as usize] = 1;
        let mut writer = Writer::default();
        write(&mut writer, 1, &sums);
        let (_, value) = Reader::new(&writer.bytes).field().unwrap().unwrap();
        let mut value = value.to_vec();
        value.extend([99, 5]);
        assert_eq!(
            read(&value).unwrap(),
            [(Tally::BytesOut, u64::MAX), (Tally::InternalErrors, 1)]
        );
    }
}
