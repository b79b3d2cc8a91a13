//! What a plan is, and the work that every transformation shares: check the input, search, lay the
//! result out.

use crate::assemble::{self, Head};
use crate::book::Book;
use crate::explain;
use crate::frame::{Frame, Piece};
use crate::refusal::{NoPlacement, Refusal};
use crate::room::{Demand, Part, Room, join};
use crate::search::{Assignment, search};
use crate::shortage;
use layout::{
    Bytes, Disk, DiskUid, Generation, Intent, Inventory, InventoryError, Kind, Layout, Level,
    NodeName, ObjectPath, UNIT, UnitRange, VolumeUid,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How much of a volume gets its extents now. All of it is promised either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// All of it.
    #[default]
    Full,
    /// So many units of each leaf; the rest ahead of need, with [`crate::plan_extend`].
    Initial(u32),
}

/// How to plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How much is granted now.
    pub grant: Grant,
    /// The node that uses the volume, and evaluates what no storage node does; where nothing is
    /// said, the node of the first disk.
    pub host: Option<NodeName>,
    /// How many candidates each part of the search may try before it gives up.
    pub tries: u64,
    /// What the planner forgets.
    #[cfg(feature = "planted-bugs")]
    pub bug: Option<crate::Bug>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            grant: Grant::Full,
            host: None,
            tries: 100_000,
            #[cfg(feature = "planted-bugs")]
            bug: None,
        }
    }
}

/// What a plan does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transformation {
    /// Places a new volume.
    Create,
    /// Releases all of a volume.
    Delete,
    /// Makes a volume larger.
    Grow,
    /// Grants more units of what is promised.
    Extend,
    /// Replaces a disk that has failed.
    Replace,
}

impl fmt::Display for Transformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transformation::Create => "create",
            Transformation::Delete => "delete",
            Transformation::Grow => "grow",
            Transformation::Extend => "extend",
            Transformation::Replace => "replace",
        })
    }
}

/// A transformation: steps in order, each of which leaves the volume with all that its intent asks
/// for. It leaves no choice to whoever carries it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Which volume.
    pub volume: VolumeUid,
    /// What the plan does.
    pub what: Transformation,
    /// The steps; each begins when the one before is done.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Why, in words.
    pub why: String,
    /// The layout after the step; none when the volume is gone.
    pub layout: Option<Layout>,
    /// Units that the step grants, per disk.
    pub granted: BTreeMap<DiskUid, Vec<UnitRange>>,
    /// Units that the step releases, per disk.
    pub released: BTreeMap<DiskUid, Vec<UnitRange>>,
    /// By how many units what is promised of a disk changes.
    pub promised: BTreeMap<DiskUid, i64>,
    /// Whether a mirror has more copies after this step than the intent asks for; a later step
    /// takes them away.
    pub in_transition: bool,
    /// When the step is done.
    pub done_when: DoneWhen,
}

/// When a step is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DoneWhen {
    /// When every node has its maps.
    Applied,
    /// When these objects, besides, have been filled from the other copies.
    Filled(Vec<ObjectPath>),
}

impl Step {
    /// The step from one layout to another.
    pub(crate) fn between(before: Option<&Layout>, after: Option<Layout>, why: String) -> Self {
        let (old, new) = (holdings(before), holdings(after.as_ref()));
        let mut step = Step {
            why,
            layout: after,
            granted: BTreeMap::new(),
            released: BTreeMap::new(),
            promised: BTreeMap::new(),
            in_transition: false,
            done_when: DoneWhen::Applied,
        };
        let disks: Vec<DiskUid> = old.keys().chain(new.keys()).copied().collect();
        for disk in disks {
            let none = Holding::default();
            let (o, n) = (
                old.get(&disk).unwrap_or(&none),
                new.get(&disk).unwrap_or(&none),
            );
            for (map, more, less) in [(&mut step.granted, n, o), (&mut step.released, o, n)] {
                let ranges = difference(&more.units, &less.units);
                if !ranges.is_empty() {
                    map.insert(disk, ranges);
                }
            }
            if n.promised != o.promised {
                step.promised.insert(disk, n.promised - o.promised);
            }
        }
        step
    }

    /// Enters the step in the books of an inventory.
    ///
    /// # Errors
    /// When the inventory is not the one that the step was planned with: a granted unit is not
    /// free, a released one is.
    pub fn apply(&self, inventory: &mut Inventory) -> Result<(), InventoryError> {
        let mut after = inventory.clone();
        for (disk, ranges) in &self.granted {
            after.disk_mut(*disk)?.take(ranges)?;
        }
        for (disk, ranges) in &self.released {
            after.disk_mut(*disk)?.put_back(ranges)?;
        }
        for (uid, change) in &self.promised {
            let old = inventory.disk(*uid).map_or(0, Disk::promised_units);
            let new = i64::from(old) + change;
            let disk = after.disk_mut(*uid)?;
            let granted = disk.units - disk.free_units();
            let promised = u32::try_from(new).ok().filter(|p| *p >= granted);
            let too_few = InventoryError::PromisedTooFew {
                disk: disk.name.clone(),
                promised: u32::try_from(new.max(0)).unwrap_or(u32::MAX),
                granted,
            };
            disk.promised = Some(promised.ok_or(too_few)?);
        }
        *inventory = after;
        Ok(())
    }
}

/// What a volume has of a disk.
#[derive(Default)]
struct Holding {
    units: Vec<UnitRange>,
    promised: i64,
}

fn holdings(layout: Option<&Layout>) -> BTreeMap<DiskUid, Holding> {
    let mut all: BTreeMap<DiskUid, Holding> = BTreeMap::new();
    if let Some(layout) = layout {
        layout.root.visit(ObjectPath::ROOT, &mut |_, o| {
            if let Kind::Extents { disk, size, units } = &o.kind {
                let holding = all.entry(*disk).or_default();
                holding.units.extend_from_slice(units);
                holding.promised += i64::try_from(size.units_up()).unwrap_or(i64::MAX);
            }
        });
    }
    all.values_mut().for_each(|h| h.units.sort_unstable());
    all
}

/// The units of one ordered list of ranges that are not in another.
fn difference(more: &[UnitRange], less: &[UnitRange]) -> Vec<UnitRange> {
    let mut result = Vec::new();
    for range in more {
        let mut start = range.start;
        for cut in less
            .iter()
            .filter(|c| c.end() > range.start && c.start < range.end())
        {
            if cut.start > start {
                result.push(UnitRange {
                    start,
                    count: cut.start - start,
                });
            }
            start = start.max(cut.end());
        }
        if start < range.end() {
            result.push(UnitRange {
                start,
                count: range.end() - start,
            });
        }
    }
    join(result, Vec::new())
}

/// What a transformation works with: valid input, disks in the order of their names.
pub(crate) struct Work<'a> {
    pub intent: &'a Intent,
    pub inventory: &'a Inventory,
    pub options: &'a Options,
    pub disks: Vec<&'a Disk>,
}

impl<'a> Work<'a> {
    pub fn new(
        intent: &'a Intent,
        inventory: &'a Inventory,
        options: &'a Options,
    ) -> Result<Self, Refusal> {
        intent.validate().map_err(Refusal::Intent)?;
        inventory.validate()?;
        Ok(Work {
            intent,
            inventory,
            options,
            disks: by_name(inventory),
        })
    }

    pub fn room(&self) -> Room {
        #[allow(unused_mut)] // the other build changes it
        let mut room = Room::new(self.inventory, &self.disks);
        #[cfg(feature = "planted-bugs")]
        room.plant(self.options.bug);
        room
    }

    /// Finds disks for the demands, and lays them out in the frame.
    pub fn place(&self, frame: &mut Frame<'_>, demands: &[Demand]) -> Result<(), Refusal> {
        let assignment = self.find(frame, demands)?;
        self.lay(frame, demands, &assignment)
    }

    fn find(&self, frame: &Frame<'_>, demands: &[Demand]) -> Result<Assignment, Refusal> {
        let room = self.room();
        let mut book = Book::new(frame, &self.disks);
        #[cfg(feature = "planted-bugs")]
        {
            book.bug = self.options.bug;
        }
        search(&mut book, &room, demands, self.options.tries).map_err(|not_found| {
            let shortage = shortage::words(&book, &room, demands);
            let funnel = |d| shortage::funnel(&book, &room, d);
            // The demand that has the fewest disks tells the most.
            let funnels = demands.iter().map(funnel);
            let funnel = funnels.min_by_key(|f| f.remain.len()).unwrap_or_default();
            Refusal::NoPlacement(Box::new(NoPlacement {
                name: self.intent.metadata.name.clone(),
                shortage,
                funnel,
                tries: not_found.tries,
                exhaustive: not_found.exhaustive,
            }))
        })
    }

    /// Grants units, and enters the new pieces in the frame with the reasons for them.
    fn lay(
        &self,
        frame: &mut Frame<'_>,
        demands: &[Demand],
        assignment: &Assignment,
    ) -> Result<(), Refusal> {
        let mut room = self.room();
        let mut made: Vec<Vec<Piece>> = Vec::with_capacity(demands.len());
        for (demand, parts) in demands.iter().zip(assignment) {
            let mut left = demand.size.0;
            let mut pieces = Vec::with_capacity(parts.len());
            for (disk, count) in parts {
                let (disk, count) = (*disk, *count);
                let size = left.min(count * UNIT);
                left -= size;
                let units = room.carve(disk, demand.now.min(count)).ok_or_else(|| {
                    let at = frame.nodes[demand.leaf].path;
                    let (name, free) = (self.disks[disk].name.clone(), room.free[disk]);
                    Refusal::DiskFull {
                        at,
                        disk: name,
                        units: count,
                        free,
                    }
                })?;
                room.promise[disk] = room.promise[disk].saturating_sub(count);
                let units = join(units, Vec::new());
                pieces.push(Piece {
                    disk,
                    size: Bytes(size),
                    units,
                    reasons: vec![],
                });
            }
            assert_eq!(left, 0, "a demand is laid out whole");
            made.push(pieces);
        }
        // Backwards, so that the places of pieces before stay what they are.
        for (demand, mut new) in demands.iter().zip(made).rev() {
            let pieces = &mut frame.nodes[demand.leaf].pieces;
            if demand.part == Part::More
                && pieces.last().map(|p| p.disk) == new.first().map(|p| p.disk)
                && let Some(last) = pieces.last_mut()
            {
                let more = new.remove(0);
                last.size = Bytes(last.size.0 + more.size.0);
                last.units = join(std::mem::take(&mut last.units), more.units);
            }
            let at = match demand.part {
                Part::All | Part::More => pieces.len(),
                Part::Piece(index) => index,
            };
            pieces.splice(at..at, new);
        }
        explain::give_reasons(frame, &self.disks, &room);
        Ok(())
    }

    /// The layout of a frame, as the successor of another or as a new one.
    pub fn layout(
        &self,
        frame: &Frame<'_>,
        volume: VolumeUid,
        size: Bytes,
        before: Option<&Layout>,
    ) -> Result<Layout, Refusal> {
        let last = before.map_or(0, |b| b.generation.0);
        let generation = Generation(last.checked_add(1).ok_or(Refusal::Generations)?);
        let first = frame.leaves().find_map(|l| frame.nodes[l].pieces.first());
        let named = self
            .options
            .host
            .clone()
            .or_else(|| before.and_then(host_of));
        let host = named.or_else(|| first.map(|p| self.disks[p.disk].node.clone()));
        let name = self.intent.metadata.name.clone();
        let host = host.unwrap_or_default();
        let head = Head {
            volume,
            name,
            generation,
            size,
            host,
        };
        Ok(assemble::layout(frame, &self.disks, head, before))
    }
}

/// The disks in the order of their names, so that no decision depends on the order of the
/// inventory.
pub(crate) fn by_name(inventory: &Inventory) -> Vec<&Disk> {
    let mut disks: Vec<&Disk> = inventory.disks.iter().collect();
    disks.sort_by(|x, y| x.name.cmp(&y.name));
    disks
}

/// The node that uses a volume, if its layout says.
fn host_of(layout: &Layout) -> Option<NodeName> {
    (layout.root.level == Level::Host).then(|| layout.root.node.clone())
}
