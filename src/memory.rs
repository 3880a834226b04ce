//! How much memory the process may have, by the control groups that it is in, and whether that is
//! nearly used up.
//!
//! Whoever is about to keep more than before asks here first: the kernel kills what goes beyond its
//! limit. Where that does not suffice, flows whose readers have stopped are cut, those that have
//! stopped longest first. Both hierarchies are known, cgroup v2 and the older v1. Where there is neither, or no limit
//! in it, there is always room.

use std::fs;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::warn;

/// Milliseconds for which an answer is good.
const FRESH: u64 = 100;

/// How often is looked where there is a limit, and where none is yet: within the first, 1 Gbit/s brings
/// 3 MB.
const LOOK: Duration = Duration::from_millis(25);
const SELDOM: Duration = Duration::from_secs(1);

/// Flows that are cut at one look, each of which has let at least half a mebibyte wait when it matters.
const CUT_AT_ONCE: usize = 16;

/// How long a reader has stopped that may be cut: longer than one that waits for a busy processor.
const STOPPED: Duration = Duration::from_millis(250);

/// Pieces that wait for readers which have stopped, after which to look at once, however busy this thread
/// is: each is a packet's, so at most 16 KiB, and all of them 1 MiB.
const PIECES: u64 = 64;

/// Least time between two times that free memory is given back to the system, which takes milliseconds.
const GIVE_BACK: Duration = Duration::from_millis(100);

/// What is left free: a fifth of the limit, or this many bytes where that is more than what can come
/// between two looks.
const LARGEST_RESERVE: u64 = 256 * 1024 * 1024;

/// What one connection may keep each way: one in so many bytes of the limit.
const SHARES: u64 = 8;

/// A limit as large as this is v1's word for none.
const NO_LIMIT: u64 = 1 << 60;

/// Whether new flows and new clients would bring the process near its end. It costs next to nothing to
/// ask again.
pub fn is_short() -> bool {
    watch().is_short()
}

/// Waits until a flow is to be cut for want of memory whose reader has stopped at `since`. Cancel-safe.
pub async fn cut(since: Instant) {
    if !watch().limited.load(Relaxed) {
        return pending().await;
    }
    // In a box, for every flow would have room for it otherwise.
    Box::pin(async {
        loop {
            CUT.notified().await;
            if since.elapsed() >= STOPPED {
                return;
            }
        }
    })
    .await
}

/// Wakes those that wait to be cut, the first that came first.
static CUT: Notify = Notify::const_new();

/// Takes in that so many more pieces wait for a reader that has stopped. Where they are many, this looks
/// before the next look is due.
pub fn waits(pieces: usize) {
    let watch = watch();
    if watch.limited.load(Relaxed)
        && watch.pieces.fetch_add(pieces as u64, Relaxed) + pieces as u64 >= PIECES
    {
        watch.look_and_cut();
    }
}

/// Has flows cut when memory is nearly used up, for ever. Cancel-safe.
pub async fn keep() {
    let watch = watch();
    let (mut given_back, mut told) = (Instant::now(), None::<Instant>);
    loop {
        let limited = watch.groups.iter().any(|group| group.limit().is_some());
        watch.limited.store(limited, Relaxed);
        sleep(if limited { LOOK } else { SELDOM }).await;
        let level = watch.look_and_cut();
        if level == Level::Full && told.is_none_or(|told| told.elapsed() >= SELDOM) {
            warn!("memory is nearly used up; flows whose readers have stopped are cut");
            told = Some(Instant::now());
        }
        if level != Level::Room && given_back.elapsed() >= GIVE_BACK {
            give_back();
            given_back = Instant::now();
        }
    }
}

/// Gives memory back to the system that was freed, and that glibc keeps as long as something above it is
/// in use.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "malloc_trim(3) has no other name")]
fn give_back() {
    // SAFETY: it may be called any time, by any thread.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

/// What one connection may keep of something that is `most` bytes where memory has no limit.
pub fn share(most: u64) -> u64 {
    let limit = watch().groups.iter().filter_map(Group::limit).min();
    limit.map_or(most, |limit| most.min(limit / SHARES))
}

fn watch() -> &'static Watch {
    static WATCH: OnceLock<Watch> = OnceLock::new();
    WATCH.get_or_init(|| {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Watch::new(groups(Path::new("/sys/fs/cgroup"), &own))
    })
}

/// The groups that may have a limit, with what was found when they were looked at last.
#[derive(Debug)]
struct Watch {
    groups: Vec<Group>,
    began: Instant,
    /// When to look again, in milliseconds since it began.
    next: AtomicU64,
    level: AtomicU8,
    /// Whether there is a limit at all.
    limited: AtomicBool,
    /// Pieces that have come to wait since the last look.
    pieces: AtomicU64,
}

/// How much of the limit that is nearest is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Room,
    /// Nothing new is to begin.
    Short,
    /// Something has to end.
    Full,
}

impl Watch {
    fn new(groups: Vec<Group>) -> Self {
        Self {
            groups,
            began: Instant::now(),
            next: AtomicU64::new(0),
            level: AtomicU8::new(Level::Room as u8),
            limited: AtomicBool::new(false),
            pieces: AtomicU64::new(0),
        }
    }

    fn is_short(&self) -> bool {
        if self.groups.is_empty() {
            return false;
        }
        let now = self.began.elapsed().as_millis() as u64;
        if now >= self.next.load(Relaxed) {
            self.next.store(now + FRESH, Relaxed);
            self.look();
        }
        self.level.load(Relaxed) != Level::Room as u8
    }

    fn look_and_cut(&self) -> Level {
        let level = self.look();
        if level == Level::Full {
            (0..CUT_AT_ONCE).for_each(|_| CUT.notify_one());
        }
        level
    }

    fn look(&self) -> Level {
        self.pieces.store(0, Relaxed);
        let levels = self.groups.iter().map(Group::level);
        let level = levels.max().unwrap_or(Level::Room);
        self.level.store(level as u8, Relaxed);
        level
    }
}

/// The groups that a process is in, from what the kernel says of it (cgroups(7)): its own and all
/// above, for each may have a limit.
///
/// In a container the path may be one of the machine's that is not to be seen there; the topmost group
/// that can be seen is the container's then.
fn groups(mounted: &Path, own: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, files) = match controllers {
            "" => (mounted.to_owned(), &V2),
            v1 if v1.split(',').any(|name| name == "memory") => (mounted.join("memory"), &V1),
            _ => continue,
        };
        for part in Path::new(path).ancestors() {
            let dir = root.join(part.strip_prefix("/").unwrap_or(part));
            if dir.join(files.limit).exists() {
                groups.push(Group { dir, files });
            }
        }
    }
    groups
}

/// What the files of a group are called.
#[derive(Debug)]
struct Files {
    limit: &'static str,
    used: &'static str,
    /// In `memory.stat`, what the kernel takes back before it kills anyone.
    reclaimable: [&'static str; 2],
}

const V2: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    reclaimable: ["active_file", "inactive_file"],
};

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: ["total_active_file", "total_inactive_file"],
};

#[derive(Debug)]
struct Group {
    dir: PathBuf,
    files: &'static Files,
}

impl Group {
    /// Its limit in bytes as of now, if it has one.
    fn limit(&self) -> Option<u64> {
        let limit = self.number(self.files.limit)?;
        (limit < NO_LIMIT).then_some(limit)
    }

    fn level(&self) -> Level {
        let (Some(limit), Some(used)) = (self.limit(), self.number(self.files.used)) else {
            return Level::Room;
        };
        let reserve = (limit / 5).min(LARGEST_RESERVE);
        if used <= limit - reserve {
            return Level::Room;
        }
        match limit.saturating_sub(used.saturating_sub(self.reclaimable())) {
            left if left >= reserve => Level::Room,
            left if left >= reserve / 2 => Level::Short,
            _ => Level::Full,
        }
    }

    /// Bytes of files that are kept because there is room.
    fn reclaimable(&self) -> u64 {
        let stat = fs::read_to_string(self.dir.join("memory.stat")).unwrap_or_default();
        let of_files = stat.lines().filter_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            let counts = self.files.reclaimable.contains(&name);
            counts.then(|| bytes.parse::<u64>().ok())?
        });
        of_files.sum()
    }

    fn number(&self, file: &str) -> Option<u64> {
        let text = fs::read_to_string(self.dir.join(file)).ok()?;
        text.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(dir).unwrap();
        for (name, content) in files {
            fs::write(dir.join(name), content).unwrap();
        }
    }

    #[test]
    fn a_limit_anywhere_above_counts() {
        let mounted = tempfile::tempdir().unwrap();
        let [own, above] = ["a.slice/b.service", "a.slice"].map(|dir| mounted.path().join(dir));
        write(
            &own,
            &[("memory.max", "max\n"), ("memory.current", "900\n")],
        );
        write(
            &above,
            &[("memory.max", "1000\n"), ("memory.current", "800\n")],
        );
        let groups = groups(mounted.path(), "0::/a.slice/b.service\n");
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[1].level(), Level::Room);
        write(&above, &[("memory.current", "801\n")]);
        assert!(Watch::new(groups).is_short());
    }

    #[test]
    fn the_level_rises_with_what_is_used() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[("memory.max", "1000\n")]);
        let groups = groups(dir.path(), "0::/\n");
        let levels = [800, 801, 900, 901, 2000].map(|used| {
            write(dir.path(), &[("memory.current", &used.to_string())]);
            groups[0].level()
        });
        use Level::*;
        assert_eq!(levels, [Room, Short, Short, Full, Full]);
    }

    #[test]
    fn what_files_take_is_free() {
        let mounted = tempfile::tempdir().unwrap();
        let root = mounted.path().join("memory");
        let stat = "inactive_file 7\ntotal_inactive_file 100\ntotal_active_file 50\n";
        write(
            &root,
            &[
                ("memory.limit_in_bytes", "1000\n"),
                ("memory.usage_in_bytes", "950\n"),
                ("memory.stat", stat),
            ],
        );
        // The path is one that a container does not see.
        let groups = groups(mounted.path(), "4:cpu,memory:/docker/0123\n1:cpu:/\n0::/\n");
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].level(), Level::Room);
        write(&root, &[("memory.usage_in_bytes", "951\n")]);
        assert_eq!(groups[0].level(), Level::Short);
    }

    #[test]
    fn without_a_limit_there_is_room() {
        let mounted = tempfile::tempdir().unwrap();
        let none = [
            ("memory.limit_in_bytes", "9223372036854771712"),
            ("memory.usage_in_bytes", "9223372036854771712"),
        ];
        write(&mounted.path().join("memory"), &none);
        let found = groups(mounted.path(), "4:memory:/\n");
        assert_eq!(found[0].limit(), None);
        assert!(!Watch::new(found).is_short());
        assert!(!Watch::new(groups(mounted.path(), "")).is_short());
    }
}
