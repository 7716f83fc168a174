//! Defines the cases of `bench-boot`: the clients that send requests, and the values that are
//! measured.

use super::firmware;
use super::hand::DNSMASQ;
use super::options::Options;
use super::site::{BootServer, Kind, Load, Measured};
use super::storm::{self, By};
use crate::comparison::Error;
use crate::comparison::{Sample, Unit};
use lab::Firmware;
use std::path::Path;

/// Number of exchanges with Kea that begin per second, at which no packets are lost.
const RATE_KEA: u32 = 4_000;
const RATE_DNSMASQ: u32 = 200;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    Machines,
    Range,
    DnsmasqMachines,
    DnsmasqRange,
    Tftp,
    Http,
    Bios,
    UefiCard,
    UefiTftp,
    UefiHttp,
    Proxy,
}

impl crate::comparison::Case for Case {
    const ALL: &'static [Case] = &[
        Case::Machines,
        Case::Range,
        Case::DnsmasqMachines,
        Case::DnsmasqRange,
        Case::Tftp,
        Case::Http,
        Case::Bios,
        Case::UefiCard,
        Case::UefiTftp,
        Case::UefiHttp,
        Case::Proxy,
    ];

    fn name(self) -> &'static str {
        match self {
            Case::Machines => "machines",
            Case::Range => "range",
            Case::DnsmasqMachines => "dnsmasq-machines",
            Case::DnsmasqRange => "dnsmasq-range",
            Case::Tftp => "tftp",
            Case::Http => "http",
            Case::Bios => "bios",
            Case::UefiCard => "uefi-card",
            Case::UefiTftp => "uefi-tftp",
            Case::UefiHttp => "uefi-http",
            Case::Proxy => "proxy",
        }
    }
}

impl Case {
    /// Runs one turn of one side.
    pub fn turn(self, options: &Options, is_left: bool) -> Result<Vec<Sample>, Error> {
        match self {
            Case::Machines | Case::Range | Case::DnsmasqMachines | Case::DnsmasqRange => {
                self.exchanges(options, is_left)
            }
            Case::Tftp => fetches(
                By::Tftp,
                options,
                is_left,
                [
                    "beside dnsmasq, 1,000 machines load iPXE by TFTP: MiB a second",
                    "beside dnsmasq, the same: until the last one has it",
                    "beside dnsmasq, the same: CPU time",
                ],
            ),
            Case::Http => fetches(
                By::Http,
                options,
                is_left,
                [
                    "beside nginx, 1,000 machines load 2 MiB by HTTP: MiB a second",
                    "beside nginx, the same: until the last one has it",
                    "beside nginx, the same: CPU time",
                ],
            ),
            Case::Bios => boots(
                Firmware::Bios,
                options,
                is_left,
                "BIOS, iPXE in the card, HTTP: to the first process",
            ),
            Case::UefiCard => boots(
                Firmware::UefiCard,
                options,
                is_left,
                "UEFI, iPXE in the card, HTTP: to the first process",
            ),
            Case::UefiTftp => boots(
                Firmware::Uefi,
                options,
                is_left,
                "UEFI, iPXE by TFTP, HTTP: to the first process",
            ),
            Case::UefiHttp => boots(
                Firmware::UefiHttp,
                options,
                is_left,
                "UEFI, iPXE by HTTP, HTTP: to the first process",
            ),
            Case::Proxy => boots_beside(
                options,
                is_left,
                "BIOS, beside another DHCP server: to the first process",
            ),
        }
    }

    /// Returns the names of the rows for exchanges and for the time to a reply.
    fn exchange_rows(self) -> [&'static str; 2] {
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
            _ => [
                "beside dnsmasq, range: exchanges per CPU second",
                "beside dnsmasq, range: time to a reply, p99",
            ],
        }
    }

    fn exchanges(self, options: &Options, is_left: bool) -> Result<Vec<Sample>, Error> {
        let is_beside_kea = matches!(self, Case::Machines | Case::Range);
        let load = Load {
            rate: if is_beside_kea {
                RATE_KEA
            } else {
                RATE_DNSMASQ
            },
            is_known: matches!(self, Case::Machines | Case::DnsmasqMachines),
        };
        let (kind, program) = match (is_left, is_beside_kea) {
            (false, _) => (Kind::Evenkeel, &*options.right),
            (true, true) => (Kind::Kea, &*options.left),
            (true, false) => (Kind::Dnsmasq, Path::new(DNSMASQ)),
        };
        let Measured {
            exchanges,
            cpu,
            p99,
        } = BootServer::start(kind, program)?.load(load)?;
        let [exchanges_row, p99_row] = self.exchange_rows();
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

/// Measures the fetches of many machines at the same time.
fn fetches(
    by: By,
    options: &Options,
    is_left: bool,
    rows: [&'static str; 3],
) -> Result<Vec<Sample>, Error> {
    let measured = storm::measure(by, (!is_left).then_some(&*options.right))?;
    let mebibytes = measured.bytes as f64 / f64::from(1 << 20);
    let values = [
        (
            Unit::Times,
            (mebibytes / measured.all.as_secs_f64()).round(),
        ),
        (Unit::Milliseconds, measured.all.as_secs_f64() * 1000.0),
        (Unit::Milliseconds, measured.cpu.as_secs_f64() * 1000.0),
    ];
    Ok(rows
        .into_iter()
        .zip(values)
        .map(|(row, (unit, value))| Sample { row, unit, value })
        .collect())
}

fn boots(
    firmware: Firmware,
    options: &Options,
    is_left: bool,
    row: &'static str,
) -> Result<Vec<Sample>, Error> {
    let kind = firmware::Kind {
        firmware,
        is_proxy: false,
    };
    boots_as(kind, options, is_left, row)
}

/// Measures a boot of a machine to which another server assigns the address.
fn boots_beside(options: &Options, is_left: bool, row: &'static str) -> Result<Vec<Sample>, Error> {
    let kind = firmware::Kind {
        firmware: Firmware::Bios,
        is_proxy: true,
    };
    boots_as(kind, options, is_left, row)
}

fn boots_as(
    kind: firmware::Kind,
    options: &Options,
    is_left: bool,
    row: &'static str,
) -> Result<Vec<Sample>, Error> {
    let time = firmware::measure(kind, (!is_left).then_some(&*options.right))?;
    Ok(vec![Sample {
        row,
        unit: Unit::Milliseconds,
        value: time.as_secs_f64() * 1000.0,
    }])
}
