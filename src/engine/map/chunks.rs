//! The entries of a table, 4096 in a chunk: a chunk that is one range costs 16 bytes, any other
//! 8 bytes an entry. A new table of 1 TiB is 4 KiB, the worst one 8 MiB and those 4 KiB.
//!
//! Not here: what the entries mean. Invariant: no chunk but the last is shorter than [`CHUNK`],
//! and a chunk's location never passes [`MAX_LOCATION`](super::entry::MAX_LOCATION).

use super::entry::Entry;
use std::ops::Range;

/// Entries in a chunk: 4 GiB of a volume.
pub const CHUNK: u32 = 4096;

enum Chunk {
    /// One range: the first entry; the others are its [`Entry::nth`].
    Range(Entry),
    /// Every entry by itself.
    Dense(Box<[Entry]>),
}

impl Chunk {
    #[inline]
    fn get(&self, i: u32) -> Entry {
        match self {
            Chunk::Range(first) => nth(*first, i),
            Chunk::Dense(entries) => entries[i as usize],
        }
    }

    fn dense(&mut self, len: u32) -> &mut [Entry] {
        if let Chunk::Range(first) = *self {
            *self = Chunk::Dense((0..len).map(|i| nth(first, i)).collect());
        }
        match self {
            Chunk::Dense(entries) => entries,
            Chunk::Range(_) => unreachable!("made dense above"),
        }
    }
}

/// The n-th of a range that was checked when it was set.
#[inline]
fn nth(first: Entry, n: u32) -> Entry {
    let Some(entry) = first.nth(n) else {
        unreachable!("a range in the table stays below the largest location");
    };
    entry
}

/// The entries of one table. Ranges given to it must lie inside: the caller answers errors.
pub struct Chunks {
    chunks: Vec<Chunk>,
    len: u32,
}

impl Chunks {
    /// So many entries, all invalid.
    pub fn new(len: u32) -> Self {
        let chunks = (0..len.div_ceil(CHUNK))
            .map(|_| Chunk::Range(Entry::INVALID))
            .collect();
        Chunks { chunks, len }
    }

    /// How many entries there are.
    #[inline]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// One entry.
    ///
    /// # Panics
    /// Past the end.
    #[inline]
    pub fn get(&self, at: u32) -> Entry {
        assert!(at < self.len, "segment {at} of a table of {}", self.len);
        self.chunks[(at / CHUNK) as usize].get(at % CHUNK)
    }

    /// Makes `range` the range that starts with `first`.
    pub fn fill(&mut self, range: Range<u32>, first: Entry) {
        let start = range.start;
        self.each(range, |chunk, len, part, base| {
            let first = nth(first, base + part.start - start);
            if part.len() == len as usize {
                *chunk = Chunk::Range(first);
                return;
            }
            if part
                .clone()
                .all(|i| chunk.get(i) == nth(first, i - part.start))
            {
                return; // No reason to make it dense.
            }
            let entries = chunk.dense(len);
            for i in part.clone() {
                entries[i as usize] = nth(first, i - part.start);
            }
        });
    }

    /// Replaces each entry of `range` by `f` of it; `f` must map a range to a range.
    pub fn map(&mut self, range: Range<u32>, f: impl Fn(Entry) -> Entry) {
        self.each(range, |chunk, len, part, _| match chunk {
            Chunk::Range(first) if f(*first) == *first => {}
            Chunk::Range(first) if part.len() == len as usize => *first = f(*first),
            _ => {
                let part = part.start as usize..part.end as usize;
                chunk.dense(len)[part].iter_mut().for_each(|e| *e = f(*e));
            }
        });
    }

    /// Calls `f(chunk, its length, part of it, its first index)` for each chunk that `range` meets.
    fn each(&mut self, range: Range<u32>, mut f: impl FnMut(&mut Chunk, u32, Range<u32>, u32)) {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "{range:?} of {}",
            self.len
        );
        let mut at = range.start;
        while at < range.end {
            let base = at / CHUNK * CHUNK;
            let len = (self.len - base).min(CHUNK);
            let end = (range.end - base).min(len);
            f(
                &mut self.chunks[(base / CHUNK) as usize],
                len,
                at - base..end,
                base,
            );
            at = base + end;
        }
    }

    /// The entries of `range` as the fewest ranges of like entries, each with its first entry.
    ///
    /// # Panics
    /// Past the end.
    pub fn ranges(&self, range: Range<u32>) -> Vec<(Range<u32>, Entry)> {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "{range:?} of {}",
            self.len
        );
        let mut out: Vec<(Range<u32>, Entry)> = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let chunk_end = ((at / CHUNK + 1) * CHUNK).min(range.end);
            let end = match &self.chunks[(at / CHUNK) as usize] {
                Chunk::Range(_) => chunk_end,
                Chunk::Dense(_) => at + 1,
            };
            let entry = self.get(at);
            match out.last_mut() {
                Some((before, first)) if first.nth(at - before.start) == Some(entry) => {
                    before.end = end;
                }
                _ => out.push((at..end, entry)),
            }
            at = end;
        }
        out
    }

    /// Cuts the table off, or adds invalid entries.
    pub fn resize(&mut self, len: u32) {
        let kept = len.min(self.len);
        let tail = (kept % CHUNK) as usize;
        self.chunks.truncate(kept.div_ceil(CHUNK) as usize);
        let grown = (len - kept / CHUNK * CHUNK).min(CHUNK) as usize;
        if let Some(last) = self.chunks.last_mut().filter(|_| tail != 0) {
            // The last chunk is partial: its entries must be as many as the new length says.
            if grown > tail && !matches!(last, Chunk::Range(Entry::INVALID)) {
                last.dense(tail as u32);
            }
            if let Chunk::Dense(entries) = last {
                let mut entries = std::mem::take(entries).into_vec();
                entries.resize(grown, Entry::INVALID);
                *last = Chunk::Dense(entries.into_boxed_slice());
            }
        }
        self.chunks.resize_with(len.div_ceil(CHUNK) as usize, || {
            Chunk::Range(Entry::INVALID)
        });
        self.len = len;
    }

    /// Bytes held beside this struct.
    pub fn memory(&self) -> usize {
        let dense = |c: &Chunk| match c {
            Chunk::Range(_) => 0,
            Chunk::Dense(entries) => size_of_val(&entries[..]),
        };
        self.chunks.capacity() * size_of::<Chunk>() + self.chunks.iter().map(dense).sum::<usize>()
    }
}
