//! Things in flight, each named by a key of 48 bits whose slot is used again and whose name is not:
//! the lower half is the slot, the upper half counts its uses.

/// Names an entry of a [`Slab`].
pub(crate) type Key = u64;

const HALF: u32 = 24;

/// Entries in slots that are used again without allocating.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Slab {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                assert!(
                    self.slots.len() < 1 << HALF,
                    "more than 2^24 things in flight"
                );
                self.slots.push((0, None));
                self.slots.len() as u32 - 1
            }
        };
        let (uses, entry) = &mut self.slots[slot as usize];
        *uses = (*uses + 1) & ((1 << HALF) - 1);
        *entry = Some(value);
        u64::from(*uses) << HALF | u64::from(slot)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = key as usize & ((1 << HALF) - 1);
        let (uses, entry) = self.slots.get_mut(slot)?;
        if u64::from(*uses) == key >> HALF {
            entry.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get_mut(key)?;
        let slot = key as usize & ((1 << HALF) - 1);
        self.free.push(slot as u32);
        self.slots[slot].1.take()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

/// Entries that are known to be there.
impl<T> std::ops::Index<Key> for Slab<T> {
    type Output = T;
    fn index(&self, key: Key) -> &T {
        let (uses, entry) = &self.slots[key as usize & ((1 << HALF) - 1)];
        assert!(u64::from(*uses) == key >> HALF, "a key from before");
        match entry {
            Some(entry) => entry,
            None => unreachable!("a key of an entry that was removed"),
        }
    }
}

impl<T> std::ops::IndexMut<Key> for Slab<T> {
    fn index_mut(&mut self, key: Key) -> &mut T {
        match self.get_mut(key) {
            Some(entry) => entry,
            None => unreachable!("a key of an entry that was removed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_and_its_old_key_is_not() {
        let mut s = Slab::new();
        let a = s.insert('a');
        assert_eq!(s.remove(a), Some('a'));
        let b = s.insert('b');
        assert_eq!(a & 0xff_ffff, b & 0xff_ffff);
        assert_eq!(s.get_mut(a), None);
        assert_eq!(s.len(), 1);
        assert_eq!(s[b], 'b');
    }
}
