//! The allocator: the only one that decides where a volume goes, and the only one that changes it
//! (spec A).
//!
//! Pure: an intent, a layout and an inventory in, a [`Plan`] or a [`Refusal`] out, the same for the
//! same input. It carries nothing out and knows no time. It does not judge its own work either:
//! that is the checker's part, which shares no code with it.
//!
//! Invariants: a plan never breaks a rule of the intent in any of its steps; it never grants a unit
//! that is not free, and never promises more of a disk than the inventory allows; a refusal changes
//! nothing and says why.
//!
//! How it decides: the tree is laid out as a frame of objects ([`frame`]), what must be placed
//! becomes a list of demands, and a search with backtracking ([`search`]) gives each demand a disk.
//! Only if no assignment of whole demands exists are demands split over disks ([`split`]). The
//! search is complete within its budget of tries, and a refusal says when the budget ended it. Soft
//! rules and the balance of free space order the candidates.

mod assemble;
mod book;
#[cfg(feature = "planted-bugs")]
mod bugs;
mod create;
mod delete;
mod explain;
mod extend;
mod frame;
mod grow;
mod plan;
mod refusal;
mod replace;
mod room;
mod search;
mod shortage;
mod split;

pub use book::No;
#[cfg(feature = "planted-bugs")]
pub use bugs::Bug;
pub use create::plan_create;
pub use delete::plan_delete;
pub use explain::{Explanation, Placement, explain, why_not};
pub use extend::plan_extend;
pub use grow::plan_grow;
pub use plan::{DoneWhen, Grant, Options, Plan, Step, Transformation};
pub use refusal::{NoPlacement, Refusal, Shape};
pub use replace::plan_replace;
pub use shortage::{Funnel, Shortage};
