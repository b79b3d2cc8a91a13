//! A sparse image: what each block holds, and which write put it there.

use crate::content::Content;

const PAGE: usize = 64;

#[derive(Clone, Debug, Default)]
struct Entry {
    content: Content,
    order: u64,
}

/// Blocks by number; what was never set is zeros, put there by write 0.
#[derive(Clone, Debug)]
pub struct Image {
    pages: Vec<Option<Box<[Entry; PAGE]>>>,
}

impl Image {
    /// All zeros.
    pub fn new(blocks: u64) -> Self {
        let pages = (blocks as usize).div_ceil(PAGE);
        Image {
            pages: vec![None; pages],
        }
    }

    fn entry(&self, block: u64) -> Option<&Entry> {
        let block = block as usize;
        self.pages[block / PAGE].as_ref().map(|p| &p[block % PAGE])
    }

    /// What the block holds.
    pub fn get(&self, block: u64) -> &Content {
        const ZERO: &Content = &Content::Zero;
        self.entry(block).map_or(ZERO, |e| &e.content)
    }

    /// The number of the write that the block's content came with.
    pub fn order(&self, block: u64) -> u64 {
        self.entry(block).map_or(0, |e| e.order)
    }

    /// Replaces the content of a block.
    pub fn set(&mut self, block: u64, content: Content, order: u64) {
        let block = block as usize;
        let page = self.pages[block / PAGE]
            .get_or_insert_with(|| Box::new(std::array::from_fn(|_| Entry::default())));
        page[block % PAGE] = Entry { content, order };
    }
}
