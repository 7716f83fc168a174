//! Defines the nonblocking byte streams between which bytes of nodes are forwarded.

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

pub trait NonblockingStream {
    /// Receives available bytes into these slices; returns zero at the end of the stream.
    ///
    /// # Errors
    /// The connection is closed, or no bytes are available ([`Errno::AGAIN`]).
    fn read(&mut self, slices: &mut [IoSliceMut<'_>]) -> Result<usize, Errno>;

    /// Sends as many bytes as the other side accepts now.
    ///
    /// # Errors
    /// The connection is closed, or the other side accepts nothing now ([`Errno::AGAIN`]).
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Errno>;
}

impl NonblockingStream for BorrowedFd<'_> {
    fn read(&mut self, slices: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        rustix::io::readv(*self, slices)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(*self, slices, &mut SendAncillaryBuffer::default(), flags)
    }
}
