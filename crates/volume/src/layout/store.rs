//! Plans the writes that change a replica's metadata on disk, and knows the state on disk after
//! these writes.

use super::page::{BitmapPage, PAGE_WORDS};
use super::slot::{Fill, SlotContent, Superblock, SuperblockSlot, VolumeId};
use super::{
    BITMAP_OFFSET, EXTENT_WORDS, LayoutError, PAGE_BYTES, PAGE_EXTENTS, SLOT_BYTES, SLOTS, extents,
    metadata_bytes, pages,
};
use crate::overwrite::OverwriteMark;
use std::collections::BTreeSet;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    pub offset: u64,
    /// Content to write, whose length is a multiple of 4 KiB.
    pub bytes: Vec<u8>,
}

/// Writes that may be executed in any order. All of them are durable before the next phase begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WritePhase(pub Vec<Write>);

/// Change that is stored atomically: the new head and activity log become valid together with the
/// last write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetadataChange {
    pub head: Superblock,
    /// Value that all dirty bits get before `bits` are stored.
    pub fill: Option<bool>,
    /// Dirty bits of some extents, 64 blocks per word.
    pub bits: Vec<(u32, Vec<u64>)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    pub head: Superblock,
    /// Dirty bits, one per block, 64 per word.
    pub dirty: Vec<u64>,
    /// Number of damaged bitmap pages, whose bits are all set.
    pub damaged_pages: u32,
}

/// State of the metadata on disk after the planned writes. The caller executes the writes of
/// [`Metadata::plan`] phase by phase before it plans the next change. If a write fails, it calls
/// [`Metadata::failed`].
#[derive(Clone, Debug)]
pub struct Metadata {
    slot: SuperblockSlot,
    words: Vec<u64>,
    is_unknown: bool,
}

impl Metadata {
    /// Creates clean metadata for a new replica of the volume with this name.
    ///
    /// # Errors
    /// The size is invalid.
    pub fn create(
        head: Superblock,
        name: &str,
    ) -> Result<(Metadata, Vec<WritePhase>), LayoutError> {
        metadata_bytes(head.size_bytes)?;
        let fill = Fill {
            number: 1,
            value: false,
        };
        let count = pages(head.size_bytes);
        let metadata = Metadata {
            words: vec![0; count as usize * PAGE_WORDS],
            is_unknown: false,
            slot: SuperblockSlot {
                number: 1,
                head,
                fill,
                name: Some(name.to_owned()),
            },
        };
        // Wipes old slots, because one of them might be newer.
        let wiped = Write {
            offset: 0,
            bytes: vec![0; BITMAP_OFFSET as usize],
        };
        let pages = (0..count).map(|index| metadata.page(index, 1));
        let first = std::iter::once(wiped).chain(pages).collect();
        let last = vec![metadata.slot_write()];
        Ok((metadata, vec![WritePhase(first), WritePhase(last)]))
    }

    /// Loads metadata. With `expected`, refuses any other volume.
    ///
    /// # Errors
    /// The metadata is invalid.
    pub fn load(
        bytes: &[u8],
        expected: Option<VolumeId>,
    ) -> Result<(Metadata, Loaded), LayoutError> {
        let slot = newest(bytes, expected)?;
        let size = slot.head.size_bytes;
        let (has, needs) = (bytes.len() as u64, metadata_bytes(size)?);
        if has < needs {
            return Err(LayoutError::Truncated { has, needs });
        }
        let mut words = Vec::with_capacity(pages(size) as usize * PAGE_WORDS);
        let mut damaged_pages = 0;
        let stored = bytes[BITMAP_OFFSET as usize..].chunks(PAGE_BYTES);
        for (index, page) in (0..pages(size)).zip(stored) {
            match BitmapPage::decode(page, index, slot.head.volume) {
                Some(page) if page.number >= slot.fill.number => words.extend(page.words),
                Some(_) => words.resize(words.len() + PAGE_WORDS, filled(slot.fill.value)),
                None => {
                    damaged_pages += 1;
                    words.resize(words.len() + PAGE_WORDS, u64::MAX);
                }
            }
        }
        let loaded = Loaded {
            head: slot.head.clone(),
            dirty: dirty(&words, size),
            damaged_pages,
        };
        let metadata = Metadata {
            slot,
            words,
            is_unknown: false,
        };
        Ok((metadata, loaded))
    }

    pub fn head(&self) -> &Superblock {
        &self.slot.head
    }

    /// Returns the name of the volume. None: the replica comes from an earlier release, which
    /// stored no name.
    pub fn name(&self) -> Option<&str> {
        self.slot.name.as_deref()
    }

    /// Plans the writes that assign the replica to the volume with this name, like
    /// [`Metadata::plan`].
    pub fn rename(&mut self, name: &str) -> Vec<WritePhase> {
        self.slot.name = Some(name.to_owned());
        let change = MetadataChange {
            head: self.slot.head.clone(),
            fill: None,
            bits: Vec::new(),
        };
        self.plan(&change)
    }

    /// Plans the writes that set or remove the mark of an incomplete volume, like
    /// [`Metadata::plan`].
    pub fn set_overwrite(&mut self, mark: Option<OverwriteMark>) -> Vec<WritePhase> {
        let change = MetadataChange {
            head: Superblock {
                overwrite: mark,
                ..self.slot.head.clone()
            },
            fill: None,
            bits: Vec::new(),
        };
        self.plan(&change)
    }

    /// Records that a planned write failed. The next change then writes all pages of the bitmap.
    pub fn failed(&mut self) {
        self.is_unknown = true;
    }

    /// Plans the writes for a change. The caller has to execute them, phase by phase, before it
    /// plans the next change. After an interruption either the old or the new head is valid.
    pub fn plan(&mut self, change: &MetadataChange) -> Vec<WritePhase> {
        let mut phases = Vec::new();
        if let Some(value) = change.fill {
            self.slot.fill = Fill {
                number: self.slot.number + 1,
                value,
            };
            self.words.fill(filled(value));
            // Makes the fill valid before a changed page is written, because such a page also has
            // bits that the fill has set. Without changed pages the fill becomes valid together
            // with the head.
            if !change.bits.is_empty() || self.is_unknown {
                self.slot.number += 1;
                phases.push(WritePhase(vec![self.slot_write()]));
            }
        }
        let number = self.slot.number + 1;
        let mut touched = BTreeSet::new();
        let (before, head) = (&self.slot.head, &change.head);
        if (before.volume, before.size_bytes) != (head.volume, head.size_bytes) {
            // Rewrites all pages, because they contain the volume's identifier and their number
            // may have grown.
            touched.extend(0..pages(head.size_bytes));
            self.words.resize(touched.len() * PAGE_WORDS, 0);
        }
        if std::mem::take(&mut self.is_unknown) {
            touched.extend(0..pages(head.size_bytes));
        }
        self.slot.head = change.head.clone();
        for (extent, words) in &change.bits {
            let place = *extent as usize * EXTENT_WORDS;
            if let Some(stored) = self.words.get_mut(place..place + EXTENT_WORDS) {
                stored.fill(0);
                let count = words.len().min(EXTENT_WORDS);
                stored[..count].copy_from_slice(&words[..count]);
                touched.insert(extent / PAGE_EXTENTS);
            }
        }
        if !touched.is_empty() {
            let pages = touched.into_iter().map(|index| self.page(index, number));
            phases.push(WritePhase(pages.collect()));
        }
        self.slot.number = number;
        phases.push(WritePhase(vec![self.slot_write()]));
        phases
    }

    fn page(&self, index: u32, number: u64) -> Write {
        let words = self.words.chunks(PAGE_WORDS).nth(index as usize);
        let page = BitmapPage {
            index,
            number,
            volume: self.slot.head.volume,
            words: words.unwrap_or_default().to_vec(),
        };
        Write {
            offset: BITMAP_OFFSET + u64::from(index) * PAGE_BYTES as u64,
            bytes: page.encode(),
        }
    }

    fn slot_write(&self) -> Write {
        Write {
            offset: self.slot.number % SLOTS * SLOT_BYTES as u64,
            bytes: self.slot.encode(),
        }
    }
}

/// Returns the size of the volume from the start of its metadata, bytes; None if this release
/// cannot decode it.
pub fn stored_size(bytes: &[u8]) -> Option<u64> {
    let slot = newest(bytes, None).ok()?;
    Some(slot.head.size_bytes)
}

/// Returns the mark of an incomplete volume at the start of its metadata. None also if this release
/// cannot decode the metadata.
pub fn stored_overwrite(bytes: &[u8]) -> Option<OverwriteMark> {
    newest(bytes, None).ok()?.head.overwrite
}

fn newest(bytes: &[u8], expected: Option<VolumeId>) -> Result<SuperblockSlot, LayoutError> {
    if bytes.is_empty() {
        return Err(LayoutError::Empty);
    }
    let (mut best, mut other, mut damaged): (Option<SuperblockSlot>, _, _) = (None, None, false);
    for room in bytes.chunks(SLOT_BYTES).take(SLOTS as usize) {
        match SuperblockSlot::decode(room) {
            // Refuses an unsupported format: its slot may be newer than all supported ones.
            SlotContent::Newer(format) => return Err(LayoutError::Newer(format)),
            SlotContent::Damaged => damaged = true,
            SlotContent::Nothing => {}
            SlotContent::Valid(slot) => match (slot.head.volume, expected) {
                (Some(found), Some(expected)) if found != expected => {
                    other = Some(LayoutError::OtherVolume { found, expected });
                }
                _ if best.as_ref().is_none_or(|best| best.number < slot.number) => {
                    best = Some(*slot);
                }
                _ => {}
            },
        }
    }
    let has = bytes.len() as u64;
    match (best, other) {
        (Some(slot), _) => Ok(slot),
        (None, Some(other)) => Err(other),
        (None, None) if has < BITMAP_OFFSET => Err(LayoutError::Truncated {
            has,
            needs: BITMAP_OFFSET,
        }),
        (None, None) if damaged => Err(LayoutError::Damaged),
        (None, None) => Err(LayoutError::NotOurs),
    }
}

fn filled(value: bool) -> u64 {
    if value { u64::MAX } else { 0 }
}

/// Returns the dirty bits of the volume's blocks, without the bits after the end of the volume.
fn dirty(words: &[u64], size_bytes: u64) -> Vec<u64> {
    let blocks = size_bytes / super::BLOCK_BYTES;
    let count = blocks.div_ceil(64) as usize;
    debug_assert!(count <= extents(size_bytes) as usize * EXTENT_WORDS);
    let mut dirty = words[..count.min(words.len())].to_vec();
    if let Some(last) = dirty.last_mut()
        && !blocks.is_multiple_of(64)
    {
        *last &= (1 << (blocks % 64)) - 1;
    }
    dirty
}

#[cfg(test)]
pub(super) fn newest_number(bytes: &[u8]) -> u64 {
    newest(bytes, None).map_or(0, |slot| slot.number)
}
