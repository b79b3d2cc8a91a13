//! The nouns that every other crate shares: sizes, identities, and the tree of storage objects.
//!
//! Pure data: nothing here decides, and nothing here touches a clock, a file or a socket.
//! What an intent *asks for* is in [`intent`]; what the allocator *answered* is a [`tree::Layout`];
//! what there is to allocate from is in [`inventory`].

pub mod ids;
pub mod intent;
pub mod inventory;
pub mod tree;
pub mod units;

pub use ids::{DiskUid, NodeName, ObjectPath, VolumeUid};
pub use intent::{Intent, IntentError};
pub use inventory::{Disk, Health, Inventory, InventoryError};
pub use tree::{Kind, Layout, Level, Object, UnitRange};
pub use units::{BLOCK, Bytes, Epoch, Generation, SEGMENT, Term, UNIT};
