//! Empty: the scenarios are in `main.rs`.
