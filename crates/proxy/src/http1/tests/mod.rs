//! The tables of what is accepted, and what holds for any bytes.

mod requests;
