//! Who has what: no object twice, and every unit's header names an object that is there.

use super::{Place, Problem, Report, Subject};
use crate::format::MetaAddr;
use crate::format::header::Grant;
use std::collections::BTreeMap;

/// Judges objects against one another, and the grants against the objects.
pub fn check(subject: &Subject<'_>, report: &mut Report) {
    let mut seen = BTreeMap::new();
    for (slot, record) in (0..).zip(&subject.metadata.objects) {
        let Some(record) = record else {
            continue;
        };
        if let Some(other) = seen.insert((record.volume, record.path), slot) {
            let (volume, path) = (record.volume, record.path);
            let problem = Problem::ObjectTwice {
                volume,
                path,
                other,
            };
            report.error(Place::Block(MetaAddr::Object(slot)), problem);
        }
    }
    for (unit, header) in (0..).zip(&subject.metadata.headers) {
        let problem = header.grant.as_ref().and_then(|g| wrong_grant(subject, g));
        if let Some(problem) = problem {
            report.error(Place::Block(MetaAddr::Header(unit)), problem);
        }
    }
}

fn wrong_grant(subject: &Subject<'_>, grant: &Grant) -> Option<Problem> {
    let slot = grant.slot;
    let (volume, path) = (grant.volume, grant.path);
    if subject.unknown.contains(&MetaAddr::Object(slot)) {
        return None;
    }
    let object = subject.metadata.objects.get(usize::from(slot));
    let Some(object) = object.and_then(Option::as_ref) else {
        return Some(Problem::Orphan { slot, volume, path });
    };
    if (object.volume, object.path) != (volume, path) {
        return Some(Problem::OtherOwner { slot, volume, path });
    }
    (grant.generation > object.generation).then_some(Problem::GenerationAhead {
        unit: grant.generation,
        object: object.generation,
    })
}
