//! A file of keepalived. There are no other files, accounts or interfaces.
#![no_main]

use address::config::Account;
use address::dialect::{Interface, NoAccount, Options, Outside, Program, load};
use language::source::SourceMap;
use libfuzzer_sys::fuzz_target;
use std::io;
use std::net::IpAddr;
use std::path::Path;

struct Nothing;

impl Outside for Nothing {
    fn host_name(&mut self) -> String {
        "host".to_owned()
    }
    fn read(&mut self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn list(&mut self, _: &Path) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn account(&mut self, _: &str, _: Option<&str>) -> Result<Account, NoAccount> {
        Err(NoAccount::User)
    }
    fn interface(&mut self, _: &str) -> Interface {
        Interface::Missing
    }
    fn program(&mut self, _: &str, _: Option<&Account>) -> Program {
        Program::Missing
    }
    fn resolve(&mut self, _: &str) -> Vec<IpAddr> {
        Vec::new()
    }
    fn seed(&mut self, _: u32) {}
    fn random(&mut self, least: u32, _: u32) -> u32 {
        least
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut sources = SourceMap::default();
    let file = sources.add("keepalived.conf", bytes.to_vec());
    let loaded = load(&mut sources, &[file], &Options::default(), &mut Nothing);
    language::render::concise(&sources, &loaded.diagnostics, true);
});
