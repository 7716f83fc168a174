//! Implements the converters for the first packets of MQTT (3.1, 3.1.1, 5.0): CONNECT of a client
//! and CONNACK of a server.

use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{Argument, ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;
use std::borrow::Cow;

pub(super) static ROWS: &[ConverterRow] = rows! {
    "mqtt_is_valid", ConverterBuild::new(Type::Bin, Type::Bool, is_valid).decides(), "acl example req.payload(0,0),mqtt_is_valid",
        "Tests whether the input is a complete CONNECT or CONNACK packet of MQTT 3.1, 3.1.1 or 5.0.";
    "mqtt_field_value(<packet>,<field>)", ConverterBuild::new(Type::Bin, Type::Str, field).takes(&[ArgumentKind::Text, ArgumentKind::Text], 2).prepare(prepare),
        "acl example req.payload(0,0),mqtt_field_value(connect,username) -m found",
        "Returns a field of a packet. Of `connect` (or 1): flags, protocol_name, protocol_version, client_identifier, \
         will_topic, will_payload, username, password, keepalive. Of `connack` (or 2): flags, protocol_version, \
         reason_code. Of both: the number of an MQTT 5.0 property.";
};

const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
/// Maximum number of properties of a packet that are parsed.
const PROPERTIES_MAX: usize = 64;

/// Field names, each with the packet that has the field.
const NAMES: [(&str, u8); 12] = [
    ("flags", CONNECT),
    ("protocol_name", CONNECT),
    ("protocol_version", CONNECT),
    ("client_identifier", CONNECT),
    ("will_topic", CONNECT),
    ("will_payload", CONNECT),
    ("username", CONNECT),
    ("password", CONNECT),
    ("keepalive", CONNECT),
    ("flags", CONNACK),
    ("protocol_version", CONNACK),
    ("reason_code", CONNACK),
];

const OF_CONNECT: [i64; 14] = [17, 33, 39, 34, 25, 23, 21, 22, 24, 1, 2, 3, 8, 9];
/// Property 18 is in HAProxy's manual twice: the will delay has that number, too.
const WILL_DELAY: i64 = 18;
const OF_CONNACK: [i64; 16] = [
    17, 33, 36, 37, 39, 18, 34, 31, 40, 41, 42, 19, 26, 28, 21, 22,
];

fn prepare(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    let text =
        |n: usize| String::from_utf8_lossy(arguments.text(n).unwrap_or(b"")).to_ascii_lowercase();
    let packet = match &*text(0) {
        "connect" | "1" => CONNECT,
        "connack" | "2" => CONNACK,
        other => {
            return Err(bad_argument(
                span,
                format!("valid packets: 'connect' and 'connack', not '{other}'"),
            ));
        }
    };
    let name = text(1);
    let number: Option<i64> = name.parse().ok();
    let known = |of: &[i64]| number.is_some_and(|number| of.contains(&number));
    let of_packet = match packet {
        CONNECT => known(&OF_CONNECT) || number == Some(WILL_DELAY),
        _ => known(&OF_CONNACK),
    };
    if !of_packet && !NAMES.contains(&(&*name, packet)) {
        return Err(bad_argument(
            span,
            format!("the packet has no field '{name}'"),
        ));
    }
    arguments.list[0] = Some(Argument::Int(packet.into()));
    arguments.list[1] = Some(match number {
        Some(number) => Argument::Int(number),
        None => Argument::Text(name.into_bytes().into()),
    });
    Ok(())
}

/// Reader over bytes; returns None if too few are left.
struct Reader<'t>(&'t [u8]);

impl<'t> Reader<'t> {
    fn take(&mut self, length: usize) -> Option<&'t [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn two(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'t [u8]> {
        let length = self.two()?;
        self.take(length.into())
    }

    /// Reads a number of one to four bytes, seven bits each.
    fn varied(&mut self) -> Option<u32> {
        let mut number = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn properties(&mut self) -> Option<Reader<'t>> {
        let length = usize::try_from(self.varied()?).ok()?;
        self.take(length).map(Reader)
    }

    /// Reads the next property: its number, and its value as text.
    fn property(&mut self) -> Option<(u32, Cow<'t, [u8]>)> {
        let number = self.varied()?;
        let digits = |n: u32| Cow::Owned(n.to_string().into_bytes());
        Some((
            number,
            match number {
                1 | 23 | 25 | 36 | 37 | 40 | 41 | 42 => digits(self.byte()?.into()),
                19 | 33 | 34 => digits(self.two()?.into()),
                2 | 17 | 24 | 39 => digits(u32::from_be_bytes(self.take(4)?.try_into().ok()?)),
                11 => digits(self.varied()?),
                3 | 8 | 9 | 18 | 21 | 22 | 26 | 28 | 31 => Cow::Borrowed(self.text()?),
                38 => {
                    self.text()?;
                    Cow::Borrowed(self.text()?)
                }
                _ => return None,
            },
        ))
    }
}

#[derive(Default)]
struct Packet<'t> {
    kind: u8,
    named: Vec<(&'static str, Cow<'t, [u8]>)>,
    properties: Vec<(u32, Cow<'t, [u8]>)>,
}

impl<'t> Packet<'t> {
    fn parse(bytes: &'t [u8]) -> Option<Packet<'t>> {
        let mut reader = Reader(bytes);
        let first = reader.byte()?;
        let length = usize::try_from(reader.varied()?).ok()?;
        // Reads only the bytes of the first packet; others may follow.
        let mut body = Reader(reader.take(length)?);
        let mut packet = Packet {
            kind: first >> 4,
            ..Packet::default()
        };
        match first {
            0x10 => packet.connect(&mut body)?,
            0x20 => packet.connack(&mut body)?,
            _ => return None,
        }
        body.0.is_empty().then_some(packet)
    }

    fn name(&mut self, name: &'static str, text: &'t [u8]) {
        self.named.push((name, Cow::Borrowed(text)));
    }

    fn number(&mut self, name: &'static str, number: u16) {
        let digits = number.to_string().into_bytes();
        self.named.push((name, Cow::Owned(digits)));
    }

    fn take_properties(&mut self, body: &mut Reader<'t>) -> Option<()> {
        let mut properties = body.properties()?;
        while !properties.0.is_empty() {
            if self.properties.len() == PROPERTIES_MAX {
                return None;
            }
            self.properties.push(properties.property()?);
        }
        Some(())
    }

    fn connect(&mut self, body: &mut Reader<'t>) -> Option<()> {
        let name = body.text()?;
        let version = body.byte()?;
        match (name, version) {
            (b"MQIsdp", 3) | (b"MQTT", 4 | 5) => {}
            _ => return None,
        }
        self.name("protocol_name", name);
        self.number("protocol_version", version.into());
        let flags = body.byte()?;
        let (will, will_quality) = (flags & 4 != 0, (flags >> 3) & 3);
        let (password, username) = (flags & 0x40 != 0, flags & 0x80 != 0);
        if flags & 1 != 0 || (will && will_quality == 3) {
            return None;
        }
        self.number("flags", flags.into());
        let keepalive = body.two()?;
        self.number("keepalive", keepalive);
        if version == 5 {
            self.take_properties(body)?;
        }
        let client = body.text()?;
        self.name("client_identifier", client);
        if will {
            if version == 5 {
                self.take_properties(body)?;
            }
            let (topic, payload) = (body.text()?, body.text()?);
            self.name("will_topic", topic);
            self.name("will_payload", payload);
        }
        if username {
            let text = body.text()?;
            self.name("username", text);
        }
        if password {
            let text = body.text()?;
            self.name("password", text);
        }
        Some(())
    }

    fn connack(&mut self, body: &mut Reader<'t>) -> Option<()> {
        let flags = body.byte()?;
        if flags & 0xfe != 0 {
            return None;
        }
        self.number("flags", flags.into());
        let reason = body.byte()?;
        self.number("reason_code", reason.into());
        let version = if body.0.is_empty() { 4 } else { 5 };
        self.number("protocol_version", version);
        if version == 5 {
            self.take_properties(body)?;
        }
        Some(())
    }
}

fn is_valid<'a>(_: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let bytes = value.into_bytes()?;
    let mut reader = Reader(&bytes);
    reader.byte()?;
    let length = usize::try_from(reader.varied()?).ok()?;
    // Returns no value for an incomplete packet.
    reader.take(length)?;
    Some(SampleValue::Bool(Packet::parse(&bytes).is_some()))
}

fn field<'a>(arguments: &Arguments, value: SampleValue<'a>, _: &ProxyStream) -> Sample<'a> {
    let bytes = value.into_bytes()?;
    let packet = Packet::parse(&bytes)?;
    if i64::from(packet.kind) != arguments.int(0)? {
        return None;
    }
    let found = match arguments.int(1) {
        Some(number) => {
            let mut properties = packet.properties.into_iter();
            properties.find(|(n, _)| i64::from(*n) == number)?.1
        }
        None => {
            let wanted = arguments.text(1)?;
            let mut named = packet.named.into_iter();
            named.find(|(name, _)| name.as_bytes() == wanted)?.1
        }
    };
    Some(SampleValue::Str(Cow::Owned(found.into_owned())))
}
