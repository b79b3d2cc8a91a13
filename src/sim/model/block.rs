//! The candidates of one block.

use crate::content::{SECTORS, Stamp};
use smallvec::{SmallVec, smallvec};

/// A moment on the clock of a volume's model.
pub type Moment = u64;

/// Not yet.
pub const FOR_EVER: Moment = Moment::MAX;

/// A value that the block may hold.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub stamp: Stamp,
    /// The sectors differ: a power cut or a failed write tore the block, and a read has shown how.
    pub torn: Option<Box<[Stamp; SECTORS]>>,
    pub issued: Moment,
    /// When it was answered, whether well or not.
    pub settled: Moment,
    /// When it was surely replaced, as reads see it.
    pub died: Moment,
    /// It was replaced by something durable.
    pub buried: bool,
}

impl Candidate {
    pub fn new(stamp: Stamp, issued: Moment) -> Self {
        Candidate {
            stamp,
            torn: None,
            issued,
            settled: FOR_EVER,
            died: FOR_EVER,
            buried: false,
        }
    }

    fn holds(&self, sector: usize) -> Stamp {
        self.torn.as_ref().map_or(self.stamp, |t| t[sector])
    }

    fn is(&self, stamps: &[Stamp; SECTORS]) -> bool {
        (0..SECTORS).all(|i| self.holds(i) == stamps[i])
    }
}

/// One block.
#[derive(Clone, Debug)]
pub struct Block {
    pub candidates: SmallVec<[Candidate; 1]>,
}

impl Default for Block {
    fn default() -> Self {
        let mut zeros = Candidate::new(Stamp::ZERO, 0);
        zeros.settled = 0;
        Block {
            candidates: smallvec![zeros],
        }
    }
}

impl Block {
    /// Forgets what died up to `keep` or was buried before.
    pub fn prune(&mut self, keep: Moment) {
        self.candidates.retain(|c| c.died > keep);
    }

    pub fn settle(&mut self, issued: Moment, now: Moment) {
        for c in &mut self.candidates {
            if c.issued == issued {
                c.settled = now;
            }
        }
    }

    /// Everything that had settled when this write was issued is replaced by it.
    pub fn acknowledge(&mut self, issued: Moment, now: Moment, fua: bool) {
        self.settle(issued, now);
        for c in &mut self.candidates {
            if c.issued != issued && c.settled < issued {
                c.died = c.died.min(now);
                c.buried |= fua;
            }
        }
    }

    /// Whether a read issued at `issued` may see these sectors; if so, what had settled before it
    /// and was not seen is gone.
    pub fn observe(&mut self, stamps: [Stamp; SECTORS], issued: Moment, now: Moment) -> bool {
        let alive = |c: &Candidate| c.died > issued;
        let settled = |c: &Candidate| c.settled < issued;
        if let [only] = &self.candidates[..] {
            return only.is(&stamps);
        }
        let whole = self.candidates.iter().any(|c| alive(c) && c.is(&stamps));
        let each = |i: usize| {
            self.candidates
                .iter()
                .any(|c| alive(c) && c.holds(i) == stamps[i])
        };
        if !whole && !(0..SECTORS).all(each) {
            return false;
        }
        if !whole && self.candidates.iter().all(|c| !alive(c) || settled(c)) {
            let mut torn = Candidate::new(stamps[0], issued);
            torn.torn = Some(Box::new(stamps));
            torn.settled = issued.saturating_sub(1);
            self.candidates.push(torn);
        }
        let seen_settled = self
            .candidates
            .iter()
            .any(|c| alive(c) && settled(c) && c.is(&stamps));
        let seen_moving = self
            .candidates
            .iter()
            .any(|c| alive(c) && !settled(c) && c.is(&stamps));
        if seen_settled && !seen_moving {
            for c in &mut self.candidates {
                if settled(c) && !c.is(&stamps) {
                    c.died = c.died.min(now);
                }
            }
        }
        true
    }

    pub fn lose_unflushed(&mut self, flushed: Moment, now: Moment, garbage: bool) {
        self.candidates.retain(|c| !c.buried && c.died > flushed);
        let open = self.candidates.len() > 1;
        for c in &mut self.candidates {
            c.died = FOR_EVER;
        }
        if garbage && open {
            let mut junk = Candidate::new(Stamp::GARBAGE, now);
            junk.settled = now;
            self.candidates.push(junk);
        }
    }

    /// What a read issued at `issued` may see.
    pub fn legal(&self, issued: Moment) -> Vec<Stamp> {
        let alive = self.candidates.iter().filter(|c| c.died > issued);
        alive
            .flat_map(|c| (0..SECTORS).map(|i| c.holds(i)))
            .collect()
    }

    pub fn settled_value(&self) -> Option<Stamp> {
        let mut alive = self.candidates.iter().filter(|c| c.died == FOR_EVER);
        let only = alive.next()?;
        let alone = alive.next().is_none() && only.settled != FOR_EVER && only.torn.is_none();
        alone.then_some(only.stamp)
    }
}
