//! Encodes DNS queries for A, AAAA and SRV records, and parses the responses to them.

use super::DnsName;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Smallest response size over UDP that a query may announce, in bytes.
pub const PAYLOAD_MIN: u16 = 512;
pub const PAYLOAD_MAX: u16 = u16::MAX;
const RECORDS_MAX: usize = 4096;
/// Maximum number of addresses that are read for the host of one service.
const ADDRESSES_BESIDE_MAX: usize = 16;
const ALIASES_MAX: usize = 16;
const HEADER_BYTES: usize = 12;
const CLASS_INTERNET: u16 = 1;
const TYPE_ALIAS: u16 = 5;
const TYPE_OPTIONS: u16 = 41;
const FLAG_ANSWER: u16 = 0x8000;
const FLAG_TRUNCATED: u16 = 0x0200;
const FLAG_RECURSION_WISHED: u16 = 0x0100;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DnsRecordType {
    A,
    Aaaa,
    Srv,
}

impl DnsRecordType {
    fn number(self) -> u16 {
        match self {
            DnsRecordType::A => 1,
            DnsRecordType::Aaaa => 28,
            DnsRecordType::Srv => 33,
        }
    }

    pub fn of(number: u16) -> Option<DnsRecordType> {
        [DnsRecordType::A, DnsRecordType::Aaaa, DnsRecordType::Srv]
            .into_iter()
            .find(|kind| kind.number() == number)
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DnsQuestion {
    pub name: DnsName,
    pub kind: DnsRecordType,
}

impl DnsQuestion {
    /// Returns the query message. `payload_max`: maximum size of the response in bytes.
    pub fn message(&self, id: u16, payload_max: u16) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.name.as_str().len() + 17);
        for number in [id, FLAG_RECURSION_WISHED, 1, 0, 0, 1] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        self.name.write(&mut out);
        out.extend_from_slice(&self.kind.number().to_be_bytes());
        out.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
        // EDNS pseudo-record (RFC 6891): the root as its name, the payload size, and no options.
        out.push(0);
        out.extend_from_slice(&TYPE_OPTIONS.to_be_bytes());
        out.extend_from_slice(&payload_max.to_be_bytes());
        out.extend_from_slice(&[0; 6]);
        out
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DnsResponseCode {
    /// Code 0: the server knows the name, which may have no records of this type.
    Fine,
    NoSuchName,
    Refused,
    Other(u8),
}

/// Value of an SRV record: host and port of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    pub host: DnsName,
    pub port: u16,
    /// Share among the services of the same priority, 0..=65535.
    pub weight: u16,
    /// Priority; lower values come first.
    pub priority: u16,
    /// Addresses of the host from the additional records of the response, at most 16; often empty.
    pub addresses: Vec<IpAddr>,
}

/// Status and records of a response. The lists are empty if the status is not `Fine` or the
/// response is truncated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsResponse {
    pub status: DnsResponseCode,
    /// The response did not fit into a datagram, and must be requested over TCP.
    pub truncated: bool,
    /// The requested name is an alias, and the records belong to another name.
    pub aliased: bool,
    pub addresses: Vec<IpAddr>,
    pub services: Vec<Service>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DnsMessageError {
    /// The message has another id or question, or is not a response.
    Foreign,
    Broken,
}

struct Reader<'m> {
    message: &'m [u8],
    at: usize,
}

/// A resource record: its owner, its type, and the position of its value in the message.
struct ResourceRecord {
    owner: Option<DnsName>,
    number: u16,
    class: u16,
    value: usize,
    end: usize,
}

impl<'m> Reader<'m> {
    fn number(&mut self) -> Option<u16> {
        let bytes = self.message.get(self.at..self.at + 2)?;
        self.at += 2;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    }

    fn name(&mut self) -> Option<Option<DnsName>> {
        let (name, behind) = DnsName::read(self.message, self.at)?;
        self.at = behind;
        Some(name)
    }

    fn record(&mut self) -> Option<ResourceRecord> {
        let owner = self.name()?;
        let (number, class) = (self.number()?, self.number()?);
        // The time to live is ignored, because the interval of queries is configured.
        let _ = (self.number()?, self.number()?);
        let length = usize::from(self.number()?);
        let value = self.at;
        let end = value + length;
        if end > self.message.len() {
            return None;
        }
        self.at = end;
        Some(ResourceRecord {
            owner,
            number,
            class,
            value,
            end,
        })
    }

    fn address(&self, record: &ResourceRecord) -> Option<IpAddr> {
        let value = self.message.get(record.value..record.end)?;
        match DnsRecordType::of(record.number)? {
            DnsRecordType::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
            DnsRecordType::Aaaa => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
            DnsRecordType::Srv => None,
        }
    }

    fn named(&self, at: usize, end: usize) -> Option<DnsName> {
        let (name, behind) = DnsName::read(self.message, at)?;
        name.filter(|_| behind == end)
    }

    fn service(&self, record: &ResourceRecord) -> Option<Service> {
        let mut value = Reader {
            message: self.message,
            at: record.value,
        };
        let (priority, weight, port) = (value.number()?, value.number()?, value.number()?);
        let host = self.named(value.at, record.end)?;
        Some(Service {
            host,
            port,
            weight,
            priority,
            addresses: Vec::new(),
        })
    }
}

/// Parses the response to a query with this id.
///
/// # Errors
/// The message is malformed, or does not belong to the query.
pub fn parse(
    message: &[u8],
    id: u16,
    question: &DnsQuestion,
) -> Result<DnsResponse, DnsMessageError> {
    let mut reader = Reader { message, at: 0 };
    let header: Option<Vec<u16>> = (0..6).map(|_| reader.number()).collect();
    let [its_id, flags, questions, answers, authorities, additional] =
        header.ok_or(DnsMessageError::Broken)?[..]
    else {
        return Err(DnsMessageError::Broken);
    };
    if its_id != id || flags & FLAG_ANSWER == 0 {
        return Err(DnsMessageError::Foreign);
    }
    asked(&mut reader, questions, question)?;
    let status = match flags & 0xf {
        0 => DnsResponseCode::Fine,
        3 => DnsResponseCode::NoSuchName,
        5 => DnsResponseCode::Refused,
        other => DnsResponseCode::Other(other as u8),
    };
    let mut answer = DnsResponse {
        status,
        truncated: flags & FLAG_TRUNCATED != 0,
        aliased: false,
        addresses: Vec::new(),
        services: Vec::new(),
    };
    if status != DnsResponseCode::Fine || answer.truncated {
        return Ok(answer);
    }
    if usize::from(answers) + usize::from(additional) > RECORDS_MAX {
        return Err(DnsMessageError::Broken);
    }
    let mut records = Vec::with_capacity(usize::from(answers).min(64));
    for _ in 0..answers {
        let record = reader.record().ok_or(DnsMessageError::Broken)?;
        if record.class == CLASS_INTERNET {
            records.push(record);
        }
    }
    take(&reader, &records, question, &mut answer)?;
    for _ in 0..authorities {
        reader.record().ok_or(DnsMessageError::Broken)?;
    }
    for _ in 0..additional {
        let record = reader.record().ok_or(DnsMessageError::Broken)?;
        let (Some(owner), Some(address)) = (&record.owner, reader.address(&record)) else {
            continue;
        };
        let of = answer.services.iter_mut();
        of.filter(|service| service.addresses.len() < ADDRESSES_BESIDE_MAX)
            .filter(|service| service.host == *owner)
            .for_each(|service| service.addresses.push(address));
    }
    Ok(answer)
}

fn asked(
    reader: &mut Reader<'_>,
    count: u16,
    question: &DnsQuestion,
) -> Result<(), DnsMessageError> {
    if count != 1 {
        return Err(DnsMessageError::Foreign);
    }
    let name = reader.name().ok_or(DnsMessageError::Broken)?;
    let kind = reader.number().ok_or(DnsMessageError::Broken)?;
    let class = reader.number().ok_or(DnsMessageError::Broken)?;
    let same = name.as_ref() == Some(&question.name)
        && kind == question.kind.number()
        && class == CLASS_INTERNET;
    if same {
        Ok(())
    } else {
        Err(DnsMessageError::Foreign)
    }
}

/// Collects the records of the requested name, or of the name for which it is an alias.
fn take(
    reader: &Reader<'_>,
    records: &[ResourceRecord],
    question: &DnsQuestion,
    answer: &mut DnsResponse,
) -> Result<(), DnsMessageError> {
    let mut owner = question.name.clone();
    for _ in 0..=ALIASES_MAX {
        let alias = records
            .iter()
            .find(|r| r.number == TYPE_ALIAS && r.owner.as_ref() == Some(&owner));
        let Some(alias) = alias else { break };
        owner = reader
            .named(alias.value, alias.end)
            .ok_or(DnsMessageError::Broken)?;
        answer.aliased = true;
    }
    let of = records
        .iter()
        .filter(|r| r.number == question.kind.number() && r.owner.as_ref() == Some(&owner));
    for record in of {
        if question.kind == DnsRecordType::Srv {
            let service = reader.service(record).ok_or(DnsMessageError::Broken)?;
            answer.services.push(service);
        } else {
            let address = reader.address(record).ok_or(DnsMessageError::Broken)?;
            answer.addresses.push(address);
        }
    }
    Ok(())
}
