//! How a volume is shown to the kernel: behind one seam, so that another kind of device is another
//! module.
//!
//! /dev/fuse is here; ublk and NBD come later. A front end turns what the kernel asks into
//! operations on slots and what the machine answers into the kernel's bytes. It knows nothing of
//! disks.

mod fuse;

pub use fuse::FuseFront;

use crate::ring::{Cqe, Queue, SlotId, Slots};
use engine::io::{IoError, Op};

/// What came in.
pub(crate) enum Incoming {
    /// Nothing for the machine.
    Nothing,
    /// A request, in this slot.
    Request {
        /// Where it is.
        slot: SlotId,
        /// What it asks.
        op: Op,
    },
}

/// What a kind of device has to do.
pub(crate) trait Driver {
    /// Asks the kernel for requests, unless it was asked; false where no slot is free.
    fn arm(&mut self, queue: &mut Queue, slots: &Slots) -> bool;
    /// A completion of what [`Driver::arm`] asked for.
    fn event(&mut self, cqe: &Cqe, slots: &mut Slots, queue: &mut Queue) -> Incoming;
    /// Sends the answer to the request in this slot; the loop releases the slot when the answer is
    /// on its way.
    fn reply(
        &mut self,
        slot: SlotId,
        result: Result<(), IoError>,
        slots: &Slots,
        queue: &mut Queue,
    );
    /// An answer was sent, or could not be.
    fn replied(&mut self, result: Result<u32, i32>);
    /// Asks for no more requests.
    fn stop(&mut self, queue: &mut Queue);
    /// Whether the kernel is not asked for any at present.
    fn is_quiet(&self) -> bool;
    /// Shows another size, in bytes.
    fn resize(&mut self, size: u64);
}
