//! What this program is when a test starts it as one of the processes under test.

use crate::machine::Identity;
use dataplane::disk::{DiskFile, PowerCut};
use dataplane::looped;
use dataplane::parent::{self, Limits};
use dataplane::ring::Size;
use dataplane::run::{self, Process};
use dataplane::server;
use dataplane::{keeper, parent::REFUSED};
use engine::disk::Disk;
use engine::io::{DiskIndex, VolumeId};
use layout::{DiskUid, VolumeUid};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Runs the role that the command line names; `None`: this is the test itself.
pub fn run() -> Option<ExitCode> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (role, words) = words.split_first()?;
    let result: Result<(), Box<dyn std::error::Error>> = match role.to_str()? {
        "role-keeper" => keeper::main(&keeper::Args {
            socket: words[0].clone().into(),
        })
        .map_err(Into::into),
        "role-parent" => {
            let silence = Duration::from_secs(2);
            let limits = Limits {
                silence,
                ..Limits::default()
            };
            parent::main(&parent::Args {
                command: words.to_vec(),
                limits,
            })
            .map_err(Into::into)
        }
        "role-loop" => match looped::Args::from_words(words).and_then(|a| looped::main(&a)) {
            Ok(device) => {
                println!("{}", device.path().display());
                Ok(())
            }
            Err(e) => Err(e.into()),
        },
        "role-plane" => return Some(plane(words)),
        "role-serve" => return Some(serve_for_real(words)),
        _ => return None,
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{}: {e}", role.display());
            ExitCode::FAILURE
        }
    })
}

/// The real I/O process: keeper, control socket, folder of the volumes, seed of the power cut.
fn serve_for_real(words: &[OsString]) -> ExitCode {
    let [keeper, control, volumes, power_cut] = words else {
        return ExitCode::FAILURE;
    };
    let program = std::env::current_exe().unwrap_or_default();
    let seed = power_cut.to_str().and_then(|s| s.parse().ok());
    let server = server::Config {
        control: control.into(),
        volumes: volumes.into(),
        helper: vec![program.into(), "role-loop".into()],
        power_cut: seed.filter(|s| *s > 0).map(|seed| PowerCut { seed }),
    };
    let (keeper, size) = (keeper.into(), Size::default());
    match run::main(run::Args {
        keeper,
        supervised: true,
        size,
        server,
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("serve: {e}");
            ExitCode::from(REFUSED)
        }
    }
}

fn plane(words: &[OsString]) -> ExitCode {
    let (keeper, disks) = words.split_first().unwrap();
    match serve(Path::new(keeper), disks) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("plane: {e}");
            ExitCode::from(REFUSED)
        }
    }
}

/// The uid of volume and disk N.
pub fn uid(n: usize) -> [u8; 16] {
    [n as u8 + 1; 16]
}

/// One volume a disk. `STRATOVOL_TEST_NO_RESEND`: leaves out what the kernel must be told.
fn serve(keeper: &Path, disks: &[OsString]) -> Result<(), Box<dyn std::error::Error>> {
    let supervised = std::env::var_os("STRATOVOL_TEST_ALONE").is_none();
    let resend = std::env::var_os("STRATOVOL_TEST_NO_RESEND").is_none();
    let process = Process::start(keeper, supervised)?;
    let mut machine = Identity::default();
    let mut ring = process.prepare(Identity::default(), Size::default())?;
    let mut fronts = Vec::new();
    for (n, path) in disks.iter().enumerate() {
        let disk = DiskIndex(n as u16);
        let file = DiskFile::open(Path::new(path), process.patience())?;
        let log = process.log(DiskUid(uid(n)), 1 << 20)?;
        machine.recover(disk, log.len());
        fronts.push((n, file.size()));
        ring.add_disk(disk, file, log);
    }
    ring.with_machine(|m, _, _| *m = machine);
    for (n, size) in fronts {
        let (id, uid) = (VolumeId(n as u32), VolumeUid(uid(n)));
        let front = if resend {
            process.take_front(id, uid, size)?
        } else {
            let held = process.keeper().get(keeper::Kind::Fuse, uid.0)?;
            held.map(|h| dataplane::front::FuseFront::new(id, h.fd, size))
        };
        ring.add_fuse(front.ok_or("the keeper has no connection")?);
    }
    process.serve(&mut ring, |_, _| Ok(()))?;
    Ok(())
}
