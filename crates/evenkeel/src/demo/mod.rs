//! stub
pub fn main(_script: bool) -> std::process::ExitCode { std::process::ExitCode::FAILURE }
