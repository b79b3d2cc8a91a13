//! The processes of one test, and their end: whatever happens, nothing is left behind.

use crate::roles::uid;
use dataplane::keeper::{Keeper, Kind};
use layout::VolumeUid;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Bytes of a test disk.
pub const SIZE: u64 = 64 << 20;

/// Processes that are to be killed when a test hangs.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());
/// Mounts that are to be taken away then.
static MOUNTED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

pub struct World {
    dir: tempfile::TempDir,
    disks: usize,
    keeper: Option<Child>,
    pub parent: Option<Child>,
}

impl World {
    /// A keeper with the files of so many volumes mounted, each on a disk of its own. Nobody serves
    /// them yet.
    pub fn new(disks: usize) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut world = World {
            dir,
            disks,
            keeper: None,
            parent: None,
        };
        for n in 0..disks {
            File::create(world.disk(n)).unwrap().set_len(SIZE).unwrap();
        }
        let socket = world.socket();
        world.keeper = Some(world.spawn("role-keeper", &[socket.as_os_str().to_owned()], &[]));
        let keeper = until("a keeper", || Keeper::connect(&world.socket()).ok());
        for n in 0..disks {
            MOUNTED.lock().unwrap().push(world.file(n));
            assert!(keeper.mount(uid(n), &world.file(n)).unwrap().can_resend());
        }
        world
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("keeper")
    }
    pub fn file(&self, n: usize) -> PathBuf {
        self.dir.path().join(format!("volume{n}"))
    }
    pub fn disk(&self, n: usize) -> PathBuf {
        self.dir.path().join(format!("disk{n}"))
    }
    pub fn keeper(&self) -> Keeper {
        Keeper::connect(&self.socket()).unwrap()
    }
    pub fn keeper_pid(&self) -> u32 {
        self.keeper.as_ref().unwrap().id()
    }

    /// The program that the parent starts: a link, so that an upgrade can put another one there.
    pub fn program(&self) -> PathBuf {
        self.dir.path().join("program")
    }

    fn plane_words(&self) -> Vec<OsString> {
        let disks = (0..self.disks).map(|n| self.disk(n).into_os_string());
        std::iter::once(self.socket().into_os_string())
            .chain(disks)
            .collect()
    }

    /// Starts a parent with its I/O process.
    pub fn start_parent(&mut self) {
        let _ = std::fs::remove_file(self.program());
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), self.program()).unwrap();
        let mut words = vec![self.program().into_os_string(), "role-plane".into()];
        words.extend(self.plane_words());
        self.parent = Some(self.spawn("role-parent", &words, &[]));
    }

    /// Starts a parent with the real I/O process, which loses what was not flushed when it dies if
    /// `power_cut` is not 0.
    pub fn start_engine(&mut self, power_cut: u64) {
        let _ = std::fs::remove_file(self.program());
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), self.program()).unwrap();
        let mut words = vec![self.program().into_os_string(), "role-serve".into()];
        words.extend([self.socket(), self.control(), self.volumes()].map(PathBuf::into_os_string));
        words.push(power_cut.to_string().into());
        self.parent = Some(self.spawn("role-parent", &words, &[]));
    }

    pub fn control(&self) -> PathBuf {
        self.dir.path().join("control")
    }
    pub fn volumes(&self) -> PathBuf {
        self.dir.path().join("volumes")
    }

    /// The power fails: every process is gone at once, and what the keeper held.
    pub fn cut_power(&mut self) {
        if let Some(pid) = self.plane_pid() {
            signal(pid, libc::SIGKILL);
        }
        for child in [&mut self.parent, &mut self.keeper] {
            if let Some(mut child) = child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        kill_everything();
        self.keeper = Some(self.spawn("role-keeper", &[self.socket().into_os_string()], &[]));
        until("a keeper", || Keeper::connect(&self.socket()).ok());
    }

    /// A path that is to be taken out of the mounts at the end.
    pub fn will_mount(path: &Path) {
        MOUNTED.lock().unwrap().push(path.to_owned());
    }

    /// Starts an I/O process without a parent.
    pub fn start_alone(&self, env: &[&str]) -> Child {
        let env: Vec<&str> = env
            .iter()
            .copied()
            .chain(["STRATOVOL_TEST_ALONE"])
            .collect();
        self.spawn("role-plane", &self.plane_words(), &env)
    }

    /// The I/O process that the parent runs now, if it does.
    pub fn plane_pid(&self) -> Option<u32> {
        let parent = self.parent.as_ref()?.id();
        let children = format!("/proc/{parent}/task/{parent}/children");
        let all = std::fs::read_to_string(children).ok()?;
        all.split_whitespace().next()?.parse().ok()
    }

    /// Sets up a loop device on a volume's file; its path.
    pub fn attach_loop(&self, n: usize) -> PathBuf {
        let file = self.file(n).into_os_string();
        let device = self.loop_command(n, &["attach".into(), file]).unwrap();
        PathBuf::from(OsString::from(std::ffi::OsStr::from_bytes(
            device.trim_ascii(),
        )))
    }

    /// Runs the short-lived helper for loop devices: what it says, or what it complains about.
    pub fn loop_command(&self, n: usize, words: &[OsString]) -> Result<Vec<u8>, String> {
        let uid = VolumeUid(uid(n)).to_string();
        let mut all = vec![
            "role-loop".into(),
            self.socket().into_os_string(),
            uid.into(),
        ];
        all.extend_from_slice(words);
        let out = Command::new(std::env::current_exe().unwrap())
            .args(all)
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&out.stderr).into_owned();
        if out.status.success() {
            Ok(out.stdout)
        } else {
            Err(complaint)
        }
    }

    fn spawn(&self, role: &str, words: &[OsString], env: &[&str]) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(role).args(words).stdin(Stdio::null());
        for name in env {
            command.env(name, "1");
        }
        if role != "role-plane" {
            command.process_group(0);
        }
        let child = command.spawn().unwrap();
        RUNNING.lock().unwrap().push(child.id());
        child
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for n in 0..self.disks {
            // Held by the keeper, given back here: its last close may wait, so only while somebody
            // serves.
            if self.plane_pid().is_some()
                && let Ok(keeper) = Keeper::connect(&self.socket())
            {
                drop(keeper.release(Kind::Loop, uid(n)));
            }
        }
        if let Some(parent) = &mut self.parent {
            signal(parent.id(), libc::SIGTERM);
            wait(parent, Duration::from_secs(5));
        }
        if let Some(keeper) = &mut self.keeper {
            signal(keeper.id(), libc::SIGKILL);
            let _ = keeper.wait();
        }
        kill_everything();
    }
}

/// Kills every process and takes away every mount of this program's tests.
pub fn kill_everything() {
    let planes = RUNNING.lock().unwrap().clone().into_iter().flat_map(|pid| {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        let pids: Vec<u32> = children
            .split_whitespace()
            .filter_map(|p| p.parse().ok())
            .collect();
        std::iter::once(pid).chain(pids)
    });
    planes
        .collect::<Vec<_>>()
        .into_iter()
        .for_each(|pid| signal(pid, libc::SIGKILL));
    RUNNING.lock().unwrap().clear();
    for path in MOUNTED.lock().unwrap().drain(..) {
        let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: a C string that lives through the call.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    }
}

pub fn signal(pid: u32, signal: i32) {
    // SAFETY: no pointers.
    unsafe { libc::kill(pid as i32, signal) };
}

/// Waits for a process to end; killed where it does not in time.
pub fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// Waits for something to come true.
pub fn until<T>(what: &str, mut f: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(t) = f() {
            return t;
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "waited 20 s for {what}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The descriptors of a process that lead to `target`.
pub fn descriptors(pid: u32, target: &Path) -> Vec<i32> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    links
        .filter_map(|l| l.ok())
        .filter(|l| std::fs::read_link(l.path()).is_ok_and(|t| t == target))
        .filter_map(|l| l.file_name().to_str()?.parse().ok())
        .collect()
}
