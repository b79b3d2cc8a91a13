//! Each unit's header: what its segments hold, and that no segment of an object lies in two places.

use super::{Place, Problem, Report, Subject};
use crate::format::MetaAddr;
use crate::format::header::{Descriptor, Grant, Header};
use std::collections::BTreeMap;

/// Where each segment of each object lies: (slot, segment of the object) to segment of the disk.
type Mapped = BTreeMap<(u16, u32), u32>;

/// Judges every header, and counts.
pub fn check(subject: &Subject<'_>, report: &mut Report) {
    let mut mapped = Mapped::new();
    for (unit, header) in (0..).zip(&subject.metadata.headers) {
        report.statistics.units += 1;
        match &header.grant {
            _ if subject.unknown.contains(&MetaAddr::Header(unit)) => {
                report.statistics.units_unknown += 1;
            }
            None => report.statistics.units_free += 1,
            Some(grant) => {
                report.statistics.units_granted += 1;
                check_header(subject, unit, header, grant, &mut mapped, report);
            }
        }
    }
    report.statistics.segments_mapped = mapped.len() as u64;
}

fn check_header(
    subject: &Subject<'_>,
    unit: u32,
    header: &Header,
    grant: &Grant,
    mapped: &mut Mapped,
    report: &mut Report,
) {
    let geometry = &subject.superblock.geometry;
    let place = Place::Block(MetaAddr::Header(unit));
    let object = subject.metadata.objects.get(usize::from(grant.slot));
    let object = object.and_then(Option::as_ref);
    for (i, descriptor) in (0..).zip(&header.segments) {
        let segment = unit * geometry.unit_segments + i;
        let Some(logical) = descriptor.logical() else {
            report.statistics.segments_free += 1;
            continue;
        };
        match descriptor {
            Descriptor::Run { .. } => {
                report.statistics.segments_run += 1;
                report.statistics.blocks_valid += u64::from(geometry.segment_blocks);
            }
            _ => report.statistics.segments_paged += 1,
        }
        if let Some(first) = mapped.insert((grant.slot, logical), segment) {
            let problem = Problem::SegmentTwice {
                logical,
                first,
                second: segment,
            };
            report.error(place, problem);
        }
        let Some(object) = object else {
            continue;
        };
        if logical >= object.segments {
            let problem = Problem::PastEnd {
                segment,
                logical,
                segments: object.segments,
            };
            report.error(place, problem);
        }
        if let Descriptor::Run { birth, .. } = *descriptor
            && birth > object.epoch
        {
            let problem = Problem::BirthAhead {
                segment,
                birth,
                running: object.epoch,
            };
            report.error(place, problem);
        }
    }
}
