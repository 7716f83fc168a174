//! Defines the cases of `bench-volume`: the loads of fio, and the values that are measured.

use super::fio::Numbers;
use super::table::Unit;
use crate::comparison;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    Flush1,
    Flush16,
    Random1,
    Random16,
    Read,
    Write,
    WriteFlush,
    Mixed,
    MixedFlush,
}

impl comparison::Case for Case {
    const ALL: &'static [Case] = &[
        Case::Flush1,
        Case::Flush16,
        Case::Random1,
        Case::Random16,
        Case::Read,
        Case::Write,
        Case::WriteFlush,
        Case::Mixed,
        Case::MixedFlush,
    ];

    fn name(self) -> &'static str {
        match self {
            Case::Flush1 => "flush-1",
            Case::Flush16 => "flush-16",
            Case::Random1 => "random-1",
            Case::Random16 => "random-16",
            Case::Read => "read",
            Case::Write => "write",
            Case::WriteFlush => "write-flush",
            Case::Mixed => "mixed",
            Case::MixedFlush => "mixed-flush",
        }
    }
}

impl Case {
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Case::Flush1 => &["--rw=randwrite", "--bs=4k", "--iodepth=1", "--fsync=1"],
            Case::Flush16 => &["--rw=randwrite", "--bs=4k", "--iodepth=16", "--fsync=1"],
            Case::Random1 => &["--rw=randread", "--bs=4k", "--iodepth=1"],
            Case::Random16 => &["--rw=randread", "--bs=4k", "--iodepth=16"],
            Case::Read => &["--rw=read", "--bs=128k", "--iodepth=4"],
            Case::Write => &["--rw=write", "--bs=128k", "--iodepth=4"],
            Case::WriteFlush => &["--rw=write", "--bs=128k", "--iodepth=4", "--fsync=64"],
            Case::Mixed => &["--rw=randrw", "--rwmixread=70", "--bs=4k", "--iodepth=8"],
            Case::MixedFlush => &[
                "--rw=randrw",
                "--rwmixread=70",
                "--bs=4k",
                "--iodepth=8",
                "--fsync=32",
            ],
        }
    }

    /// Returns the rows that a turn fills.
    pub fn rows(self, numbers: &Numbers) -> Vec<(&'static str, Unit, f64)> {
        let pair = numbers.write_p50_us + numbers.flush_p50_us;
        match self {
            Case::Flush1 => vec![
                (
                    "4 KiB write and flush, depth 1: p50 of both",
                    Unit::Microseconds,
                    pair,
                ),
                (
                    "4 KiB write and flush, depth 1: p99 of both",
                    Unit::Microseconds,
                    numbers.write_p99_us + numbers.flush_p99_us,
                ),
                (
                    "4 KiB write and flush, depth 1",
                    Unit::PerSecond,
                    numbers.operations,
                ),
            ],
            Case::Flush16 => vec![(
                "4 KiB write and flush, depth 16",
                Unit::PerSecond,
                numbers.operations,
            )],
            Case::Random1 => vec![(
                "4 KiB random read, depth 1",
                Unit::PerSecond,
                numbers.operations,
            )],
            Case::Random16 => vec![(
                "4 KiB random read, depth 16",
                Unit::PerSecond,
                numbers.operations,
            )],
            Case::Read => vec![(
                "sequential read of 128 KiB, depth 4",
                Unit::Mebibytes,
                numbers.mebibytes,
            )],
            Case::Write => vec![(
                "sequential write of 128 KiB, depth 4",
                Unit::Mebibytes,
                numbers.mebibytes,
            )],
            Case::WriteFlush => vec![(
                "sequential write of 128 KiB, depth 4, a flush each 8 MiB",
                Unit::Mebibytes,
                numbers.mebibytes,
            )],
            Case::Mixed => vec![(
                "4 KiB, 70 % random reads, 30 % writes, depth 8",
                Unit::PerSecond,
                numbers.operations,
            )],
            Case::MixedFlush => vec![(
                "4 KiB, 70 % random reads, 30 % writes, depth 8, a flush each 32 writes",
                Unit::PerSecond,
                numbers.operations,
            )],
        }
    }

    /// Returns the row of the servers' CPU time per operation; None for cases with long operations.
    pub fn processor_row(self) -> Option<&'static str> {
        match self {
            Case::Flush1 => Some("CPU of all servers for a 4 KiB write and its flush, depth 1"),
            Case::Flush16 => Some("CPU of all servers for a 4 KiB write and its flush, depth 16"),
            Case::Random1 => Some("CPU of all servers for a 4 KiB random read, depth 1"),
            Case::Random16 => Some("CPU of all servers for a 4 KiB random read, depth 16"),
            Case::Mixed => Some("CPU of all servers for a 4 KiB operation, 70 % reads, depth 8"),
            Case::Read | Case::Write | Case::WriteFlush | Case::MixedFlush => None,
        }
    }
}
