//! The engine of a node: its disks and the volumes that are attached to it.
//!
//! Every event is one call; what it brings about is in `out` when the call returns. Within `out`, what
//! the disks have to do comes before what is answered, so an answer never overtakes what makes it
//! safe.

mod disks;

use crate::io::{
    CommandError, CommandId, Completion, DiskIndex, Effect, Effects, IoError, IoId, Now, Op, ReqId,
    VolumeId,
};
use crate::leaf::{Done, LeafId, Token};
use crate::map::Answer;
use crate::store::{Grant, Sink, Store};
use crate::tree;
use crate::volume::{Ctx, Scratch, TOKEN_BITS, Volume, VolumeStatus};
use disks::Disks;
use layout::{DiskUid, Epoch, Layout, ObjectPath, VolumeUid};
use std::collections::BTreeMap;

/// What can be chosen for a node.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Scratch buffers for copies: how many segments are copied at once, over all volumes.
    pub scratch: u16,
}

impl Default for Config {
    fn default() -> Self {
        Config { scratch: 4 }
    }
}

/// Everything of one node.
pub struct Engine {
    disks: Disks,
    volumes: Vec<Option<Volume>>,
    scratch: Scratch,
    /// Commands that wait for a call on a disk, by its token.
    commands: BTreeMap<Token, CommandId>,
    next_token: Token,
    /// What the volumes answer.
    answers: Effects,
}

/// Tokens below this are the node's own; each volume has a range above.
const OWN: Token = 1 << TOKEN_BITS;

impl Engine {
    /// A node without disks and volumes.
    pub fn new(config: Config) -> Self {
        Engine {
            disks: Disks::default(),
            volumes: Vec::new(),
            scratch: Scratch::new(config.scratch),
            commands: BTreeMap::new(),
            next_token: 0,
            answers: Effects::new(),
        }
    }

    /// A disk was opened. Copies that lay on it and were stale are rebuilt.
    ///
    /// # Panics
    /// Where the index is in use.
    pub fn attach_disk(&mut self, now: Now, index: DiskIndex, mut store: Store, out: &mut Effects) {
        let uid = store.disk();
        store.attach(index);
        self.disks.insert(index, store);
        for at in 0..self.volumes.len() {
            self.with_lookup(now, at, |v, find, cx| v.disk_back(uid, find, cx));
        }
        self.settle(now, out);
    }

    /// Closes a disk in good order; the command is answered when it is done. [`Engine::remove_disk`]
    /// comes after.
    pub fn close_disk(&mut self, now: Now, disk: DiskUid, command: CommandId, out: &mut Effects) {
        self.command(now, disk, command, out, |store, token, sink| {
            store.close(token, sink);
            Ok(())
        });
    }

    /// Forgets a disk, failed or closed. Completions for it are no longer expected, and passed over.
    pub fn remove_disk(&mut self, index: DiskIndex) -> Option<Store> {
        self.disks.remove(index)
    }

    /// Makes or grows a leaf's object.
    pub fn grant(
        &mut self,
        now: Now,
        disk: DiskUid,
        grant: Grant,
        command: CommandId,
        out: &mut Effects,
    ) {
        self.command(now, disk, command, out, |store, token, sink| {
            store.grant(grant, token, sink).map(|_| ())
        });
    }

    /// Removes a leaf's object; one that is not there is removed already.
    pub fn release(
        &mut self,
        now: Now,
        disk: DiskUid,
        leaf: (VolumeUid, ObjectPath),
        command: CommandId,
        out: &mut Effects,
    ) {
        let attached = self.volumes.iter().flatten().any(|v| v.uid() == leaf.0);
        if attached {
            let why = format!("volume {} is attached", leaf.0);
            out.push(Effect::Answer {
                command,
                result: Err(CommandError::Refused(why)),
            });
            return;
        }
        self.command(now, disk, command, out, |store, token, sink| {
            match store.find(leaf.0, leaf.1) {
                Some(slot) => store.release(slot, token, sink),
                None => {
                    store.flush(token, sink);
                    Ok(())
                }
            }
        });
    }

    /// No more units come for a leaf: its writers that wait for space are refused.
    ///
    /// # Errors
    /// A disk or object that is not there.
    pub fn refuse_space(
        &mut self,
        now: Now,
        disk: DiskUid,
        leaf: (VolumeUid, ObjectPath),
        out: &mut Effects,
    ) -> Result<(), CommandError> {
        self.on_leaf(now, disk, leaf, out, |store, slot, sink| {
            store.refuse(slot, sink)
        })
    }

    /// Answers a fault on a state that the store did not make.
    ///
    /// # Errors
    /// A disk or object that is not there.
    pub fn answer_fault(
        &mut self,
        now: Now,
        disk: DiskUid,
        leaf: (VolumeUid, ObjectPath),
        fault: u64,
        answer: Answer,
        out: &mut Effects,
    ) -> Result<(), CommandError> {
        self.on_leaf(now, disk, leaf, out, |store, slot, sink| {
            store.answer_fault(slot, fault, answer, sink);
        })
    }

    /// Makes a leader's term durable on a disk.
    pub fn note_term(
        &mut self,
        now: Now,
        disk: DiskUid,
        term: u64,
        command: CommandId,
        out: &mut Effects,
    ) {
        self.command(now, disk, command, out, |store, token, sink| {
            store.note_term(term, token, sink);
            Ok(())
        });
    }

    /// Attaches a volume under a name that is not in use.
    ///
    /// # Errors
    /// A layout that cannot be served, and why; nothing was changed.
    pub fn attach_volume(
        &mut self,
        now: Now,
        id: VolumeId,
        layout: &Layout,
        out: &mut Effects,
    ) -> Result<(), CommandError> {
        let at = id.0 as usize;
        assert!(id.0 < u32::from(u16::MAX), "volume names are small numbers");
        let taken = self.volumes.get(at).is_some_and(Option::is_some);
        assert!(!taken, "volume name {at} is in use");
        if self
            .volumes
            .iter()
            .flatten()
            .any(|v| v.uid() == layout.volume)
        {
            let why = format!("volume {} is attached already", layout.volume);
            return Err(CommandError::Refused(why));
        }
        let segment_blocks = self.segment_blocks(layout)?;
        let base = (u64::from(id.0) + 1) << TOKEN_BITS;
        self.disks.now = now;
        let known = places(&self.disks);
        let uid = layout.volume;
        let mut find = |leaf: &tree::Leaf| find(&known, uid, leaf);
        let mut cx = Ctx {
            now,
            leaves: &mut self.disks,
            out: &mut self.answers,
            scratch: &mut self.scratch,
        };
        let volume = Volume::attach(layout, segment_blocks, base, &mut find, &mut cx)?;
        if self.volumes.len() <= at {
            self.volumes.resize_with(at + 1, || None);
        }
        self.volumes[at] = Some(volume);
        self.settle(now, out);
        Ok(())
    }

    /// A volume's new layout while it is in use: larger, or with a copy elsewhere.
    ///
    /// # Errors
    /// What cannot be changed that way; nothing was changed.
    pub fn relayout(
        &mut self,
        now: Now,
        id: VolumeId,
        layout: &Layout,
        out: &mut Effects,
    ) -> Result<(), CommandError> {
        let unknown = Err(CommandError::UnknownVolume(layout.volume));
        let done = self.with_lookup(now, id.0 as usize, |v, find, cx| {
            v.relayout(layout, find, cx)
        });
        self.settle(now, out);
        done.unwrap_or(unknown)
    }

    /// Detaches a volume; the command is answered when everything is durable.
    pub fn detach_volume(&mut self, now: Now, id: VolumeId, command: CommandId, out: &mut Effects) {
        self.with_volume(now, id.0 as usize, |v, cx| v.detach(command, cx));
        self.settle(now, out);
    }

    /// Ends a volume's epoch and holds it.
    pub fn cut_epoch(&mut self, now: Now, id: VolumeId, out: &mut Effects) -> Option<Epoch> {
        let epoch = self.with_volume(now, id.0 as usize, |v, cx| v.cut_epoch(cx));
        self.settle(now, out);
        epoch
    }

    /// Releases an epoch that [`Engine::cut_epoch`] gave.
    pub fn release_epoch(&mut self, now: Now, id: VolumeId, epoch: Epoch, out: &mut Effects) {
        self.with_volume(now, id.0 as usize, |v, cx| v.release_epoch(epoch, cx));
        self.settle(now, out);
    }

    /// A request of the front end; it ends in exactly one [`Effect::Reply`].
    pub fn submit(&mut self, now: Now, id: VolumeId, req: ReqId, op: Op, out: &mut Effects) {
        self.disks.now = now;
        let mut cx = Ctx {
            now,
            leaves: &mut self.disks,
            out: &mut self.answers,
            scratch: &mut self.scratch,
        };
        match self.volumes.get_mut(id.0 as usize).and_then(Option::as_mut) {
            Some(volume) => volume.submit(req, op, &mut cx),
            None => cx.out.push(Effect::Reply {
                req,
                result: Err(IoError::Detached),
            }),
        }
        self.settle(now, out);
    }

    /// An I/O ended. One of a disk that was removed is passed over.
    pub fn complete(&mut self, now: Now, io: IoId, end: Completion<'_>, out: &mut Effects) {
        self.disks.now = now;
        self.disks
            .with(io.disk(), |store, sink| store.complete(io, end, sink));
        self.settle(now, out);
    }

    /// Time has passed; see [`Engine::next_wake`].
    pub fn tick(&mut self, now: Now, out: &mut Effects) {
        self.disks.now = now;
        let all: Vec<DiskIndex> = self.disks.iter().map(|(i, _)| i).collect();
        for disk in all {
            self.disks.with(disk, Store::tick);
        }
        for at in 0..self.volumes.len() {
            self.with_volume(now, at, |v, cx| v.tick(cx));
        }
        self.settle(now, out);
    }

    /// When [`Engine::tick`] has something to do; `None`: not before another event.
    pub fn next_wake(&self) -> Option<Now> {
        let disks = self.disks.iter().filter_map(|(_, s)| s.next_wake());
        let volumes = self.volumes.iter().flatten().filter_map(Volume::next_wake);
        disks.chain(volumes).min()
    }

    /// An attached volume.
    pub fn volume(&self, id: VolumeId) -> Option<&Volume> {
        self.volumes.get(id.0 as usize)?.as_ref()
    }
    /// A volume's state.
    pub fn status(&self, id: VolumeId) -> Option<VolumeStatus> {
        Some(self.volume(id)?.status())
    }
    /// The attached disks.
    pub fn disks(&self) -> impl Iterator<Item = (DiskIndex, &Store)> {
        self.disks.iter()
    }
    /// The disk under this index.
    pub fn disk(&self, index: DiskIndex) -> Option<&Store> {
        self.disks.get(index)
    }
    /// The index of a disk, the latest where it was opened more than once.
    pub fn index_of(&self, disk: DiskUid) -> Option<DiskIndex> {
        self.disks
            .iter()
            .filter(|(_, s)| s.disk() == disk)
            .map(|(i, _)| i)
            .max_by_key(|i| {
                // A failed store stays until it is removed; the one opened after it counts.
                (
                    self.disks.get(*i).is_some_and(|s| s.failed().is_none()),
                    i.0,
                )
            })
    }

    /// Calls that ended go to who made them, which may make others; then all is handed out.
    fn settle(&mut self, now: Now, out: &mut Effects) {
        loop {
            while let Some(done) = self.disks.done.pop_front() {
                self.deliver(now, done);
            }
            let hungry = |v: &Volume| v.wants_scratch();
            let waits = self
                .volumes
                .iter()
                .position(|v| v.as_ref().is_some_and(hungry));
            match waits.filter(|_| self.scratch.any()) {
                Some(at) => drop(self.with_volume(now, at, |v, cx| v.resume(cx))),
                None => break,
            }
        }
        for volume in &mut self.volumes {
            volume.take_if(|v| v.is_detached());
        }
        out.append(&mut self.disks.out);
        out.append(&mut self.answers);
    }

    fn deliver(&mut self, now: Now, done: Done) {
        let Some(volume) = (done.token >> TOKEN_BITS).checked_sub(1) else {
            if let Some(command) = self.commands.remove(&done.token) {
                let failed = |_| CommandError::Refused("the disk failed meanwhile".to_owned());
                let result = done.result.map(|_| ()).map_err(failed);
                self.answers.push(Effect::Answer { command, result });
            }
            return;
        };
        let mut cx = Ctx {
            now,
            leaves: &mut self.disks,
            out: &mut self.answers,
            scratch: &mut self.scratch,
        };
        if let Some(volume) = self
            .volumes
            .get_mut(volume as usize)
            .and_then(Option::as_mut)
        {
            volume.done(done, &mut cx);
        }
    }

    fn with_volume<T>(
        &mut self,
        now: Now,
        at: usize,
        f: impl FnOnce(&mut Volume, &mut Ctx<'_, Disks>) -> T,
    ) -> Option<T> {
        let volume = self.volumes.get_mut(at)?.as_mut()?;
        self.disks.now = now;
        let mut cx = Ctx {
            now,
            leaves: &mut self.disks,
            out: &mut self.answers,
            scratch: &mut self.scratch,
        };
        Some(f(volume, &mut cx))
    }

    /// The same, for what looks for leaves on the disks.
    fn with_lookup<T>(
        &mut self,
        now: Now,
        at: usize,
        f: impl FnOnce(&mut Volume, crate::volume::Lookup<'_>, &mut Ctx<'_, Disks>) -> T,
    ) -> Option<T> {
        let known = places(&self.disks);
        self.with_volume(now, at, |volume, cx| {
            let uid = volume.uid();
            f(volume, &mut |leaf: &tree::Leaf| find(&known, uid, leaf), cx)
        })
    }

    /// Gives a disk a command that ends in a call.
    fn command(
        &mut self,
        now: Now,
        disk: DiskUid,
        command: CommandId,
        out: &mut Effects,
        f: impl FnOnce(&mut Store, Token, &mut Sink<'_>) -> Result<(), CommandError>,
    ) {
        self.disks.now = now;
        self.next_token = (self.next_token + 1) % OWN;
        let token = self.next_token;
        let index = self.index_of(disk);
        let begun = index.and_then(|i| self.disks.with(i, |store, sink| f(store, token, sink)));
        match begun {
            Some(Ok(())) => {
                self.commands.insert(token, command);
            }
            Some(Err(e)) => self.answers.push(Effect::Answer {
                command,
                result: Err(e),
            }),
            None => {
                let result = Err(CommandError::UnknownDisk(disk));
                self.answers.push(Effect::Answer { command, result });
            }
        }
        self.settle(now, out);
    }

    fn on_leaf(
        &mut self,
        now: Now,
        disk: DiskUid,
        (volume, path): (VolumeUid, ObjectPath),
        out: &mut Effects,
        f: impl FnOnce(&mut Store, u16, &mut Sink<'_>),
    ) -> Result<(), CommandError> {
        self.disks.now = now;
        let index = self.index_of(disk).ok_or(CommandError::UnknownDisk(disk))?;
        let slot = self.disks.get(index).and_then(|s| s.find(volume, path));
        let slot = slot.ok_or(CommandError::UnknownVolume(volume))?;
        self.disks.with(index, |store, sink| f(store, slot, sink));
        self.settle(now, out);
        Ok(())
    }

    /// The size of a segment on the disks of a layout, which must be one.
    fn segment_blocks(&self, layout: &Layout) -> Result<u32, CommandError> {
        let mut sizes = Vec::new();
        layout.root.visit(ObjectPath::ROOT, &mut |_, object| {
            if let layout::Kind::Extents { disk, .. } = &object.kind
                && let Some(store) = self.index_of(*disk).and_then(|i| self.disks.get(i))
            {
                sizes.push(store.geometry().segment_blocks);
            }
        });
        sizes.dedup();
        match sizes[..] {
            [size] => Ok(size),
            [] => Err(CommandError::Refused(
                "none of its disks is attached".to_owned(),
            )),
            _ => Err(CommandError::Refused(
                "its disks have segments of different sizes".to_owned(),
            )),
        }
    }
}

/// An object on a disk that takes I/O: where, and the generation of its map.
type Places = BTreeMap<(DiskUid, VolumeUid, ObjectPath), (LeafId, u64)>;

fn places(disks: &Disks) -> Places {
    let mut places = Places::new();
    for (disk, store) in disks.iter().filter(|(_, s)| s.failed().is_none()) {
        for (slot, record) in store.records() {
            let key = (store.disk(), record.volume, record.path);
            places.insert(key, (LeafId { disk, slot }, record.generation.0));
        }
    }
    places
}

/// The object of a leaf, if the disk agrees with the layout about it (spec A4).
fn find(places: &Places, volume: VolumeUid, leaf: &tree::Leaf) -> Result<LeafId, CommandError> {
    let disk = leaf.disk;
    let here = places.keys().any(|(d, _, _)| *d == disk);
    let found = places.get(&(disk, volume, leaf.path));
    let Some((id, seen)) = found else {
        let why = format!("it holds no object {} of volume {volume}", leaf.path);
        return Err(if here {
            CommandError::Contradiction { disk, why }
        } else {
            CommandError::UnknownDisk(disk)
        });
    };
    let given = leaf.generation.0;
    if given < *seen {
        return Err(CommandError::StaleGeneration { given, seen: *seen });
    }
    if given > *seen {
        let why = format!("object {} is at generation {seen}, not {given}", leaf.path);
        return Err(CommandError::Contradiction { disk, why });
    }
    Ok(*id)
}
