//! Overlapping changes of a mirror run one after the other, in the order in which they came, so
//! that its legs cannot end different.

use super::slab::Key;

/// Who holds or waits for a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A write or discard.
    Change(Key),
    /// A copy of a segment from leg to leg.
    Copy(Key),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    holder: Holder,
    start: u64,
    end: u64,
    waits: bool,
}

/// Ranges held and waited for, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    entries: Vec<Entry>,
    waiting: usize,
}

impl Locks {
    /// Takes the range or queues for it; whether it is held now.
    pub(crate) fn acquire(&mut self, holder: Holder, start: u64, count: u64) -> bool {
        let end = start + count;
        let waits = self.entries.iter().any(|e| e.start < end && start < e.end);
        self.waiting += usize::from(waits);
        self.entries.push(Entry {
            holder,
            start,
            end,
            waits,
        });
        !waits
    }

    /// Gives a range back; those who hold theirs from now on are added to `granted`.
    pub(crate) fn release(&mut self, holder: Holder, granted: &mut Vec<Holder>) {
        let found = self.entries.iter().position(|e| e.holder == holder);
        let Some(index) = found else {
            unreachable!("a range is given back that nobody holds")
        };
        assert!(
            !self.entries[index].waits,
            "a range is given back before it was had"
        );
        let freed = self.entries.remove(index);
        if self.waiting == 0 {
            return;
        }
        for i in index..self.entries.len() {
            let e = self.entries[i];
            let touched = e.start < freed.end && freed.start < e.end;
            let blocked = || (self.entries[..i].iter()).any(|f| f.start < e.end && e.start < f.end);
            if e.waits && touched && !blocked() {
                self.entries[i].waits = false;
                self.waiting -= 1;
                granted.push(e.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_wait_in_order_of_arrival() {
        let mut l = Locks::default();
        let h = Holder::Change;
        assert!(l.acquire(h(1), 0, 10));
        assert!(!l.acquire(h(2), 5, 10));
        assert!(!l.acquire(h(3), 12, 2), "behind one that waits");
        assert!(l.acquire(h(4), 20, 1));
        let mut got = Vec::new();
        l.release(h(4), &mut got);
        assert_eq!(got, []);
        l.release(h(1), &mut got);
        assert_eq!(got, [h(2)]);
        l.release(h(2), &mut got);
        assert_eq!(got, [h(2), h(3)]);
    }
}
