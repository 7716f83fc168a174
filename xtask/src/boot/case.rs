//! Which clients ask, and what is counted.

use super::options::Options;
use super::site::{Kind, Load, Measured, Site};
use crate::comparison::Error;
use crate::comparison::{Sample, Unit};
use std::path::Path;

const DNSMASQ: &str = "/usr/sbin/dnsmasq";
/// Exchanges that begin in a second: what each server answers without a loss.
const RATE_KEA: u32 = 4_000;
const RATE_DNSMASQ: u32 = 200;

/// A case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    Machines,
    Range,
    DnsmasqMachines,
    DnsmasqRange,
}

impl crate::comparison::Case for Case {
    const ALL: &'static [Case] = &[
        Case::Machines,
        Case::Range,
        Case::DnsmasqMachines,
        Case::DnsmasqRange,
    ];

    fn name(self) -> &'static str {
        match self {
            Case::Machines => "machines",
            Case::Range => "range",
            Case::DnsmasqMachines => "dnsmasq-machines",
            Case::DnsmasqRange => "dnsmasq-range",
        }
    }
}

impl Case {
    fn is_beside_kea(self) -> bool {
        matches!(self, Case::Machines | Case::Range)
    }

    fn load(self) -> Load {
        Load {
            rate: match self.is_beside_kea() {
                true => RATE_KEA,
                false => RATE_DNSMASQ,
            },
            is_known: matches!(self, Case::Machines | Case::DnsmasqMachines),
        }
    }

    /// The names of its rows: exchanges, and the time of an answer.
    fn rows(self) -> [&'static str; 2] {
        match self {
            Case::Machines => [
                "beside Kea, machines of the file: exchanges per CPU second",
                "beside Kea, machines of the file: time to a reply, p99",
            ],
            Case::Range => [
                "beside Kea, range: exchanges per CPU second",
                "beside Kea, range: time to a reply, p99",
            ],
            Case::DnsmasqMachines => [
                "beside dnsmasq, machines of the file: exchanges per CPU second",
                "beside dnsmasq, machines of the file: time to a reply, p99",
            ],
            Case::DnsmasqRange => [
                "beside dnsmasq, range: exchanges per CPU second",
                "beside dnsmasq, range: time to a reply, p99",
            ],
        }
    }

    /// One turn of one side.
    pub fn turn(self, options: &Options, is_left: bool) -> Result<Vec<Sample>, Error> {
        let (kind, program) = match (is_left, self.is_beside_kea()) {
            (false, _) => (Kind::Evenkeel, &*options.right),
            (true, true) => (Kind::Kea, &*options.left),
            (true, false) => (Kind::Dnsmasq, Path::new(DNSMASQ)),
        };
        let Measured {
            exchanges,
            cpu,
            p99,
        } = Site::start(kind, program)?.load(self.load())?;
        let [exchanges_row, p99_row] = self.rows();
        Ok(vec![
            Sample {
                row: exchanges_row,
                unit: Unit::Times,
                value: (exchanges / cpu.as_secs_f64().max(0.01)).round(),
            },
            Sample {
                row: p99_row,
                unit: Unit::Latency,
                value: p99.as_secs_f64() * 1000.0,
            },
        ])
    }
}
