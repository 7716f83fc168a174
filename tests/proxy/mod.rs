//! Contains the scenarios of the proxy, its tools and its personalities.

pub mod changes;
pub mod checks;
pub mod external_checks;
pub mod fastcgi;
pub mod log_forward;
pub mod logs;
pub mod names;
pub mod names_late;
pub mod old_rules;
pub mod overload;
pub mod peers;
pub mod personality;
pub mod proxy_protocol;
pub mod same_bytes;
pub mod small_business;
pub mod statistics;
pub mod systemd;
pub mod tools;
pub mod tools_python;
pub mod traffic;
pub mod transparent;
pub mod users;
