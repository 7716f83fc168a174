//! Assigns each counter a number that never changes, by which two versions of the program with
//! different lists of counters understand each other.

use model::state::{TALLIES, Tally};

/// Values of all counters of an object, in the order of [`Tally`].
pub(super) type Sums = [u64; TALLIES];

/// Number of each counter. A new one gets the next number; none is ever reused.
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

/// Returns the values other than 0, each with the permanent number of its counter.
pub(super) fn numbered(sums: &Sums) -> Vec<(u64, u64)> {
    let all = NUMBERS
        .iter()
        .map(|(number, tally)| (*number, sums[*tally as usize]));
    all.filter(|(_, n)| *n != 0).collect()
}

/// Returns the counter with a permanent number; None if this program does not know it.
pub(super) fn of_number(number: u64) -> Option<Tally> {
    let known = NUMBERS.iter().find(|(known, _)| *known == number);
    known.map(|(_, tally)| *tally)
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
    fn counters_are_restored_and_unknown_ones_ignored() {
        let mut sums = [0; TALLIES];
        sums[Tally::BytesOut as usize] = u64::MAX;
        sums[Tally::InternalErrors as usize] = 1;
        let mut told = numbered(&sums);
        told.push((99, 5));
        let known = told.iter().map(|(number, n)| (of_number(*number), *n));
        assert_eq!(
            known.collect::<Vec<_>>(),
            [
                (Some(Tally::BytesOut), u64::MAX),
                (Some(Tally::InternalErrors), 1),
                (None, 5)
            ]
        );
    }
}
