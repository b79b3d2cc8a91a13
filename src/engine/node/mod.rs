//! The whole of one node: its volumes over its disks.
//!
//! Every entry takes the time and a list for effects, does what follows from the event, and then
//! hands ended calls of the stores to their volumes until nothing is left to hand on. Nothing is
//! called back from inside: a store and a volume never know of each other.
//!
//! Tokens: the upper 16 bits say whose call it is, 0 the node's own, else the volume's index plus
//! one. I/O names: the upper 16 bits are the disk's index.
//!
//! The order of effects: what stores want comes before what volumes say in the same step, so that a
//! reply follows the entry of the volatile log that makes it safe.

mod commands;
mod disks;
mod places;
#[cfg(test)]
mod tests;

use crate::io::{
    CommandError, CommandId, Completion, DiskIndex, Effect, Effects, IoError, IoId, Now, Op, ReqId,
    VolumeId,
};
use crate::leaf::{Done, Token};
use crate::planted::Planted;
use crate::store::{Sink, Store};
use crate::tree::Leaf;
use crate::volume::{Counts, Ctx, Scratch, TOKEN_BITS, TRANSITIONS, Volume, VolumeStatus};
use disks::Disks;
use layout::{DiskUid, Epoch, Layout, ObjectPath, VolumeUid};
use std::collections::{BTreeMap, VecDeque};

/// What can be chosen for a node.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Scratch buffers that the shell has, for copies of all volumes.
    pub scratch: u16,
    /// A mistake for the volumes to make, for the simulator; that of a store is in its own.
    pub planted: Planted,
}

impl Default for Config {
    /// Eight: as many segments are copied at a time.
    fn default() -> Self {
        Config {
            scratch: 8,
            planted: Planted::default(),
        }
    }
}

/// A node.
pub struct Engine {
    stores: Vec<Option<Store>>,
    volumes: Vec<Option<Volume>>,
    ids: BTreeMap<VolumeId, u16>,
    scratch: Scratch,
    planted: Planted,
    done: VecDeque<Done>,
    /// Commands that a store is carrying out, by token.
    commands: BTreeMap<Token, (CommandId, DiskUid)>,
    next_token: Token,
    /// Transitions of volumes that are gone.
    counts: Counts,
    store_out: Effects,
    volume_out: Effects,
}

impl Engine {
    /// A node without disks and volumes.
    pub fn new(config: Config) -> Self {
        Engine {
            stores: Vec::new(),
            volumes: Vec::new(),
            ids: BTreeMap::new(),
            scratch: Scratch::new(config.scratch),
            planted: config.planted,
            done: VecDeque::new(),
            commands: BTreeMap::new(),
            next_token: 0,
            counts: [0; TRANSITIONS.len()],
            store_out: Vec::new(),
            volume_out: Vec::new(),
        }
    }

    /// Takes a disk that was opened; volumes that lack a leg on it begin to rebuild it.
    ///
    /// # Panics
    /// Where the index is in use.
    pub fn attach_disk(&mut self, now: Now, index: DiskIndex, mut store: Store, out: &mut Effects) {
        let at = usize::from(index.0);
        if self.stores.len() <= at {
            self.stores.resize_with(at + 1, || None);
        }
        assert!(self.stores[at].is_none(), "disk index {at} is in use");
        let disk = store.disk();
        store.attach(index);
        self.stores[at] = Some(store);
        for v in 0..self.volumes.len() {
            let places = self.places();
            self.with(now, v, out, |volume, cx| {
                let uid = volume.uid();
                volume.disk_back(disk, &mut |leaf| places.find(uid, leaf), cx);
            });
        }
        self.run(now, out);
    }

    /// Lets a disk go: one that failed and whose I/O has ended, or one that no volume uses.
    ///
    /// # Errors
    /// Where it is in use.
    pub fn detach_disk(
        &mut self,
        now: Now,
        index: DiskIndex,
        out: &mut Effects,
    ) -> Result<Store, CommandError> {
        let at = usize::from(index.0);
        let Some(slot) = self.stores.get_mut(at).filter(|s| s.is_some()) else {
            return Err(CommandError::Refused(format!("no disk has index {at}")));
        };
        let Some(store) = slot.take() else {
            unreachable!("it was there")
        };
        let uses = |v: &Volume| v.tree().leaves().iter().any(|l| l.disk == store.disk());
        let used = store.failed().is_none() && self.volumes.iter().flatten().any(uses);
        if used || !store.is_idle() {
            let disk = store.disk();
            self.stores[at] = Some(store);
            return Err(CommandError::Refused(format!("disk {disk} is in use")));
        }
        for v in 0..self.volumes.len() {
            self.with(now, v, out, |volume, cx| volume.disk_gone(index, cx));
        }
        self.run(now, out);
        Ok(store)
    }

    /// A disk's store, to look at.
    pub fn store(&self, index: DiskIndex) -> Option<&Store> {
        self.stores.get(usize::from(index.0))?.as_ref()
    }

    /// The disks that are attached.
    pub fn stores(&self) -> impl Iterator<Item = (DiskIndex, &Store)> {
        let stores = (0u16..).map(DiskIndex).zip(&self.stores);
        stores.filter_map(|(index, store)| Some((index, store.as_ref()?)))
    }

    /// Where a disk is attached.
    ///
    /// # Errors
    /// It is not.
    pub fn disk(&self, disk: DiskUid) -> Result<DiskIndex, CommandError> {
        let is = |s: &Option<Store>| s.as_ref().is_some_and(|s| s.disk() == disk);
        let at = self
            .stores
            .iter()
            .position(is)
            .ok_or(CommandError::UnknownDisk(disk))?;
        Ok(DiskIndex(at as u16))
    }

    /// Attaches a volume whose leaves were granted before.
    ///
    /// # Errors
    /// A name in use; a leaf that is not there; a layout older than the disks; see
    /// [`Volume::attach`].
    pub fn attach_volume(
        &mut self,
        now: Now,
        id: VolumeId,
        layout: &Layout,
        out: &mut Effects,
    ) -> Result<(), CommandError> {
        if self.ids.contains_key(&id) || self.volume_of(layout.volume).is_some() {
            let why = format!("volume {} or its number is attached", layout.volume);
            return Err(CommandError::Refused(why));
        }
        let v = match self.volumes.iter().position(Option::is_none) {
            Some(v) => v,
            None => {
                self.volumes.push(None);
                self.volumes.len() - 1
            }
        };
        let places = self.places();
        let mut first = None;
        layout.root.visit(ObjectPath::ROOT, &mut |_, o| {
            if let layout::Kind::Extents { disk, .. } = &o.kind {
                first = first.or_else(|| places.segment_blocks(*disk));
            }
        });
        let Some(segment_blocks) = first else {
            let why = "none of the volume's disks is attached".to_owned();
            return Err(CommandError::Refused(why));
        };
        let base = (v as Token + 1) << TOKEN_BITS;
        let mut cx = Ctx {
            now,
            leaves: &mut Disks {
                stores: &mut self.stores,
                now,
                out: &mut self.store_out,
                done: &mut self.done,
            },
            out: &mut self.volume_out,
            scratch: &mut self.scratch,
            planted: self.planted,
        };
        let lookup = &mut |leaf: &Leaf| places.find(layout.volume, leaf);
        let volume = Volume::attach(layout, segment_blocks, base, lookup, &mut cx)?;
        self.volumes[v] = Some(volume);
        self.ids.insert(id, v as u16);
        self.run(now, out);
        Ok(())
    }

    /// Ends the use of a volume in good order; answers the command when it is done.
    ///
    /// # Errors
    /// No such volume.
    pub fn detach_volume(
        &mut self,
        now: Now,
        id: VolumeId,
        command: CommandId,
        out: &mut Effects,
    ) -> Result<(), CommandError> {
        let v = self.index(id)?;
        self.with(now, v, out, |volume, cx| volume.detach(command, cx));
        self.run(now, out);
        Ok(())
    }

    /// Gives an attached volume a new layout: larger, or with legs on other disks. What its leaves
    /// need was granted before.
    ///
    /// # Errors
    /// See [`Volume::relayout`].
    pub fn relayout(
        &mut self,
        now: Now,
        id: VolumeId,
        layout: &Layout,
        out: &mut Effects,
    ) -> Result<(), CommandError> {
        let v = self.index(id)?;
        let places = self.places();
        let mut result = Ok(());
        self.with(now, v, out, |volume, cx| {
            let lookup = &mut |leaf: &Leaf| places.find(layout.volume, leaf);
            result = if volume.uid() == layout.volume {
                volume.relayout(layout, lookup, cx)
            } else {
                Err(CommandError::UnknownVolume(layout.volume))
            };
        });
        self.run(now, out);
        result
    }

    /// Starts a request; it ends in exactly one [`Effect::Reply`].
    pub fn submit(&mut self, now: Now, id: VolumeId, req: ReqId, op: Op, out: &mut Effects) {
        match self.index(id) {
            Ok(v) => self.with(now, v, out, |volume, cx| volume.submit(req, op, cx)),
            Err(_) => {
                let result = Err(IoError::Detached);
                out.push(Effect::Reply { req, result });
            }
        }
        self.run(now, out);
    }

    /// An I/O ended.
    pub fn complete(&mut self, now: Now, io: IoId, end: Completion<'_>, out: &mut Effects) {
        if let Some(Some(store)) = self.stores.get_mut((io.0 >> 48) as usize) {
            let mut sink = Sink {
                now,
                out: &mut self.store_out,
                done: &mut self.done,
            };
            store.complete(io, end, &mut sink);
        }
        self.run(now, out);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now, out: &mut Effects) {
        for store in self.stores.iter_mut().flatten() {
            if store.next_wake().is_some_and(|wake| wake <= now) {
                let (out, done) = (&mut self.store_out, &mut self.done);
                store.tick(&mut Sink { now, out, done });
            }
        }
        for v in 0..self.volumes.len() {
            self.with(now, v, out, |volume, cx| volume.tick(cx));
        }
        self.run(now, out);
    }

    /// When [`Engine::tick`] has something to do; `None`: not before another event.
    pub fn next_wake(&self) -> Option<Now> {
        let stores = self.stores.iter().flatten().filter_map(Store::next_wake);
        let volumes = self.volumes.iter().flatten().filter_map(Volume::next_wake);
        stores.chain(volumes).min()
    }

    /// See [`Volume::cut_epoch`].
    ///
    /// # Errors
    /// No such volume.
    pub fn cut_epoch(
        &mut self,
        now: Now,
        id: VolumeId,
        out: &mut Effects,
    ) -> Result<Epoch, CommandError> {
        let v = self.index(id)?;
        let mut cut = Epoch::default();
        self.with(now, v, out, |volume, cx| cut = volume.cut_epoch(cx));
        self.run(now, out);
        Ok(cut)
    }

    /// See [`Volume::release_epoch`].
    ///
    /// # Errors
    /// No such volume.
    pub fn release_epoch(
        &mut self,
        now: Now,
        id: VolumeId,
        epoch: Epoch,
        out: &mut Effects,
    ) -> Result<(), CommandError> {
        let v = self.index(id)?;
        self.with(now, v, out, |volume, cx| volume.release_epoch(epoch, cx));
        self.run(now, out);
        Ok(())
    }

    /// A volume's state, if it is attached.
    pub fn status(&self, id: VolumeId) -> Option<VolumeStatus> {
        let v = usize::from(*self.ids.get(&id)?);
        self.volumes[v].as_ref().map(Volume::status)
    }

    /// How often each transition of [`TRANSITIONS`] was taken since the node began.
    pub fn transitions(&self) -> Counts {
        let mut sum = self.counts;
        for v in self.volumes.iter().flatten() {
            sum.iter_mut()
                .zip(v.transitions())
                .for_each(|(s, n)| *s += n);
        }
        sum
    }

    fn index(&self, id: VolumeId) -> Result<usize, CommandError> {
        let unknown = || CommandError::Refused(format!("no volume has number {}", id.0));
        self.ids
            .get(&id)
            .map(|v| usize::from(*v))
            .ok_or_else(unknown)
    }

    fn volume_of(&self, uid: VolumeUid) -> Option<usize> {
        let is = |v: &Option<Volume>| v.as_ref().is_some_and(|v| v.uid() == uid);
        self.volumes.iter().position(is)
    }

    /// Gives an event to a volume, if there is one, and puts the effects in order.
    fn with(
        &mut self,
        now: Now,
        v: usize,
        out: &mut Effects,
        f: impl FnOnce(&mut Volume, &mut Ctx<'_, Disks<'_>>),
    ) {
        let Some(volume) = &mut self.volumes[v] else {
            return;
        };
        let mut cx = Ctx {
            now,
            leaves: &mut Disks {
                stores: &mut self.stores,
                now,
                out: &mut self.store_out,
                done: &mut self.done,
            },
            out: &mut self.volume_out,
            scratch: &mut self.scratch,
            planted: self.planted,
        };
        f(volume, &mut cx);
        if volume.is_detached() {
            let counts = volume.transitions();
            self.counts
                .iter_mut()
                .zip(counts)
                .for_each(|(s, n)| *s += n);
            self.volumes[v] = None;
            self.ids.retain(|_, index| usize::from(*index) != v);
        }
        out.append(&mut self.store_out);
        out.append(&mut self.volume_out);
    }

    /// Hands ended calls to whose they are until there are none; then scratch buffers that came
    /// free to volumes that want one.
    fn run(&mut self, now: Now, out: &mut Effects) {
        out.append(&mut self.store_out);
        out.append(&mut self.volume_out);
        loop {
            while let Some(done) = self.done.pop_front() {
                match (done.token >> TOKEN_BITS) as usize {
                    0 => self.command_done(done, out),
                    v => self.with(now, v - 1, out, |volume, cx| volume.done(done, cx)),
                }
            }
            let Some(base) = self.scratch.turn() else {
                return;
            };
            let v = (base >> TOKEN_BITS) as usize - 1;
            self.with(now, v, out, |volume, cx| volume.resume(cx));
        }
    }
}
