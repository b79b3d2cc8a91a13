//! Every page that a descriptor names: from the records where they speak of it, from its place
//! otherwise.

use super::gentle::Gentle;
use super::{Place, Problem, Report, Subject};
use crate::format::MetaAddr;
use crate::format::header::{Descriptor, Header};
use crate::format::page::Page;
use crate::store::OpenError;
use crate::store::replay::{page_home, read_page};

/// Judges every page, and counts the blocks that hold data.
pub fn check(disk: &mut Gentle<'_>, subject: &Subject<'_>, report: &mut Report) {
    let per_unit = subject.superblock.geometry.unit_segments;
    for (unit, header) in (0..).zip(&subject.metadata.headers) {
        for (i, descriptor) in (0..).zip(&header.segments) {
            let segment = unit * per_unit + i;
            let addr = MetaAddr::Page(segment);
            if let Descriptor::Page { logical } = *descriptor
                && !subject.unknown.contains(&addr)
            {
                check_page(disk, subject, header, segment, logical, report);
            }
        }
    }
}

fn check_page(
    disk: &mut Gentle<'_>,
    subject: &Subject<'_>,
    header: &Header,
    segment: u32,
    logical: u32,
    report: &mut Report,
) {
    let place = Place::Block(MetaAddr::Page(segment));
    let read;
    let page = match subject.metadata.pages.get(&segment) {
        Some(page) => page,
        None => match in_place(disk, subject, header, segment) {
            Ok(page) => {
                read = page;
                &read
            }
            Err(OpenError::Damaged { error, .. }) => {
                return report.error(place, Problem::Block(error));
            }
            Err(error) => return report.error(place, Problem::Refused(error)),
        },
    };
    report.statistics.blocks_valid += u64::from(page.count());
    if page.logical != logical {
        let (found, expected) = (page.logical, logical);
        report.error(place, Problem::OtherPage { found, expected });
    }
    let slot = header.grant.as_ref().map_or(0, |g| usize::from(g.slot));
    let object = subject.metadata.objects.get(slot).and_then(Option::as_ref);
    if let Some(object) = object.filter(|o| page.newest() > o.epoch) {
        let problem = Problem::BirthAhead {
            segment,
            birth: page.newest(),
            running: object.epoch,
        };
        report.error(place, problem);
    }
}

fn in_place(
    disk: &mut Gentle<'_>,
    subject: &Subject<'_>,
    header: &Header,
    segment: u32,
) -> Result<Page, OpenError> {
    let home = page_home(subject.superblock, header, segment)?;
    read_page(disk, subject.superblock, &home)
}
