//! What carries bytes, and does not block.

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

/// What carries bytes, and does not block.
pub trait Bytes {
    /// Receives what there is into these slices; zero: there will be no more.
    ///
    /// # Errors
    /// The connection is gone, or nothing has come ([`Errno::AGAIN`]).
    fn read(&mut self, slices: &mut [IoSliceMut<'_>]) -> Result<usize, Errno>;

    /// Sends what the other side takes now.
    ///
    /// # Errors
    /// The connection is gone, or it takes nothing ([`Errno::AGAIN`]).
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Errno>;
}

impl Bytes for BorrowedFd<'_> {
    fn read(&mut self, slices: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        rustix::io::readv(*self, slices)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(*self, slices, &mut SendAncillaryBuffer::default(), flags)
    }
}
