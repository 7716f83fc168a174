//! Implements the converters of numbers and booleans. Sums and products saturate at the range of 64
//! bits instead of wrapping around.

use super::{ConverterBuild, ConverterRow, rows};
use crate::rules::argument::{ArgumentKind, Arguments};
use crate::rules::fetch::variable_value;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;

const fn two(apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(Type::Int, Type::Int, apply).takes(&[ArgumentKind::IntOrVariable], 1)
}

const fn one(apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(Type::Int, Type::Int, apply)
}

const fn truth(apply: super::Apply) -> ConverterBuild {
    ConverterBuild::new(Type::Int, Type::Bool, apply)
}

pub(super) static ROWS: &[ConverterRow] = rows! {
    "add(<value>)", two(add), "acl near dst_port,add(1) 444",
        "Adds a number or the value of a variable.";
    "sub(<value>)", two(sub), "acl low dst_port,sub(8000) lt 80",
        "Subtracts a number or the value of a variable.";
    "mul(<value>)", two(mul), "acl big req.body_size,mul(8) gt 8000000",
        "Multiplies by a number or the value of a variable.";
    "div(<value>)", two(div), "acl megabytes req.body_size,div(1048576) gt 10",
        "Divides by a number or the value of a variable, rounding towards zero. A division by zero returns the \
         largest number.";
    "mod(<value>)", two(modulo), "acl tenth rand,mod(10) 0",
        "Returns the remainder of a division by a number or the value of a variable; 0 for a division by zero.";
    "and(<value>)", two(and), "acl bit src_port,and(1) 1",
        "Bitwise AND with a number or the value of a variable.";
    "or(<value>)", two(or), "acl bits src_port,or(1) gt 1",
        "Bitwise OR with a number or the value of a variable.";
    "xor(<value>)", two(xor), "acl bits src_port,xor(255) gt 1",
        "Bitwise exclusive OR with a number or the value of a variable.";
    "cpl", one(|_, v, _| Some(SampleValue::Int(!v.integer()?))), "acl bits src_port,cpl lt 0",
        "Inverts all bits of the number.";
    "neg",
        one(|_, v, _| Some(SampleValue::Int(v.integer()?.saturating_neg()))), "acl after int(5),neg -5",
        "Negates the number.";
    "not", truth(|_, v, _| Some(SampleValue::Bool(v.integer()? == 0))), "acl plain ssl_fc,not",
        "True for 0 or false; otherwise false.";
    "bool", truth(|_, v, _| Some(SampleValue::Bool(v.integer()? != 0))), "acl some req.body_len,bool",
        "False for 0; true for other numbers.";
    "even", truth(|_, v, _| Some(SampleValue::Bool(v.integer()? & 1 == 0))), "acl half src_port,even",
        "True for even numbers.";
    "odd", truth(|_, v, _| Some(SampleValue::Bool(v.integer()? & 1 == 1))), "acl half src_port,odd",
        "True for odd numbers.";
};

fn operand(arguments: &Arguments, stream: &ProxyStream) -> Option<i64> {
    match arguments.variable(0) {
        Some(name) => variable_value(name, stream)?.integer(),
        None => arguments.int(0),
    }
}

macro_rules! calculation {
    ($name:ident, $left:ident, $right:ident, $result:expr) => {
        fn $name<'a>(
            arguments: &'a Arguments,
            value: SampleValue<'a>,
            stream: &'a ProxyStream,
        ) -> Sample<'a> {
            let ($left, $right) = (value.integer()?, operand(arguments, stream)?);
            Some(SampleValue::Int($result))
        }
    };
}

calculation!(add, a, b, a.saturating_add(b));
calculation!(sub, a, b, a.saturating_sub(b));
calculation!(mul, a, b, a.saturating_mul(b));
calculation!(
    div,
    a,
    b,
    if b == 0 {
        i64::MAX
    } else {
        a.saturating_div(b)
    }
);
calculation!(modulo, a, b, if b == 0 { 0 } else { a.wrapping_rem(b) });
calculation!(and, a, b, a & b);
calculation!(or, a, b, a | b);
calculation!(xor, a, b, a ^ b);
