//! Space is conserved: the store that opening would make has exactly the units and segments that
//! were counted here.

use super::{Place, Problem, Report, Subject};
use crate::store::find::Found;
use crate::store::{Config, Store};

/// Builds that store and compares. On a disk with errors nothing follows from a difference.
pub fn check(subject: Subject<'_>, found: &Found, report: &mut Report) {
    if report.has_errors() {
        return;
    }
    let config = Config::default();
    let store = match Store::build(subject.superblock, subject.metadata, found, config) {
        Ok(store) => store,
        Err(error) => return report.error(Place::Disk, Problem::Refused(error)),
    };
    let (mut units, mut used, mut objects) = (0, 0, 0);
    for (slot, _) in store.records() {
        let usage = store.usage(slot);
        objects += 1;
        units += usage.0.len() as u64;
        used += u64::from(usage.1);
    }
    let s = report.statistics;
    for (what, counted, expected) in [
        ("objects", objects, s.objects),
        ("units granted", units, s.units_granted),
        ("units", s.units_granted + s.units_free, s.units),
        ("segments in use", used, s.segments_run + s.segments_paged),
        ("segments mapped", s.segments_mapped, used),
    ] {
        if counted != expected {
            let problem = Problem::Space {
                what,
                counted,
                expected,
            };
            report.error(Place::Disk, problem);
        }
    }
}
