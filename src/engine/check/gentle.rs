//! A disk that can only be read, and whose faults are written down and read as zeros: one bad
//! sector must not hide what is wrong elsewhere.

use crate::disk::Disk;
use crate::format::BLOCK;
use crate::io::IoFault;
use std::collections::BTreeMap;

const EROFS: i32 = 30;

/// See the module.
pub struct Gentle<'a> {
    disk: &'a mut dyn Disk,
    faults: BTreeMap<u64, IoFault>,
}

impl<'a> Gentle<'a> {
    /// A disk that was not read yet.
    pub fn new(disk: &'a mut dyn Disk) -> Self {
        let faults = BTreeMap::new();
        Gentle { disk, faults }
    }

    /// The blocks that could not be read, by byte offset.
    pub fn faults(self) -> impl Iterator<Item = (u64, IoFault)> {
        self.faults.into_iter()
    }
}

impl Disk for Gentle<'_> {
    fn size(&self) -> u64 {
        self.disk.size()
    }
    fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), IoFault> {
        if self.disk.read(offset, buf).is_ok() {
            return Ok(());
        }
        for (block, at) in buf.chunks_mut(BLOCK).zip((offset..).step_by(BLOCK)) {
            if let Err(fault) = self.disk.read(at, block) {
                block.fill(0);
                self.faults.insert(at, fault);
            }
        }
        Ok(())
    }
    fn write(&mut self, _: u64, _: &[u8]) -> Result<(), IoFault> {
        Err(IoFault { errno: EROFS })
    }
    fn flush(&mut self) -> Result<(), IoFault> {
        Err(IoFault { errno: EROFS })
    }
}
