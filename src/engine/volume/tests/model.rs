//! What a reader may see: for each block the writes that may be the last one.

use std::collections::BTreeMap;

/// A write of a block, as the client knows it.
#[derive(Clone, Copy, Debug)]
struct Write {
    value: Option<u64>,
    submitted: u64,
    /// Answered, or given up in a crash.
    ended: Option<u64>,
    /// It surely happened: what ended before it began is gone.
    sure: bool,
    /// A flush begun after its answer was answered.
    durable: bool,
}

/// Blocks with their values.
pub type Blocks = Vec<(u64, Option<u64>)>;

/// All blocks of a volume.
#[derive(Debug)]
pub struct Model {
    blocks: Vec<Vec<Write>>,
    clock: u64,
    /// Requests not answered: the value of each block, and when it was submitted.
    open: BTreeMap<u64, (u64, Blocks)>,
}

impl Model {
    pub fn new(blocks: u64) -> Self {
        let first = Write {
            value: None,
            submitted: 0,
            ended: Some(0),
            sure: true,
            durable: true,
        };
        Model {
            blocks: vec![vec![first]; blocks as usize],
            clock: 1,
            open: BTreeMap::new(),
        }
    }

    pub fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub fn submit(&mut self, req: u64, writes: Blocks) {
        let submitted = self.now();
        for (block, value) in &writes {
            self.blocks[*block as usize].push(Write {
                value: *value,
                submitted,
                ended: None,
                sure: false,
                durable: false,
            });
        }
        self.open.insert(req, (submitted, writes));
    }

    /// The write was answered; refused for lack of space it never happened, failed it may have.
    pub fn answer(&mut self, req: u64, done: bool, never: bool, durable: bool) {
        let now = self.now();
        let Some((submitted, writes)) = self.open.remove(&req) else {
            return;
        };
        for (block, _) in writes {
            let list = &mut self.blocks[block as usize];
            if never {
                list.retain(|w| w.submitted != submitted);
            }
            for w in list.iter_mut().filter(|w| w.submitted == submitted) {
                (w.ended, w.sure, w.durable) = (Some(now), done, durable);
            }
            forget(list, |w| w.sure && w.durable);
        }
    }

    /// A flush that was submitted then was answered now.
    pub fn flushed(&mut self, submitted: u64) {
        for list in &mut self.blocks {
            for w in list.iter_mut() {
                w.durable |= w.sure && w.ended.is_some_and(|e| e < submitted);
            }
            forget(list, |w| w.sure && w.durable);
        }
    }

    /// What no flush covers may be gone: then what was there before is there.
    pub fn lose(&mut self) {
        for w in self.blocks.iter_mut().flatten() {
            w.sure = w.durable;
        }
    }

    /// The client's requests came to an end without an answer.
    pub fn crash(&mut self) {
        let now = self.now();
        for (_, (submitted, writes)) in std::mem::take(&mut self.open) {
            for (block, _) in writes {
                for w in &mut self.blocks[block as usize] {
                    if w.submitted == submitted {
                        w.ended = Some(now);
                    }
                }
            }
        }
    }

    pub fn may_be(&self, block: u64, value: Option<u64>) -> bool {
        self.candidates(block).contains(&value)
    }

    pub fn candidates(&self, block: u64) -> Vec<Option<u64>> {
        let mut list = self.blocks[block as usize].clone();
        forget(&mut list, |w| w.sure);
        list.iter().map(|w| w.value).collect()
    }

    /// This is what the block holds now that nothing is under way.
    pub fn settle(&mut self, block: u64, value: Option<u64>, durable: bool) {
        let now = self.now();
        let list = &mut self.blocks[block as usize];
        if let Some(w) = list.iter_mut().rev().find(|w| w.value == value) {
            (w.submitted, w.ended, w.sure) = (now, Some(now), true);
            w.durable |= durable;
        }
        forget(list, |w| w.sure && w.durable);
    }
}

/// Drops what was over before a write began that replaced it for good.
fn forget(list: &mut Vec<Write>, for_good: impl Fn(&Write) -> bool) {
    let last = list
        .iter()
        .filter(|w| for_good(w))
        .map(|w| w.submitted)
        .max();
    list.retain(|w| {
        w.ended
            .is_none_or(|e| last.is_none_or(|l| e >= l || w.submitted == l))
    });
}
