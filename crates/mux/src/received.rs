//! Buffers the body data of an HTTP/2 stream until the user of the stream reads it. The buffer
//! consists of blocks from a pool per thread, so that many streams with little data use little
//! memory. HTTP/2 flow control limits its size, not this code.

use reactor::Buffer;
use std::cell::RefCell;
use std::collections::VecDeque;

/// Size of a block, bytes: small compared to a window, large compared to a frame header.
const BLOCK_BYTES: usize = 4096;
const POOLED_MAX: usize = 1024;

type ReceiveBlock = Box<[u8; BLOCK_BYTES]>;

thread_local! {
    static POOL: RefCell<Vec<ReceiveBlock>> = const { RefCell::new(Vec::new()) };
}

fn take_block() -> ReceiveBlock {
    let pooled = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
    pooled.unwrap_or_else(|| Box::new([0; BLOCK_BYTES]))
}

fn return_block(block: ReceiveBlock) {
    // Frees the block if the pool is full or does not exist (the thread is ending).
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < POOLED_MAX {
            pool.push(block);
        }
    });
}

#[derive(Default)]
pub(super) struct Received {
    blocks: VecDeque<ReceiveBlock>,
    /// Number of consumed bytes of the first block.
    start: usize,
    length: usize,
}

impl Received {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn push(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let at = (self.start + self.length) % BLOCK_BYTES;
            if self.start + self.length == self.blocks.len() * BLOCK_BYTES {
                self.blocks.push_back(take_block());
            }
            let Some(block) = self.blocks.back_mut() else {
                return;
            };
            let n = data.len().min(BLOCK_BYTES - at);
            block[at..at + n].copy_from_slice(&data[..n]);
            self.length += n;
            data = &data[n..];
        }
    }

    pub(super) fn pop_into(&mut self, buffer: &mut Buffer) -> usize {
        let mut moved = 0;
        while self.length > 0 {
            let Some(block) = self.blocks.front() else {
                break;
            };
            let there = self.length.min(BLOCK_BYTES - self.start);
            let n = buffer.extend(&block[self.start..self.start + there]);
            moved += n;
            self.start += n;
            self.length -= n;
            if self.start == BLOCK_BYTES || self.length == 0 {
                self.start = 0;
                self.blocks.drain(..1).for_each(return_block);
            }
            if n < there {
                break;
            }
        }
        moved
    }

    pub(super) fn clear(&mut self) {
        self.blocks.drain(..).for_each(return_block);
        (self.start, self.length) = (0, 0);
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_written_in_any_pieces() {
        let all: Vec<u8> = (0..9_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        for (into, out) in [
            (7, 8_000),
            (8_000, 7),
            (4096, 4096),
            (5_000, 333),
            (9_000, 100),
        ] {
            let (mut received, mut got) = (Received::default(), Vec::new());
            for piece in all.chunks(into) {
                received.push(piece);
                // A buffer with `out` bytes of free space.
                let mut buffer = Buffer::take();
                let filler = buffer.capacity() - out;
                buffer.extend(&vec![0; filler]);
                buffer.consume(filler - 1);
                let n = received.pop_into(&mut buffer);
                got.extend_from_slice(&buffer.filled()[1..]);
                assert_eq!(n + 1, buffer.len());
            }
            let mut buffer = Buffer::take();
            while received.len() > 0 {
                received.pop_into(&mut buffer);
                got.extend_from_slice(buffer.filled());
                buffer.clear();
            }
            assert!(got == all, "pieces of {into} in, {out} out");
            assert!(received.blocks.is_empty());
        }
    }

    #[test]
    fn empty_buffer_holds_no_block_and_blocks_are_reused() {
        let mut received = Received::default();
        received.push(&[1; 10_000]);
        assert_eq!(received.blocks.len(), 3);
        let before = POOL.with(|pool| pool.borrow().len());
        received.clear();
        assert_eq!(received.len(), 0);
        assert_eq!(POOL.with(|pool| pool.borrow().len()), before + 3);
    }
}
