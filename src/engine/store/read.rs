//! Reads: of data, and of the pages that say which blocks hold data.

use super::chunk::{Chunk, ChunkId, Stage};
use super::{Io, Sink, Store};
use crate::format::MetaAddr;
use crate::format::page::{Page, PageHome};
use crate::io::{Buf, Effect, IoKind, Notice};
use crate::leaf::{BlockBits, Outcome};
use crate::map::{Access, State};
use layout::BLOCK;

impl Store {
    pub(super) fn run_read(&mut self, id: ChunkId, buf: Buf, sink: &mut Sink<'_>) {
        let Some(entry) = self.admit(id, Access::Read, sink) else {
            return;
        };
        let Chunk { first, count, .. } = self.chunks[id];
        let Some(physical) = entry.location() else {
            sink.out.push(Effect::Zero {
                buf,
                len: count * BLOCK as u32,
            });
            self.end_chunk(id, Ok(Outcome::Ok), sink);
            return;
        };
        if entry.is_run() {
            self.read_blocks(id, physical, first, count, buf, sink);
            return;
        }
        let Some(page) = self.page_for(id, physical, sink) else {
            return;
        };
        let valid = page.valid;
        let mut at = first;
        while at < first + count {
            let (end, data) = run_of_bits(&valid, at, first + count);
            let part = buf.skip((at - first) * BLOCK as u32);
            if data {
                self.read_blocks(id, physical, at, end - at, part, sink);
            } else {
                sink.out.push(Effect::Zero {
                    buf: part,
                    len: (end - at) * BLOCK as u32,
                });
            }
            at = end;
        }
        if self.chunks[id].ios == 0 {
            self.end_chunk(id, Ok(Outcome::Ok), sink);
        }
    }

    fn read_blocks(
        &mut self,
        id: ChunkId,
        physical: u32,
        first: u32,
        count: u32,
        buf: Buf,
        sink: &mut Sink<'_>,
    ) {
        let offset = self.geometry().data_offset(physical, first);
        self.chunks[id].stage = Stage::Running;
        self.chunks[id].ios += 1;
        self.start(
            Io::Data(id),
            offset,
            IoKind::Read {
                buf,
                len: count * BLOCK as u32,
            },
            sink,
        );
    }

    /// The page of a segment of the disk; `None` where the chunk waits for it to be read. A chunk
    /// that has not started its I/O then steps back from the table and starts afresh.
    pub(super) fn page_for(
        &mut self,
        id: ChunkId,
        physical: u32,
        sink: &mut Sink<'_>,
    ) -> Option<&mut Page> {
        if self.pages.get(physical).is_none() {
            if self.chunks[id].stage == Stage::Begin {
                self.step_back(id);
            }
            if self.pages.wait(physical, id) {
                let offset = self.geometry().meta_offset(MetaAddr::Page(physical));
                self.start(
                    Io::Page(physical),
                    offset,
                    IoKind::ReadMeta { len: BLOCK as u32 },
                    sink,
                );
            }
            return None;
        }
        self.pages.get(physical).map(|c| &mut c.page)
    }

    /// A page was read. One that cannot be believed puts its segment in error.
    pub(super) fn page_read(&mut self, physical: u32, block: &[u8], sink: &mut Sink<'_>) {
        for chunk in self.pages.woken(physical) {
            self.ready.push_back(chunk);
        }
        if self.pages.peek(physical).is_some() {
            return;
        }
        let Some((slot, logical)) = self.logical(physical) else {
            return;
        };
        let current = self.objects[usize::from(slot)].as_ref().is_some_and(|o| {
            let entry = o.table.get(logical);
            entry.is_paged() && entry.location() == Some(physical)
        });
        if !current {
            return;
        }
        let blocks = self.geometry().segment_blocks;
        let wrong = match Page::decode(block, &self.page_home(slot, physical), blocks) {
            Ok(page) if page.logical == logical => {
                self.pages.insert(physical, page, true);
                self.shrink_pages();
                return;
            }
            Ok(page) => format!("it is of segment {}, expected {logical}", page.logical),
            Err(e) => e.to_string(),
        };
        let what = format!("{}: {wrong}", MetaAddr::Page(physical));
        sink.out.push(Effect::Notice(Notice::Damaged {
            disk: self.disk(),
            what,
        }));
        let table = &mut self.object_mut(slot).table;
        let set = table.set_state(logical..logical + 1, State::Error, true, None);
        assert!(set.is_ok(), "the segment is the table's own");
        self.take_ready(slot, sink);
    }

    pub(super) fn page_home(&self, slot: u16, physical: u32) -> PageHome {
        let record = &self.object(slot).record;
        PageHome {
            disk: self.disk(),
            volume: record.volume,
            path: record.path,
            segment: physical,
            first_block: self.geometry().data_block(physical, 0),
        }
    }

    pub(super) fn shrink_pages(&mut self) {
        if self.pages.len() > self.config.pages {
            let dirty = &self.dirty;
            self.pages
                .shrink(self.config.pages, |s| dirty.contains(&MetaAddr::Page(s)));
        }
    }
}

/// Where the run of like bits that starts at `at` ends, at `end` at the latest, and what they are.
fn run_of_bits(bits: &BlockBits, at: u32, end: u32) -> (u32, bool) {
    let bit = |i: u32| bits[i as usize / 64] >> (i % 64) & 1 == 1;
    let first = bit(at);
    let next = (at + 1..end).find(|i| bit(*i) != first);
    (next.unwrap_or(end), first)
}
